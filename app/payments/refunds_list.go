package payments

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// RefundFilterParameter is one of the parameters that a list of refunds takes.
type RefundFilterParameter = list.Parameter[ports.RefundFilter]

// RefundFilterParameters is the table of what refunds are filtered by.
func RefundFilterParameters() []RefundFilterParameter {
	return slices.Concat(
		[]RefundFilterParameter{
			{Name: "status", Help: "pending, requires_action, succeeded, failed or cancelled", Read: readRefundStatus},
			{Name: OptionReason, Help: "such as requested_by_customer", Read: readRefundReason},
			{Name: "origin", Help: "api, console or stripe: where it was asked for", Read: readRefundOrigin},
			{
				Name: "payment_id", Help: "of this payment",
				Read: func(f *ports.RefundFilter, value string) (err error) {
					f.PaymentID, err = list.ID(value, "payment")

					return err
				},
			},
			{
				Name: keyCurrency, Help: "an ISO 4217 code",
				Read: func(f *ports.RefundFilter, value string) (err error) {
					f.Currency, err = money.ParseCurrency(value)

					return err
				},
			},
		},
		list.Times("created", "created", func(f *ports.RefundFilter) *list.Span { return &f.Created }),
		list.Amounts(func(f *ports.RefundFilter) (money.Currency, *list.Range) { return f.Currency, &f.Amount }),
	)
}

func readRefundStatus(f *ports.RefundFilter, value string) error {
	f.Status = refund.Status(value)
	if !f.Status.Valid() {
		return fault.New(fault.Invalid, "must be pending, requires_action, succeeded, failed or cancelled")
	}

	return nil
}

// readRefundReason takes any word that could be Stripe's.
func readRefundReason(f *ports.RefundFilter, value string) error {
	const most = 40

	if len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r != '_' && !unicode.IsLower(r) }) {
		return fault.New(fault.Invalid, "must be a word of Stripe's such as requested_by_customer")
	}

	f.Reason = value

	return nil
}

func readRefundOrigin(f *ports.RefundFilter, value string) error {
	f.Origin = refund.Origin(value)
	if !slices.Contains(refund.Origins(), f.Origin) {
		return fault.New(fault.Invalid, "must be api, console or stripe")
	}

	return nil
}

// ListRefunds finds refunds.
type ListRefunds struct {
	lists   ports.RefundLists
	lives   ports.Incarnations
	cursors list.Cursors
	spans   ports.Spans
}

// NewListRefunds returns the use case.
func NewListRefunds(
	lists ports.RefundLists, lives ports.Incarnations, installation operation.Installation, spans ports.Spans,
) *ListRefunds {
	return &ListRefunds{lists: lists, lives: lives, cursors: list.NewCursors(installation), spans: spans}
}

// RefundsPage is a page of refunds, the newest first.
type RefundsPage struct {
	Refunds []refund.Refund
	// Next is the cursor of the next page; empty if there are no more.
	Next string
}

// Do returns one page of what is a tenant's. values are the parameters of RefundFilterParameters, limit and cursor; a
// wrong one is fault.Invalid. The page may be short although there are more.
func (uc *ListRefunds) Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (RefundsPage, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListRefunds", func(ctx context.Context) (RefundsPage, error) {
		limit, err := list.Limit(values)
		if err != nil {
			return RefundsPage{}, err
		}

		chosen := list.Filters(values)

		filter, err := list.Parse("refunds", RefundFilterParameters(), chosen)
		if err != nil {
			return RefundsPage{}, err
		}

		filter.Tenant = tenant

		digest := list.DigestOf(tenant, "refunds", chosen)

		after, err := uc.cursors.Of(values, digest)
		if err != nil {
			return RefundsPage{}, err
		}

		read, err := uc.page(ctx, filter, after, limit)
		page := RefundsPage{Refunds: read.Refunds}

		if !read.Next.IsZero() {
			page.Next = uc.cursors.Write(read.Next, digest)
		}

		return page, err
	})
}

// Export calls each with all of a tenant's refunds that fit, some at a time, the newest first. values are as for
// Do, without limit and cursor. Until each is called nothing was found out, or the error is one
// of Do's.
func (uc *ListRefunds) Export(
	ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]refund.Refund) error,
) error {
	_, err := ports.InSpan(ctx, uc.spans, "app.ExportRefunds", func(ctx context.Context) (struct{}, error) {
		if err := list.NoPage("refunds", values); err != nil {
			return struct{}{}, err
		}

		filter, err := list.Parse("refunds", RefundFilterParameters(), values)
		if err != nil {
			return struct{}{}, err
		}

		filter.Tenant = tenant

		for after := (list.Position{}); ; {
			page, err := uc.page(ctx, filter, after, exportPage)
			if err != nil {
				return struct{}{}, err
			}

			if err := each(page.Refunds); err != nil || page.Next.IsZero() {
				return struct{}{}, err
			}

			after = page.Next
		}
	})

	return err
}

// page reads a page. That a payment has no refunds is believed as Get does.
func (uc *ListRefunds) page(
	ctx context.Context, f ports.RefundFilter, after list.Position, limit int,
) (ports.RefundPage, error) {
	page, err := uc.lists.ListRefunds(ctx, f, after, limit)
	if err != nil || f.PaymentID == [16]byte{} || len(page.Refunds) > 0 || !after.IsZero() {
		return page, err
	}

	return page, believeNone(ctx, uc.lives, nil)
}
