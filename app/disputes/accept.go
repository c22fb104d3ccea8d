package disputes

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Accept gives in to a dispute.
type Accept struct{ *Change }

// NewAccept returns the use case.
func NewAccept(change *Change) *Accept { return &Accept{change} }

// Do accepts: the dispute is lost, for good; see operations.Engine.Do. Its errors are also those
// of Evidence.Do.
func (uc *Accept) Do(ctx context.Context, cmd Command) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.AcceptDispute", func(ctx context.Context) (operations.Answer, error) {
		return uc.do(ctx, operation.AcceptDispute, cmd, nil, uc.calls.AcceptDispute)
	})
}

// AcceptDefinition is what accepting adds to the engine. The provider keeps no mark of it. It does
// not matter who has lost the dispute: accepted is what it is.
func AcceptDefinition(
	renderer ports.Renderer, disputes ports.Disputes, provider ports.Provider, refresh Refresh,
) operations.Definition {
	return definition(operation.AcceptDispute, renderer, disputes, provider, refresh,
		func(_ ports.Operation, object ports.DisputeObject) bool {
			return object.Status == dispute.Lost || object.Status == dispute.InquiryClosed
		})
}
