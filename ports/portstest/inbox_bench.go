package portstest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// InboxBenchmarks measures an event that is applied and one that comes again.
func InboxBenchmarks(b *testing.B, newBed func(tb testing.TB) StoreBed) {
	b.Helper()

	b.Run("Apply", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			e := eventOf(b, bed.mustPay(b, operation.Key(uuid.NewString())), payment.Succeeded)

			b.StartTimer()
			bed.mustApply(b, e)
		}
	})
	b.Run("ApplyDuplicate", func(b *testing.B) {
		bed := newBed(b)
		e := eventOf(b, bed.mustPay(b, "order_1"), payment.Succeeded)
		bed.mustApply(b, e)
		b.ReportAllocs()

		for b.Loop() {
			bed.mustApply(b, e)
		}
	})
	b.Run("FinishAndApply", func(b *testing.B) {
		bed := newBed(b)
		b.ReportAllocs()

		for b.Loop() {
			b.StopTimer()

			completion := completionOf(bed.mustBegin(b, newOperation(b, operation.Key(uuid.NewString()))))
			e := eventOf(b, completion.Payment, payment.Succeeded)

			b.StartTimer()

			_, _, err := bed.FinishAndApply(b.Context(), completion, e)
			require.NoError(b, err)
		}
	})
}
