package disputes

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// exportPage is how many disputes an export has in memory.
const exportPage = 500

// FilterParameter is one of the parameters that a list of disputes takes.
type FilterParameter = list.Parameter[ports.DisputeFilter]

// byDue is the one order that can be asked for.
const byDue = "evidence_due_by"

// FilterParameters is the table of what disputes are filtered and sorted by.
func FilterParameters() []FilterParameter {
	return slices.Concat(
		[]FilterParameter{
			{Name: "status", Help: "Stripe's word, such as needs_response", Read: readStatus},
			{Name: "kind", Help: "inquiry or chargeback", Read: readKind},
			{
				Name: "payment_id", Help: "of this payment",
				Read: func(f *ports.DisputeFilter, value string) (err error) {
					f.PaymentID, err = list.ID(value, "payment")

					return err
				},
			},
		},
		list.Times(byDue, "evidence is due", func(f *ports.DisputeFilter) *list.Span { return &f.Due }),
		list.Times("created", "created", func(f *ports.DisputeFilter) *list.Span { return &f.Created }),
		[]FilterParameter{{
			Name: "sort", Help: "evidence_due_by: the first deadline first, without those that have none (default: newest first)",
			Read: func(f *ports.DisputeFilter, value string) error {
				if f.ByDue = value == byDue; !f.ByDue {
					return fault.New(fault.Invalid, "must be "+byDue+", or be left out")
				}

				return nil
			},
		}},
	)
}

// readStatus takes any word that could be Stripe's, because new ones are kept.
func readStatus(f *ports.DisputeFilter, value string) error {
	const most = 40

	if len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r != '_' && !unicode.IsLower(r) }) {
		return fault.New(fault.Invalid, "must be a word of Stripe's such as needs_response")
	}

	f.Status = dispute.Status(value)

	return nil
}

func readKind(f *ports.DisputeFilter, value string) error {
	f.Kind = dispute.Kind(value)
	if f.Kind != dispute.Inquiry && f.Kind != dispute.Chargeback {
		return fault.New(fault.Invalid, "must be inquiry or chargeback")
	}

	return nil
}

// List finds disputes.
type List struct {
	disputes ports.Disputes
	lives    ports.Incarnations
	cursors  list.Cursors
	spans    ports.Spans
}

// NewList returns the use case.
func NewList(
	disputes ports.Disputes, lives ports.Incarnations, installation operation.Installation, spans ports.Spans,
) *List {
	return &List{disputes: disputes, lives: lives, cursors: list.NewCursors(installation), spans: spans}
}

// Page is a part of a list.
type Page struct {
	Disputes []dispute.Dispute
	// Next is the cursor of the next page; empty if there are no more.
	Next string
}

// Do returns one page of what is a tenant's. values are the parameters of FilterParameters, limit and cursor; a wrong
// one is fault.Invalid. That a payment has no disputes is believed only once reconciliation is
// through in the database's present life, else the error is fault.Unavailable.
func (uc *List) Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (Page, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListDisputes", func(ctx context.Context) (Page, error) {
		limit, err := list.Limit(values)
		if err != nil {
			return Page{}, err
		}

		chosen := list.Filters(values)

		filter, err := list.Parse("disputes", FilterParameters(), chosen)
		if err != nil {
			return Page{}, err
		}

		filter.Tenant = tenant

		digest := list.DigestOf(tenant, "disputes", chosen)

		after, err := uc.cursors.Of(values, digest)
		if err != nil {
			return Page{}, err
		}

		found, err := uc.disputes.ListDisputes(ctx, filter, after, limit+1)

		switch {
		case err != nil:
			return Page{}, err
		case len(found) > limit:
			found = found[:limit]

			return Page{Disputes: found, Next: uc.cursors.Write(filter.PositionOf(found[limit-1]), digest)}, nil
		case len(found) == 0 && chosen["payment_id"] != nil:
			return Page{}, believeNone(ctx, uc.lives, nil)
		default:
			return Page{Disputes: found}, nil
		}
	})
}

// Export calls each with all of a tenant's disputes that fit, some at a time, in their order. values are as for
// Do, without limit and cursor. Until each is called nothing was found out, or the error is one
// of Do's.
func (uc *List) Export(
	ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]dispute.Dispute) error,
) error {
	_, err := ports.InSpan(ctx, uc.spans, "app.ExportDisputes", func(ctx context.Context) (struct{}, error) {
		if err := list.NoPage("disputes", values); err != nil {
			return struct{}{}, err
		}

		filter, err := list.Parse("disputes", FilterParameters(), values)
		if err != nil {
			return struct{}{}, err
		}

		filter.Tenant = tenant

		for after := (list.Position{}); ; {
			found, err := uc.disputes.ListDisputes(ctx, filter, after, exportPage)
			if err != nil {
				return struct{}{}, err
			}

			if err := each(found); err != nil || len(found) < exportPage {
				return struct{}{}, err
			}

			after = filter.PositionOf(found[len(found)-1])
		}
	})

	return err
}
