package config

import (
	"bytes"
	"fmt"
	"io"
)

// Secret is a value that never shows itself: every way of printing it gives
// ***. Reveal is for the one place that needs it.
type Secret string

const hidden = "***"

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string { return hidden }

// Format implements fmt.Formatter, for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// UnmarshalText implements encoding.TextUnmarshaler. It drops the white space
// around a secret: the line break at the end of a file, the space after a comma.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(bytes.TrimSpace(text))

	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
