package payments

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// exportPage is how many payments an export has in memory.
const exportPage = 500

// List finds payments.
type List struct {
	lists   ports.PaymentLists
	lives   ports.Incarnations
	cursors list.Cursors
	indexed IndexedNames
	spans   ports.Spans
}

// NewList returns the use case.
func NewList(
	lists ports.PaymentLists, lives ports.Incarnations, installation operation.Installation, indexed IndexedNames,
	spans ports.Spans,
) *List {
	return &List{lists: lists, lives: lives, cursors: list.NewCursors(installation), indexed: indexed, spans: spans}
}

// ListPage is a page of payments, the newest first.
type ListPage struct {
	Payments []payment.Payment
	// Next is the cursor of the next page; empty if there are no more.
	Next string
}

// Do returns one page of a tenant's payments. values are the parameters of FilterParameters, metadata[NAME], limit
// and cursor; a wrong one is fault.Invalid. The page may be short although there are more:
// a bounded number of payments is looked at.
func (uc *List) Do(ctx context.Context, tenant operation.Tenant, values map[string][]string) (ListPage, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListPayments", func(ctx context.Context) (ListPage, error) {
		limit, err := list.Limit(values)
		if err != nil {
			return ListPage{}, err
		}

		chosen := list.Filters(values)

		filter, err := parseFilter(tenant, chosen, uc.indexed)
		if err != nil {
			return ListPage{}, err
		}

		digest := list.DigestOf(tenant, "", chosen)

		after, err := uc.cursors.Of(values, digest)
		if err != nil {
			return ListPage{}, err
		}

		read, err := uc.page(ctx, filter, ports.PaymentPosition{CreatedAt: after.At, ID: after.ID}, limit)
		if err != nil {
			return ListPage{}, err
		}

		page := ListPage{Payments: read.Payments}
		if !read.Next.IsZero() {
			page.Next = uc.cursors.Write(list.Position{At: read.Next.CreatedAt, ID: read.Next.ID}, digest)
		}

		return page, nil
	})
}

// Export calls each with all payments that fit, some at a time, the newest first. values are
// as for Do, without limit and cursor. Until each is called nothing was found out, or the
// error is one of Do's.
func (uc *List) Export(
	ctx context.Context, tenant operation.Tenant, values map[string][]string, each func([]payment.Payment) error,
) error {
	_, err := ports.InSpan(ctx, uc.spans, "app.ExportPayments", func(ctx context.Context) (struct{}, error) {
		if err := list.NoPage("payments", values); err != nil {
			return struct{}{}, err
		}

		filter, err := parseFilter(tenant, values, uc.indexed)
		if err != nil {
			return struct{}{}, err
		}

		for after := (ports.PaymentPosition{}); ; {
			page, err := uc.page(ctx, filter, after, exportPage)
			if err != nil {
				return struct{}{}, err
			}

			if err := each(page.Payments); err != nil || page.Next.IsZero() {
				return struct{}{}, err
			}

			after = page.Next
		}
	})

	return err
}

// page reads a page. That there is no payment of a name is believed as Get does.
func (uc *List) page(
	ctx context.Context, f ports.PaymentFilter, after ports.PaymentPosition, limit int,
) (ports.PaymentPage, error) {
	page, err := uc.lists.ListPayments(ctx, f, after, limit)

	named := f.CustomerID != uuid.Nil || f.Key != "" || f.IntentID != "" || f.AnyID != "" || len(f.Metadata) > 0
	if err != nil || !named || len(page.Payments) > 0 || !page.Next.IsZero() || !after.IsZero() {
		return page, err
	}

	return page, believeNone(ctx, uc.lives, nil)
}
