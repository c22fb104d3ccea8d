package operation

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// OperationID is the id of the operation under a key: a UUIDv8 (RFC 9562 section 5.8) made
// of the installation, the tenant and the key. A database that has lost the operation
// gives it the same id again, so that the provider recognises the call. The kind is not in
// it: a key belongs to one operation, whatever it does.
func (i Installation) OperationID(tenant Tenant, key Key) uuid.UUID {
	part := binary.BigEndian.AppendUint32(nil, uint32(tenant)) //nolint:gosec // a tenant is positive
	part = binary.BigEndian.AppendUint64(part, uint64(len(key)))

	return i.madeOf(part, []byte(key))
}

// ObjectID is our id of a provider's object that nobody has asked us for: a UUIDv8, so that
// the same object has the same id after a loss. No operation has it, because a tenant is not
// zero.
func (i Installation) ObjectID(providerID string) uuid.UUID {
	return i.madeOf(make([]byte, 4), []byte(providerID)) //nolint:mnd // as long as a tenant
}

func (i Installation) madeOf(parts ...[]byte) uuid.UUID {
	mac := hmac.New(sha256.New, i.ID[:])
	for _, part := range parts {
		mac.Write(part)
	}

	const (
		version, versionByte, versionMask = 0x80, 6, 0x0f
		variant, variantByte, variantMask = 0x80, 8, 0x3f
	)

	var id uuid.UUID

	copy(id[:], mac.Sum(nil))
	id[versionByte] = id[versionByte]&versionMask | version
	id[variantByte] = id[variantByte]&variantMask | variant

	return id
}

const (
	// SendFor is how old an operation may be that is sent. Stripe may forget a key once it is
	// 24 hours old and would then run the call as a new one
	// (https://docs.stripe.com/api/idempotent_requests).
	SendFor = 23 * time.Hour
	// BehindMost is how far back something may be missing if the database may have lost
	// commits. What such a commit had sent is then under a key that Stripe
	// still has, or reconciliation has brought it home.
	BehindMost = 20 * time.Hour
)

// Standing is how far reconciliation has come in the database's present life.
type Standing struct {
	// Reconciled: reconciliation has looked at everything since this life began, so that what
	// is not in our records was not there when it looked. It does not allow anything to be
	// sent: a call of the life before may have been under way.
	Reconciled bool
	// Behind is how far back something may be missing that this database should know: the
	// age of reconciliation's cursor. It is 0 once nothing can be missing, and Unknown if
	// nobody can tell.
	Behind time.Duration
}

// Unknown is how far a cursor is behind that tells nothing.
const Unknown = 100 * 365 * 24 * time.Hour

// MaySend tells whether an operation of that age may be sent, for the first time or again.
// If not, the provider may have done it under a key that it has forgotten, so it is looked
// for instead.
func MaySend(age time.Duration, s Standing) bool {
	return age <= SendFor && s.Behind <= BehindMost
}
