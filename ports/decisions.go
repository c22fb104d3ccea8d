package ports

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
)

// ErrMoved says that a decision was made about something that has changed
// meanwhile. Nothing was done: look again and decide anew.
var ErrMoved = errors.New("it has changed meanwhile")

// Decisions is what people see of the operations, and what they decide where neither
// sending again nor looking for the intent can finish one. An operation has its
// payment's id.
//
// A decision is one commit with its entry in the audit, and may be repeated after
// an error without harm: the entry's id tells that it has been done. An
// unreachable or overloaded database is fault.Unavailable.
type Decisions interface {
	// Operation returns the operation of that id. None: fault.NotFound.
	Operation(ctx context.Context, id uuid.UUID) (OperationDetails, error)

	// OperationByKey returns the operation under a client's key.
	// None: fault.NotFound.
	OperationByKey(ctx context.Context, key operation.Key) (OperationDetails, error)

	// Operations lists those in one of the states, up to limit: first what is not
	// finished, the oldest first, then what is, the newest first.
	Operations(ctx context.Context, states []operation.State, limit int) ([]OperationDetails, error)

	// Close freezes response as the answer for ever: a person has decided that the
	// payment was never made. The operation has to be in state still, nobody may be
	// working on it and no payment may exist; else ErrMoved.
	// No operation: fault.NotFound.
	Close(ctx context.Context, id uuid.UUID, state operation.State, response FrozenResponse, entry AuditEntry) (Operation, error)

	// Adopt is Operations.Finish by a person's decision. Where the operation is
	// finished: ErrMoved. Where the intent or a payment contradicts it:
	// ErrContradiction. No operation: fault.NotFound.
	Adopt(ctx context.Context, c Completion, entry AuditEntry) (Finished, error)
}

// OperationDetails is an operation as people see it.
type OperationDetails struct {
	Operation

	// LastError is what the last try ended with; empty where there was none.
	LastError string
	// RetryAt is when recovery tries again, while the operation is pending.
	RetryAt time.Time
	// InHand: somebody works on it at this moment, or has just stopped.
	InHand    bool
	UpdatedAt time.Time
}

// Audit tells what people decided. What is in it never changes: each port writes
// its entries in the commit of the change that they are about.
type Audit interface {
	// AuditOf returns what was decided about any of the objects, oldest first.
	AuditOf(ctx context.Context, objectIDs ...string) ([]AuditEntry, error)
}

// AuditEntry is a person's decision.
type AuditEntry struct {
	// ID is made by whoever decides: the same decision has the same id.
	ID uuid.UUID
	// At is the store's time; it need not be given.
	At time.Time
	// Actor is who did it: "cli:" and a user, or what they call themselves.
	Actor      string
	OnBehalfOf string
	Action     AuditAction
	ObjectType string
	ObjectID   string
	Reason     string
	// Before and After are what was changed; nil where there is nothing to tell.
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
)
