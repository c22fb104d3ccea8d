package operations

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// The longest actor and the longest reason, in characters.
const maxActor, maxReason = 255, 1000

// Decision says which person decided something, for whom, and why. The audit keeps all of it.
type Decision struct {
	Actor, Reason string
	// OnBehalfOf is empty if the person decides for nobody else.
	OnBehalfOf string
	// Tenant is whose object the person means; zero: whoever's it is.
	Tenant operation.Tenant
}

// Entry is the decision's entry in the audit. Without an actor or a reason the error is
// fault.Invalid. Bind says whose it is; else it is the installation's.
func (d Decision) Entry(action ports.AuditAction, objectType, objectID string) (ports.AuditEntry, error) {
	actor, reason, behalf := strings.TrimSpace(d.Actor), strings.TrimSpace(d.Reason), strings.TrimSpace(d.OnBehalfOf)

	switch {
	case !canBeKept(actor, maxActor):
		return ports.AuditEntry{}, fault.Newf(fault.Invalid, "An actor is needed: a name of 1 to %d characters.", maxActor)
	case !canBeKept(reason, maxReason):
		return ports.AuditEntry{}, fault.Newf(fault.Invalid,
			"A reason is needed, and kept: one line of 1 to %d characters.", maxReason)
	case behalf != "" && !canBeKept(behalf, maxActor):
		return ports.AuditEntry{}, fault.Newf(fault.Invalid,
			"On whose behalf it is done must be a name of 1 to %d characters.", maxActor)
	}

	id, err := uuid.NewV7()
	if err != nil {
		return ports.AuditEntry{}, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	return ports.AuditEntry{
		ID: id, Actor: actor, OnBehalfOf: behalf, Action: action, ObjectType: objectType, ObjectID: objectID, Reason: reason,
	}, nil
}

// Bind gives an entry to the tenant that owns its object. If the person means another's, the error
// is fault.NotFound.
func (d Decision) Bind(entry *ports.AuditEntry, owner operation.Tenant) error {
	entry.Tenant = owner

	if d.Tenant != 0 && d.Tenant != owner {
		return fault.Newf(fault.NotFound, "There is no %s %s of this tenant.", entry.ObjectType, entry.ObjectID)
	}

	return nil
}

func canBeKept(text string, most int) bool {
	return text != "" && utf8.ValidString(text) && utf8.RuneCountInString(text) <= most &&
		!strings.ContainsFunc(text, unicode.IsControl)
}

// about is the operation that is decided about, and the decision's entry in the audit. If
// nothing is to be decided, the error is fault.Invalid. No operation: fault.NotFound.
func (d Decision) about(
	ctx context.Context, decisions ports.Decisions, action ports.AuditAction, id uuid.UUID,
) (ports.OperationDetails, ports.AuditEntry, error) {
	entry, err := d.Entry(action, "operation", id.String())
	if err != nil {
		return ports.OperationDetails{}, entry, err
	}

	op, err := decisions.Operation(ctx, id)
	if err != nil {
		return op, entry, err
	}

	if err := d.Bind(&entry, op.Tenant); err != nil {
		return op, entry, err
	}

	entry.Before = map[string]any{stateKey: op.State, "attempts": op.Attempts, "last_error": op.LastError}

	return op, entry, mayDecide(op)
}

// stateKey is the name of an operation's state in the audit.
const stateKey = "state"

// mayDecide allows a decision only if nothing but a person can finish the operation.
func mayDecide(o ports.OperationDetails) error {
	switch {
	case o.Finished():
		return fault.Newf(fault.Invalid, "Operation %s is finished: its answer, %d, stands for ever.",
			o.ID, o.Response.Status)
	case o.InHand:
		return fault.Newf(fault.Invalid, "Operation %s is being worked on at this moment. Try again in a few seconds.",
			o.ID)
	case o.State == operation.NeedsAttention, o.State == operation.Pending && o.Age > operation.SendFor:
		return nil
	case o.State == operation.Pending:
		return fault.Newf(fault.Invalid, "Operation %s is pending and %s old: recovery is still finding out what became of it. "+
			"A person may decide once it needs attention or is %s old.",
			o.ID, o.Age.Round(time.Second), operation.SendFor)
	default:
		return fault.Newf(fault.Invalid, "Operation %s is %s: no decision is needed.", o.ID, o.State)
	}
}

// Moved explains to a person that a decision came too late.
func Moved(err error, what string) error {
	if errors.Is(err, ports.ErrMoved) {
		return fault.Newf(fault.Invalid, "%s has changed meanwhile, and nothing was done. Look at it again.", what)
	}

	return err
}
