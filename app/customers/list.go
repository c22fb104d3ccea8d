package customers

import (
	"context"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/ports"
)

// List lists customers.
type List struct {
	customers ports.Customers
	spans     ports.Spans
}

// NewList returns the use case.
func NewList(customers ports.Customers, spans ports.Spans) *List {
	return &List{customers: customers, spans: spans}
}

// Page is a part of a list, newest first.
type Page struct {
	Customers []customer.Customer
	More      bool
}

// Do returns up to limit customers that were created before a position (zero: from the
// newest) and are not deleted.
func (uc *List) Do(
	ctx context.Context, filter ports.CustomerFilter, before ports.CustomerPosition, limit int,
) (Page, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListCustomers", func(ctx context.Context) (Page, error) {
		found, err := uc.customers.ListCustomers(ctx, filter, before, limit+1)
		if err != nil || len(found) <= limit {
			return Page{Customers: found}, err
		}

		return Page{Customers: found[:limit], More: true}, nil
	})
}
