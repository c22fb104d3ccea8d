package customers

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Get reads a customer.
type Get struct {
	customers ports.Customers
	lives     ports.Incarnations
	spans     ports.Spans
}

// NewGet returns the use case.
func NewGet(customers ports.Customers, lives ports.Incarnations, spans ports.Spans) *Get {
	return &Get{customers: customers, lives: lives, spans: spans}
}

// Do returns a tenant's customer as it is now. If there is none, or it is deleted, the error is
// fault.NotFound; while the database may lack customers that it had, fault.Unavailable.
func (uc *Get) Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (customer.Customer, error) {
	return ports.InSpan(ctx, uc.spans, "app.GetCustomer", func(ctx context.Context) (customer.Customer, error) {
		return load(ctx, uc.customers, uc.lives, tenant, id)
	})
}
