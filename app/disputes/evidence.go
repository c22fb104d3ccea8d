package disputes

import (
	"context"
	"maps"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Evidence gives texts to the bank, or stages them at the provider.
type Evidence struct{ *Change }

// NewEvidence returns the use case.
func NewEvidence(change *Change) *Evidence { return &Evidence{change} }

// EvidenceCommand gives evidence.
type EvidenceCommand struct {
	Command

	// Evidence are texts by the names of dispute.EvidenceFields. An empty one takes away what was
	// staged before.
	Evidence map[string]string
	// Submit gives all to the bank that is staged then. A bank takes evidence once.
	Submit bool
}

// Do gives or stages evidence; see operations.Engine.Do. Its errors are also
//   - fault.Invalid: it is no evidence, or too much, or there is nothing to stage;
//   - fault.NotFound: there is no such dispute;
//   - fault.InvalidState: it is closed or was answered, or the deadline has passed;
//   - fault.PreconditionFailed: it has another version;
//   - fault.InProgress: another operation on it is not finished.
func (uc *Evidence) Do(ctx context.Context, cmd EvidenceCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.SubmitEvidence", func(ctx context.Context) (operations.Answer, error) {
		if err := dispute.CheckEvidence(cmd.Evidence); err != nil {
			return operations.Answer{}, err
		}

		options := make(map[string]string, len(cmd.Evidence)+1)
		maps.Copy(options, cmd.Evidence)

		switch {
		case cmd.Submit:
			options[dispute.OptionSubmit] = "true"
		case len(cmd.Evidence) == 0:
			return operations.Answer{}, fault.New(fault.Invalid, "there is nothing to stage; send evidence, or submit what is staged")
		}

		return uc.do(ctx, operation.SubmitEvidence, cmd.Command, options, uc.calls.SubmitEvidence)
	})
}

// EvidenceDefinition is what evidence adds to the engine. The dispute carries the mark of the
// operation that gave evidence last.
func EvidenceDefinition(
	renderer ports.Renderer, disputes ports.Disputes, provider ports.Provider, refresh Refresh,
) operations.Definition {
	return definition(operation.SubmitEvidence, renderer, disputes, provider, refresh,
		func(op ports.Operation, object ports.DisputeObject) bool { return object.Evidence.Operation == op.ID })
}
