package river

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/internal/telemetry/rootspan"
)

// Meter takes the jobs' measurements. It must not block.
type Meter interface {
	// Job: this process has run a job. result is completed, failed, or interrupted
	// when the service stopped.
	Job(kind, result string, waited, ran time.Duration)
}

// finished are the ways in which a run can end: no job is retried, snoozed or
// cancelled by hand.
//
//nolint:gochecknoglobals // a constant list
var finished = []river.EventKind{
	river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobInterrupted,
}

// count measures runs until the client has stopped.
func (j *Jobs) count(runs <-chan *river.Event) {
	for run := range runs {
		j.meter.Job(run.Job.Kind, resultOf(run.Kind), run.JobStats.QueueWaitDuration, run.JobStats.RunDuration)
	}
}

func resultOf(kind river.EventKind) string {
	switch kind {
	case river.EventKindJobCompleted:
		return "completed"
	case river.EventKindJobInterrupted:
		return "interrupted"
	default:
		return "failed"
	}
}

// Waiting tells how many jobs should be running and are not, and how long the oldest
// of them has waited; zero if there is none.
func (j *Jobs) Waiting(ctx context.Context) (jobs int64, oldest time.Duration, err error) {
	// River has no method for this. The query uses the index that River fetches by.
	const query = `
SELECT count(*), COALESCE(EXTRACT(EPOCH FROM now() - min(scheduled_at)), 0)::float8
FROM river_job
WHERE state = 'available' AND queue = $1 AND scheduled_at <= now()`

	var seconds float64

	if err := j.pool.QueryRow(ctx, query, river.QueueDefault).Scan(&jobs, &seconds); err != nil {
		return 0, 0, fmt.Errorf("counting the jobs that wait: %w", err)
	}

	return jobs, time.Duration(seconds * float64(time.Second)), nil
}

// withSpanOptions describes the job, for the traces that its work begins, as OpenTelemetry's messaging conventions do
// (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).
func withSpanOptions(ctx context.Context, job *rivertype.JobRow) context.Context {
	return rootspan.With(ctx,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			semconv.MessagingSystemKey.String("river"),
			semconv.MessagingOperationTypeProcess,
			semconv.MessagingOperationName(job.Kind),
			semconv.MessagingDestinationName(job.Queue),
			semconv.MessagingMessageID(strconv.FormatInt(job.ID, 10))))
}
