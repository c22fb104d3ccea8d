package portstest

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
)

// OperationsBenchmarks measures Begin and Finish for one caller, and both together for as
// many callers as there are processors.
func OperationsBenchmarks(b *testing.B, newBed func(tb testing.TB) StoreBed) {
	b.Helper()

	b.Run("Begin", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			bed.mustBegin(b, newOperation(b, operation.Key(uuid.NewString())))
		}
	})
	b.Run("FindFinished", func(b *testing.B) {
		bed := newBed(b)
		bed.mustPay(b, "order_1")
		b.ReportAllocs()

		for b.Loop() {
			_, err := bed.Begin(b.Context(), newOperation(b, "order_1"))
			require.NoError(b, err)
		}
	})
	b.Run("Finish", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			op := bed.mustBegin(b, newOperation(b, operation.Key(uuid.NewString())))

			b.StartTimer()
			bed.mustFinish(b, completionOf(op))
		}
	})
	b.Run("BeginAndFinish/parallel", func(b *testing.B) {
		bed := newBed(b)
		parallel(b, func(ctx context.Context) {
			op, err := bed.Begin(ctx, newOperation(b, operation.Key(uuid.NewString())))
			if err == nil {
				_, err = bed.Finish(ctx, completionOf(op))
			}

			if err != nil {
				b.Error(err)
			}
		})
	})
}
