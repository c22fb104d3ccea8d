package ports

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
)

// ErrMoved says that what a person decided about has changed meanwhile. Nothing was done:
// look again and decide again.
var ErrMoved = errors.New("it has changed meanwhile")

// Decisions shows operations to people, and takes their decisions when neither sending
// again nor looking for the intent can finish one.
//
// Atomicity: a decision is one commit with its entry in the audit. Idempotency: a decision
// may be repeated with the same entry; the entry's id tells that it has been done. Errors:
// an unreachable or overloaded database is fault.Unavailable, and then surely nothing was
// written; if a decision may have been written, the error is fault.Unknown.
type Decisions interface {
	// Operation returns the operation of that id. None: fault.NotFound.
	Operation(ctx context.Context, id uuid.UUID) (OperationDetails, error)

	// OperationByKey returns the operation under a tenant's key.
	// None: fault.NotFound.
	OperationByKey(ctx context.Context, tenant operation.Tenant, key operation.Key) (OperationDetails, error)

	// OperationsOn returns the newest MaxOperationsOn operations on a payment, without its
	// create, oldest first; nothing if there are none.
	OperationsOn(ctx context.Context, paymentID uuid.UUID) ([]OperationDetails, error)

	// Operations lists up to limit operations of a tenant (zero: of all) in one of the states:
	// first the unfinished ones, the oldest first, then the finished ones, the newest first.
	Operations(ctx context.Context, owner operation.Tenant, states []operation.State, limit int) ([]OperationDetails, error)

	// Close freezes response as the answer for ever: a person has decided that the payment
	// was never made. The operation must still be in state, nobody may be working on it,
	// and no payment may exist; otherwise ErrMoved. No operation: fault.NotFound. After
	// either error nothing has changed.
	Close(ctx context.Context, id uuid.UUID, state operation.State, response FrozenResponse, entry AuditEntry) (Operation, error)

	// Adopt is Operations.Finish by a person's decision. If the operation is finished
	// already: ErrMoved. If Finish would find a contradiction: ErrContradiction. No
	// operation: fault.NotFound. After any of these errors nothing has changed.
	Adopt(ctx context.Context, c Completion, entry AuditEntry) (Finished, error)

	// AdoptOn is Operations.FinishOn by a person's decision, with its errors.
	AdoptOn(ctx context.Context, id uuid.UUID, c Change, entry AuditEntry) (Finished, error)

	// AdoptOnCustomer is Operations.FinishOnCustomer by a person's decision, with its errors.
	AdoptOnCustomer(ctx context.Context, id uuid.UUID, c CustomerChange, entry AuditEntry) (Finished, error)
}

const (
	// MaxOperationsOn is the most operations that are read of one payment.
	MaxOperationsOn = 100
	// MaxAudit is the most decisions that are read about some objects.
	MaxAudit = 500
)

// OperationDetails is an operation as people see it.
type OperationDetails struct {
	Operation

	// LastError is how the last attempt ended; empty if there was no error.
	LastError string
	// RetryAt is when recovery tries again; zero if the operation is not pending.
	RetryAt time.Time
	// InHand says that somebody is working on it, or has just stopped.
	InHand    bool
	UpdatedAt time.Time
}

// Audit reads what people decided. An entry is written in the commit of the change that
// it is about and never changes. An unreachable or overloaded database is
// fault.Unavailable.
type Audit interface {
	// AuditOf returns the newest MaxAudit decisions about any of the objects, oldest first;
	// nothing if there are none.
	AuditOf(ctx context.Context, objectIDs ...string) ([]AuditEntry, error)

	// ListAudit returns up to limit entries before a position (zero: from the newest), newest
	// first: what people and keys have changed, and what clients have asked for, of a tenant
	// (zero: of all). The installation's are the default tenant's. An
	// operation is its own entry, without what may hold a person's data: once it is done, Before
	// and After have what it has changed of the payment, and until then Before has the payment as
	// it stood (payment.Payment.Audited). An entry appears when it is committed, which may be after
	// later ones.
	ListAudit(
		ctx context.Context, owner operation.Tenant, filter AuditFilter, before AuditPosition, limit int,
	) ([]AuditEntry, error)

	// AuditedUntil returns a time, about now, before which no entry appears any more: whoever lists
	// what is before it has all of it. Only reconciliation may still bring home operations that the
	// database had lost, each at the time at which it was asked for.
	AuditedUntil(ctx context.Context) (time.Time, error)
}

// AuditFilter narrows the audit. A field that is zero does not.
type AuditFilter struct {
	Actor    string
	Action   AuditAction
	ObjectID string
	// From is the first time.
	From time.Time
}

// AuditPosition is a place in the audit, in the order of time.
type AuditPosition struct {
	At time.Time
	ID uuid.UUID
}

// AuditEntry is what a person decided, or what a client changed or asked for.
type AuditEntry struct {
	// ID is made by whoever decides. A repeated decision has the same id.
	ID uuid.UUID
	// At is set by the store.
	At time.Time
	// Tenant is whose it is; zero if it is the installation's.
	Tenant operation.Tenant
	// Actor is who did it: "cli:" and a user, the name that they gave, "key:" and an API key,
	// or empty if nobody is known.
	Actor      string
	OnBehalfOf string
	Action     AuditAction
	ObjectType string
	ObjectID   string
	Reason     string
	// Before and After are what was changed; nil if nothing is known.
	Before, After map[string]any
	// RequestID is empty for a command.
	RequestID string
}

// AuditAction is what a person did.
type AuditAction string

// The actions.
const (
	AuditOperationClosed  AuditAction = "operation.close"
	AuditOperationAdopted AuditAction = "operation.adopt"
	AuditEventDismissed   AuditAction = "inbox.dismiss"
	AuditEventReopened    AuditAction = "inbox.reopen"
	AuditPaymentAccepted  AuditAction = "payment.accept"
	AuditCustomerErased   AuditAction = "customer.erase"
)
