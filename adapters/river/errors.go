package river

import (
	"context"
	"fmt"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"
)

// errorHandler logs the errors and panics of jobs.
type errorHandler struct{ log *zap.Logger }

var _ river.ErrorHandler = (*errorHandler)(nil)

// HandleError implements river.ErrorHandler.
func (h *errorHandler) HandleError(_ context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	h.log.Warn("job did not finish its work", zap.String("job", job.Kind), zap.Error(err))

	return nil
}

// HandlePanic implements river.ErrorHandler.
func (h *errorHandler) HandlePanic(
	_ context.Context, job *rivertype.JobRow, thrown any, trace string,
) *river.ErrorHandlerResult {
	h.log.Error("job panicked", zap.String("job", job.Kind), zap.String("panic", fmt.Sprint(thrown)),
		zap.String("stack", trace))

	return nil
}
