package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"hash/crc32"
	"io"
	"strings"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
)

// What an API key is made of: mf_live_ or mf_test_, eight characters that name it, an
// underscore, 43 that nobody can guess (256 bits), and six that check all before them. The
// shape is GitHub's
// (https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/):
// a scanner finds keys in a repository, and a misspelt key is told from a wrong one without
// asking a database.
const (
	livePrefix, testPrefix = "mf_live_", "mf_test_"

	nameLength   = 8
	secretLength = 43
	checkLength  = 6
	// PrefixLength is how much of a key is shown.
	PrefixLength = len(livePrefix) + nameLength
	keyLength    = PrefixLength + 1 + secretLength + checkLength
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Secret is a whole API key, as its owner has it. Only Reveal shows it.
type Secret struct{ text string }

// Sum is the SHA-256 of a key. A key has 256 bits of chance, so that a slow hash would
// protect it no better.
type Sum [sha256.Size]byte

// Is compares in constant time.
func (s Sum) Is(other Sum) bool { return subtle.ConstantTimeCompare(s[:], other[:]) == 1 }

// NewSecret makes a key.
func NewSecret(mode binding.Mode) Secret {
	text := testPrefix
	if mode == binding.Live {
		text = livePrefix
	}

	text += draw(rand.Reader, nameLength) + "_" + draw(rand.Reader, secretLength)

	return Secret{text + checkOf(text)}
}

// ParseKey reads a key. If it cannot be one, because a character is wrong or missing, the
// error is fault.InvalidAPIKey. It asks nobody, and its error does not show the text.
func ParseKey(text string) (Secret, error) {
	body, check := "", ""
	if len(text) == keyLength {
		body, check = text[:keyLength-checkLength], text[keyLength-checkLength:]
	}

	wellFormed := body != "" && (strings.HasPrefix(body, livePrefix) || strings.HasPrefix(body, testPrefix)) &&
		isBase62(body[len(livePrefix):PrefixLength]) && body[PrefixLength] == '_' && isBase62(body[PrefixLength+1:])

	if !wellFormed || check != checkOf(body) {
		return Secret{}, fault.New(fault.InvalidAPIKey, "This is not an API key of MarketFlow, or a part of it is missing or "+
			"misspelt. A key begins with mf_live_ or mf_test_ and has 66 characters; copy it again.")
	}

	return Secret{text}, nil
}

// Mode is whether the key is for real money. The zero Secret has none.
func (s Secret) Mode() binding.Mode {
	switch {
	case strings.HasPrefix(s.text, livePrefix):
		return binding.Live
	case s.text != "":
		return binding.Test
	default:
		return ""
	}
}

// Prefix is the part of the key that names it. Anybody may see it.
func (s Secret) Prefix() string { return s.text[:min(PrefixLength, len(s.text))] }

// Sum is what is stored of the key.
func (s Secret) Sum() Sum { return sha256.Sum256([]byte(s.text)) }

// Reveal is the whole key, for whoever asked for it.
func (s Secret) Reveal() string { return s.text }

// String implements fmt.Stringer without the secret.
func (s Secret) String() string { return s.Prefix() + "_***" }

// GoString implements fmt.GoStringer without the secret.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler without the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// IsPrefix tells whether text is the part of a key that names it.
func IsPrefix(text string) bool {
	return len(text) == PrefixLength && (strings.HasPrefix(text, livePrefix) || strings.HasPrefix(text, testPrefix)) &&
		isBase62(text[len(livePrefix):])
}

// checkOf is the CRC-32 of a text in base 62.
func checkOf(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))

	var check [checkLength]byte
	for i := range check {
		check[checkLength-1-i] = base62[sum%uint32(len(base62))]
		sum /= uint32(len(base62))
	}

	return string(check[:])
}

func isBase62(text string) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}

	return true
}

// draw returns n characters, each with the same chance.
func draw(from io.Reader, n int) string {
	// Bytes from here on are left out: the first characters would be drawn more often.
	const beyond = 256 / len(base62) * len(base62)

	drawn, buffer := make([]byte, 0, n), make([]byte, n)

	for len(drawn) < n {
		if _, err := io.ReadFull(from, buffer); err != nil {
			panic(err) // crypto/rand never fails
		}

		for _, b := range buffer {
			if int(b) < beyond && len(drawn) < n {
				drawn = append(drawn, base62[int(b)%len(base62)])
			}
		}
	}

	return string(drawn)
}
