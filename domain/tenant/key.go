// Package tenant says who may do what: API keys and their scopes.
package tenant

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
)

// MaxNameLength is the longest name of a key, in characters.
const MaxNameLength = 100

// Key is an API key without its secret.
type Key struct {
	ID     uuid.UUID
	Tenant operation.Tenant
	// Name says to people what it is for. Several keys may have the same.
	Name string
	// Prefix is the visible part of the secret. No two keys have the same.
	Prefix string
	Mode   binding.Mode
	Scopes Scopes
	Sum    Sum
	// The times are zero if there is none. LastUsedAt lags a minute or two behind.
	CreatedAt, ExpiresAt, LastUsedAt, RevokedAt time.Time
	// Lifetime is for how long it was made, in whole seconds; zero is for ever. ExpiresAt comes
	// sooner if the key is rolled.
	Lifetime time.Duration
}

// Actor is how the audit names the key.
func (k Key) Actor() string { return "key:" + k.Prefix + " " + k.Name }

// Usable tells whether the key works at a time.
func (k Key) Usable(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// CheckName checks a key's name: 1 to MaxNameLength characters without control characters.
// Any other is fault.Invalid.
func CheckName(name string) error {
	if n := utf8.RuneCountInString(name); n == 0 || n > MaxNameLength || strings.TrimSpace(name) != name ||
		!utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fault.Newf(fault.Invalid, "name must have 1 to %d characters, without control characters and without spaces "+
			"around it", MaxNameLength)
	}

	return nil
}
