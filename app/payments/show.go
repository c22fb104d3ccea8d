package payments

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Show gathers all that is known about a payment, for people: also about one that was only
// asked for.
type Show struct {
	timeline  *Timeline
	decisions ports.Decisions
	records   ports.Reconciliation
	spans     ports.Spans
}

// NewShow returns the use case.
func NewShow(timeline *Timeline, decisions ports.Decisions, records ports.Reconciliation, spans ports.Spans) *Show {
	return &Show{timeline: timeline, decisions: decisions, records: records, spans: spans}
}

// Name identifies a payment: by its id, by its intent, or by the key of a tenant.
type Name struct {
	ID       uuid.UUID
	IntentID string
	// Tenant is whose it must be. Zero: whoever's it is, and of a key, the default tenant's.
	Tenant operation.Tenant
	Key    operation.Key
}

// Story is all that is known about a payment.
type Story struct {
	// Payment is nil if there is only an operation. Operation is its create; it is nil only if
	// somebody wrote the payment into the database by hand.
	Payment   *payment.Payment
	Operation *ports.OperationDetails
	// Refunds are the payment's, the oldest first.
	Refunds []refund.Refund
	// Disputes are the payment's, the oldest first.
	Disputes []dispute.Dispute
	// Timeline is everything that happened, oldest first. Cut says that older entries are left
	// out.
	Timeline []TimelineEntry
	Cut      bool
}

// isOf tells whether there is anything to tell, and it is a tenant's; zero: anybody's.
func (s Story) isOf(owner operation.Tenant) bool {
	switch {
	case s.Payment != nil:
		return owner == 0 || owner == s.Payment.Tenant
	case s.Operation != nil:
		return owner == 0 || owner == s.Operation.Tenant
	default:
		return false
	}
}

// Do gathers the story. If there is neither a payment nor an operation, the error is
// fault.NotFound.
func (uc *Show) Do(ctx context.Context, name Name) (Story, error) {
	return ports.InSpan(ctx, uc.spans, "app.ShowPayment", func(ctx context.Context) (Story, error) {
		id, err := uc.id(ctx, name)
		if err != nil {
			return Story{}, err
		}

		story, err := uc.timeline.story(ctx, id)
		if err == nil && !story.isOf(name.Tenant) {
			story, err = Story{}, fault.Newf(fault.NotFound, "There is no payment and no operation %s.", id)
		}

		return story, err
	})
}

func (uc *Show) id(ctx context.Context, name Name) (uuid.UUID, error) {
	switch {
	case name.Key != "":
		op, err := uc.decisions.OperationByKey(ctx, cmp.Or(name.Tenant, operation.DefaultTenant), name.Key)
		if fault.KindOf(err) == fault.NotFound || err == nil && op.Kind.OnCustomer() {
			return uuid.Nil, fault.New(fault.NotFound, "No payment was ever asked for under this idempotency key.")
		}

		return op.PaymentID(), err
	case name.IntentID != "":
		known, err := uc.records.PaymentsByIntent(ctx, []string{name.IntentID})
		if err != nil {
			return uuid.Nil, err
		}

		p, ok := known[name.IntentID]
		if !ok {
			return uuid.Nil, fault.Newf(fault.NotFound, "No payment here has the intent %s.", name.IntentID)
		}

		return p.ID, nil
	default:
		return name.ID, nil
	}
}
