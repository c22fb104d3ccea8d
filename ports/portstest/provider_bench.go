package portstest

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// BenchmarkProvider measures a builder alone, and Send together with the provider.
func BenchmarkProvider(b *testing.B, bed func(tb testing.TB) ProviderBed) {
	b.Helper()

	b.Run("CreatePayment", func(b *testing.B) {
		on, order := bed(b), providerOrder(b, 500)
		mark := markOf(operation.Create, uuid.Nil, order)

		b.ReportAllocs()

		for b.Loop() {
			if _, err := on.Calls.CreatePayment(mark, "order_1", order); err != nil {
				b.Fatal(err)
			}
		}
	})

	b.Run("Send", func(b *testing.B) {
		on, order := bed(b), providerOrder(b, 500)

		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call, err := on.Calls.CreatePayment(markOf(operation.Create, uuid.Nil, order), "", order)
				if err == nil {
					_, err = on.Provider.Send(b.Context(), call, false)
				}

				if err != nil && !errors.Is(err, ports.ErrUnavailable) {
					b.Error(err)

					return
				}
			}
		})
	})
}
