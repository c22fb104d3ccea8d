package list

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
)

// Position is a place in a list: the time by which it is sorted, and the id of one entry. The zero
// value is the beginning.
type Position struct {
	At time.Time
	ID uuid.UUID
}

// IsZero says whether it is the beginning.
func (p Position) IsZero() bool { return p.At.IsZero() && p.ID == uuid.Nil }

// Precedes compares positions as PostgreSQL compares (at, id).
func (p Position) Precedes(q Position) bool {
	return cmp.Or(p.At.Compare(q.At), bytes.Compare(p.ID[:], q.ID[:])) < 0
}

// Newest is where a list that is sorted newest first begins, if it has only what fits span and
// comes after a position: before which place its entries are.
func (p Position) Newest(span Span) Position {
	first := Position{At: span.Before}
	if first.IsZero() {
		first.At = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC) // later than all
	}

	if p.IsZero() || first.Precedes(p) {
		return first
	}

	return p
}

// A cursor is a version, the position after which the next page comes, a digest of the
// filter, and a code by which a changed cursor is told. It is stable: the same in every
// process, and while entries are added.
const (
	cursorVersion = 1

	lengthAt, lengthID, lengthDigest, lengthCode = 8, 16, 8, 16
	lengthCursor                                 = 1 + lengthAt + lengthID + lengthDigest + lengthCode
)

// Digest is a hash of the filter of a list.
type Digest [lengthDigest]byte

// DigestOf is of whose entries are listed, and of the parameters that choose them. The name of the list keeps its
// cursors from being another's; payments have none, as in the first release.
func DigestOf(tenant operation.Tenant, name string, values map[string][]string) Digest {
	var text strings.Builder

	text.WriteString(strconv.Itoa(int(tenant)) + "\x00" + name)

	for _, name := range slices.Sorted(maps.Keys(values)) {
		text.WriteString(name + "\x00" + values[name][0] + "\x00")
	}

	sum := sha256.Sum256([]byte(text.String()))

	return Digest(sum[:])
}

// Cursors makes cursors and reads them.
type Cursors struct{ secret []byte }

// NewCursors returns those of an installation.
func NewCursors(installation operation.Installation) Cursors {
	mac := hmac.New(sha256.New, installation.ID[:])
	mac.Write([]byte("cursors of lists"))

	return Cursors{secret: mac.Sum(nil)}
}

// Write is the cursor of what comes after a position.
func (c Cursors) Write(at Position, digest Digest) string {
	body := make([]byte, 0, lengthCursor)
	body = append(body, cursorVersion)
	body = binary.BigEndian.AppendUint64(body, uint64(at.At.UnixMicro()))
	body = append(body, at.ID[:]...)
	body = append(body, digest[:]...)

	return base64.RawURLEncoding.EncodeToString(append(body, c.code(body)...))
}

// Of is the position of the cursor among the parameters; zero if there is none. One of another
// list, or that is none, is fault.Invalid.
func (c Cursors) Of(values map[string][]string, digest Digest) (Position, error) {
	if _, given := values[ParamCursor]; !given {
		return Position{}, nil
	}

	text, err := One(ParamCursor, values[ParamCursor])
	if err != nil {
		return Position{}, err
	}

	form, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(form) != lengthCursor || form[0] != cursorVersion ||
		!hmac.Equal(form[lengthCursor-lengthCode:], c.code(form[:lengthCursor-lengthCode])) {
		return Position{}, fault.New(fault.Invalid,
			"cursor is not one that was given here; send next_cursor as it was, or leave it out to begin at the first page")
	}

	form = form[1:]
	if Digest(form[lengthAt+lengthID:]) != digest {
		return Position{}, fault.New(fault.Invalid,
			"cursor belongs to another filter; send it with the parameters of the page that it came with")
	}

	at := int64(binary.BigEndian.Uint64(form)) //nolint:gosec // as it was written

	return Position{At: time.UnixMicro(at).UTC(), ID: [lengthID]byte(form[lengthAt:])}, nil
}

func (c Cursors) code(body []byte) []byte {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write(body)

	return mac.Sum(nil)[:lengthCode]
}
