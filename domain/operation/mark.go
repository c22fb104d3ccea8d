package operation

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// Tenant is who owns what a client asked for: a positive number. Nobody sees another tenant's
// payments and customers, and two tenants may use the same idempotency key.
type Tenant int32

// DefaultTenant is the tenant where nobody has made another one.
const DefaultTenant Tenant = 1

// Installation is one database with all its processes. It is told apart from others on the
// same account by its id.
type Installation struct{ ID uuid.UUID }

// Mark is the mark of an operation of this installation.
func (i Installation) Mark(tenant Tenant, kind Kind, id uuid.UUID, fingerprint Fingerprint) Mark {
	return Mark{Installation: i.ID, Tenant: tenant, Kind: kind, Operation: id, Fingerprint: fingerprint}
}

// Mark is written into every object of ours at the provider: whose it is and which
// operation made it. By it an object is found again after its answer was lost. The zero
// value is no mark.
type Mark struct {
	// Installation is the id of the database that the operation is written in.
	Installation uuid.UUID
	Tenant       Tenant
	Kind         Kind
	Operation    uuid.UUID
	Fingerprint  Fingerprint
}

// markVersion begins every mark.
const markVersion = "1"

// String is the mark's text, of under 200 characters: version, installation, tenant, kind,
// operation and fingerprint, with dots between them, ids and hash in base64url.
func (m Mark) String() string {
	encode := base64.RawURLEncoding.EncodeToString

	return strings.Join([]string{
		markVersion, encode(m.Installation[:]), strconv.Itoa(int(m.Tenant)), string(m.Kind),
		encode(m.Operation[:]), encode(m.Fingerprint[:]),
	}, ".")
}

// ParseMark reads a mark's text. It is false for any other text: that was not written by
// us.
func ParseMark(text string) (Mark, bool) {
	const parts, most = 6, 200

	part := strings.Split(text, ".")
	if len(text) > most || len(part) != parts || part[0] != markVersion {
		return Mark{}, false
	}

	var m Mark

	tenant, err := strconv.ParseInt(part[2], 10, 32)
	m.Tenant, m.Kind = Tenant(tenant), Kind(part[3])

	read := err == nil && tenant > 0 && m.Kind != "" && decodeInto(m.Installation[:], part[1]) &&
		decodeInto(m.Operation[:], part[4]) && decodeInto(m.Fingerprint[:], part[5])
	if !read || m.String() != text { // there is one spelling
		return Mark{}, false
	}

	return m, true
}

func decodeInto(into []byte, text string) bool {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(decoded) != len(into) {
		return false
	}

	copy(into, decoded)

	return true
}
