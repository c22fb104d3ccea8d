package payments

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// A cursor is a version, the position after which the next page comes, a digest of the
// filter, and a code by which a changed cursor is told. It is stable: the same in every
// process, and while payments are created.
const (
	cursorVersion = 1

	lengthAt, lengthID, lengthDigest, lengthCode = 8, 16, 8, 16
	lengthCursor                                 = 1 + lengthAt + lengthID + lengthDigest + lengthCode
)

// cursors makes cursors and reads them.
type cursors struct{ secret []byte }

func newCursors(installation operation.Installation) cursors {
	mac := hmac.New(sha256.New, installation.ID[:])
	mac.Write([]byte("cursors of lists"))

	return cursors{secret: mac.Sum(nil)}
}

func (c cursors) write(at ports.PaymentPosition, digest [lengthDigest]byte) string {
	body := make([]byte, 0, lengthCursor)
	body = append(body, cursorVersion)
	body = binary.BigEndian.AppendUint64(body, uint64(at.CreatedAt.UnixMicro()))
	body = append(body, at.ID[:]...)
	body = append(body, digest[:]...)

	return base64.RawURLEncoding.EncodeToString(append(body, c.code(body)...))
}

func (c cursors) read(text string, digest [lengthDigest]byte) (ports.PaymentPosition, error) {
	form, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(form) != lengthCursor || form[0] != cursorVersion ||
		!hmac.Equal(form[lengthCursor-lengthCode:], c.code(form[:lengthCursor-lengthCode])) {
		return ports.PaymentPosition{}, fault.New(fault.Invalid,
			"cursor is not one that was given here; send next_cursor as it was, or leave it out to begin at the newest")
	}

	form = form[1:]
	if [lengthDigest]byte(form[lengthAt+lengthID:]) != digest {
		return ports.PaymentPosition{}, fault.New(fault.Invalid,
			"cursor belongs to another filter; send it with the parameters of the page that it came with")
	}

	at := int64(binary.BigEndian.Uint64(form)) //nolint:gosec // as it was written

	return ports.PaymentPosition{CreatedAt: time.UnixMicro(at).UTC(), ID: [lengthID]byte(form[lengthAt:])}, nil
}

func (c cursors) code(body []byte) []byte {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write(body)

	return mac.Sum(nil)[:lengthCode]
}

// digestOf is of whose payments are listed, and of the parameters that choose them.
func digestOf(tenant operation.Tenant, values map[string][]string) [lengthDigest]byte {
	var text strings.Builder

	text.WriteString(strconv.Itoa(int(tenant)) + "\x00")

	for _, name := range slices.Sorted(maps.Keys(values)) {
		text.WriteString(name + "\x00" + values[name][0] + "\x00")
	}

	sum := sha256.Sum256([]byte(text.String()))

	return [lengthDigest]byte(sum[:])
}
