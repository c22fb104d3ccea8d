package tenant

import (
	"crypto/sha256"
	"encoding/binary"
	"regexp"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
)

// Tenant is who owns API keys, payments and customers. Nobody sees what is another tenant's.
type Tenant struct {
	ID   operation.Tenant
	Name string
	// DisabledAt is zero unless the tenant is disabled: its keys do not work then.
	CreatedAt, DisabledAt time.Time
}

// DefaultName is the name of operation.DefaultTenant.
const DefaultName = "default"

var wellFormed = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// MaxTenantName is the longest name of a tenant, in characters.
const MaxTenantName = 63

// New is the tenant of a name: lower-case letters and digits, with single hyphens between them, at
// most MaxTenantName characters. Any other name is fault.Invalid.
//
// The id is made of the name, not counted. The intents of a tenant that a restored database has
// lost carry the id, so whoever makes the tenant again gets what is its own, and nobody else
// does. Of a thousand tenants two have the same id with a chance of 1 to 4,000; the second cannot
// be made then and needs another name.
func New(name string) (Tenant, error) {
	if len(name) > MaxTenantName || !wellFormed.MatchString(name) {
		return Tenant{}, fault.Newf(fault.Invalid,
			"a tenant's name has 1 to %d lower-case letters and digits, with single hyphens between them", MaxTenantName)
	}

	if name == DefaultName {
		return Tenant{ID: operation.DefaultTenant, Name: name}, nil
	}

	const mask = 1<<31 - 1

	sum := sha256.Sum256([]byte("marketflow tenant " + name))
	id := operation.Tenant(binary.BigEndian.Uint32(sum[:]) & mask)

	return Tenant{ID: max(id, operation.DefaultTenant+1), Name: name}, nil
}
