package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// PaymentLists finds payments. It changes nothing. An unreachable or overloaded database is
// fault.Unavailable.
type PaymentLists interface {
	// ListPayments returns up to limit payments that fit the filter and come after a
	// position, the newest first; a zero position is the beginning. It looks at a bounded
	// number of payments, so a page of a filter that few payments fit may be short, or empty,
	// while there are more. Payments that are created meanwhile move nothing to another page.
	ListPayments(ctx context.Context, filter PaymentFilter, after PaymentPosition, limit int) (PaymentPage, error)
}

// PaymentFilter says which payments are looked for. A zero field leaves nothing out.
type PaymentFilter struct {
	// Tenant owns the payments. It is never zero.
	Tenant       operation.Tenant
	Status       payment.Status
	IntentStatus payment.IntentStatus
	// Created is when they were created.
	Created  list.Span
	Currency money.Currency
	// Amount is in the Currency.
	Amount     list.Range
	Key        operation.Key
	IntentID   string
	CustomerID uuid.UUID
	// Refunded: something was given back. Disputed: it was ever disputed.
	Refunded, Disputed bool
	// AnyID is a payment's id, its intent's or its idempotency key.
	AnyID string
	// Metadata is what the payments have in theirs. At least one of its names is indexed,
	// or all payments are looked at.
	Metadata map[string]string
}

// PaymentPage is a part of a list.
type PaymentPage struct {
	Payments []payment.Payment
	// Next is the position to go on from; zero if there are no more.
	Next PaymentPosition
}

// MetadataIndex keeps the index by which payments are found by their metadata. Each store
// has its names and writes the entries of whatever payment it writes.
//
// Every method is one commit and may be repeated. An unreachable or overloaded database is
// fault.Unavailable; if a write may have been committed, the error is fault.Unknown.
type MetadataIndex interface {
	// ReportMetadataNames writes down which names this store has. It is called before the
	// first payment is written, and again every MetadataReportInterval: a name that some
	// store lacks is not searched by, because payments may be missing under it.
	ReportMetadataNames(ctx context.Context) error

	// IndexMetadata writes the entries of up to limit payments that were there before one of
	// the names was. It begins when all stores have had the name for as long as settles says.
	// Two calls at once do not do the same work.
	IndexMetadata(ctx context.Context, settles time.Duration, limit int) (MetadataProgress, error)

	// MetadataNames returns all names that there are entries of, in their order.
	MetadataNames(ctx context.Context) ([]MetadataName, error)

	// ForgetMetadataName deletes up to limit entries of a name, and the name with the last of
	// them. more says that some are left. A name that this store has, or that no store has
	// lacked since it was added, is fault.Invalid.
	ForgetMetadataName(ctx context.Context, name string, limit int) (more bool, err error)
}

// MetadataName is a name of the index.
type MetadataName struct {
	Name string
	// AddedAt is since when it is written. MissedAt is when a process last lacked it; zero if
	// none has.
	AddedAt, MissedAt time.Time
	// Through is how far older payments have been looked at; Complete says that all have.
	Through  PaymentPosition
	Complete bool
}

// Searched says whether payments are found by it.
func (n MetadataName) Searched() bool { return n.Complete && n.MissedAt.Before(n.AddedAt) }

// MetadataReportInterval is how often a store reports its names.
const MetadataReportInterval = time.Minute

// MetadataProgress is what one call of IndexMetadata did.
type MetadataProgress struct {
	// Name is empty if there is nothing to do now.
	Name string
	// Through is the last payment that was looked at; Complete says that it was the last one.
	Through  PaymentPosition
	Complete bool
}

// IsZero says whether it is the beginning.
func (p PaymentPosition) IsZero() bool { return p.CreatedAt.IsZero() && p.ID == uuid.Nil }
