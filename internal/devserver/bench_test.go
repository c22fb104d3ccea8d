package devserver_test

import (
	"testing"

	"github.com/marketflow/marketflow/internal/devserver"
)

// BenchmarkStartPostgres is what `marketflow dev` waits for: First makes the
// data directory, Later finds it.
func BenchmarkStartPostgres(b *testing.B) {
	b.Run("First", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()

			options := devserver.PostgresOptions{DataDir: dataDir(b)}

			b.StartTimer()

			server := start(b, options)

			b.StopTimer()
			stop(b, server)
			b.StartTimer()
		}
	})

	b.Run("Later", func(b *testing.B) {
		options := devserver.PostgresOptions{DataDir: dataDir(b)}
		stop(b, start(b, options))

		for b.Loop() {
			server := start(b, options)

			b.StopTimer()
			stop(b, server)
			b.StartTimer()
		}
	})
}
