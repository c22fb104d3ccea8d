package portstest

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/ports"
)

// BenchmarkGateway measures Prepare alone, and CreateIntent together with the provider.
func BenchmarkGateway(b *testing.B, bed func(tb testing.TB) GatewayBed) {
	b.Helper()

	b.Run("Prepare", func(b *testing.B) {
		on, order, id := bed(b), gatewayOrder(b, 500), uuid.New()

		b.ReportAllocs()

		for b.Loop() {
			on.Gateway.Prepare(id, order)
		}
	})

	b.Run("CreateIntent", func(b *testing.B) {
		on, order := bed(b), gatewayOrder(b, 500)

		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request := on.Gateway.Prepare(uuid.New(), order)
				if _, err := on.Gateway.CreateIntent(b.Context(), request, false); err != nil &&
					!errors.Is(err, ports.ErrUnavailable) {
					b.Error(err)

					return
				}
			}
		})
	})
}
