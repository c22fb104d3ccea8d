package customers

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// MaxMethods is how many payment methods are listed at once, as Stripe does
// (https://docs.stripe.com/api/pagination).
const MaxMethods = 100

// Methods lists a customer's saved payment methods. They are read from the provider, because
// cards change by themselves.
type Methods struct {
	customers ports.Customers
	provider  ports.Provider
	lives     ports.Incarnations
	spans     ports.Spans
}

// NewMethods returns the use case.
func NewMethods(
	customers ports.Customers, provider ports.Provider, lives ports.Incarnations, spans ports.Spans,
) *Methods {
	return &Methods{customers: customers, provider: provider, lives: lives, spans: spans}
}

// MethodsPage is a part of a customer's payment methods.
type MethodsPage struct {
	Methods []ports.Method
	More    bool
}

// Do returns up to limit payment methods, those that follow the method after (empty: from the
// first). If there is no such customer, the error is fault.NotFound; no such method:
// fault.Invalid. If the provider does not answer: fault.Unavailable.
func (uc *Methods) Do(
	ctx context.Context, tenant operation.Tenant, id uuid.UUID, after string, limit int,
) (MethodsPage, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListPaymentMethods", func(ctx context.Context) (MethodsPage, error) {
		c, err := load(ctx, uc.customers, uc.lives, tenant, id)
		if err != nil {
			return MethodsPage{}, err
		}

		methods, more, err := uc.provider.Methods(ctx, c.ProviderID, after, limit)

		switch {
		case err == nil:
			return MethodsPage{methods, more}, nil
		case fault.KindOf(err) == fault.NotFound && after != "":
			return MethodsPage{}, fault.Wrap(fault.Invalid, err, "The cursor does not fit this list any more. Begin again without one.")
		default:
			return MethodsPage{}, errAway(err)
		}
	})
}
