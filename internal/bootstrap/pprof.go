package bootstrap

import (
	"context"
	"net/http"
	"net/http/pprof"
	"runtime"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
)

// The samples of the block and mutex profiles: one for every 10 ms of waiting, in
// nanoseconds, and every hundredth contended lock.
const (
	blockProfileRate     = 10_000_000
	mutexProfileFraction = 100
)

// profiling serves net/http/pprof on an address of its own, if there is one.
type profiling struct{ listener }

func newProfiling(lc fx.Lifecycle, c config.Config, log *zap.Logger) *profiling {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)

	p := &profiling{newAside(mux)}

	if c.PprofAddr == "" {
		return p
	}

	runtime.SetBlockProfileRate(blockProfileRate)
	runtime.SetMutexProfileFraction(mutexProfileFraction)

	const pprofAddr = "PPROF_ADDR"

	lc.Append(fx.StartStopHook(
		func(ctx context.Context) error { return p.listen(ctx, pprofAddr, c.PprofAddr, logEnd(log, pprofAddr)) },
		p.http.Close))

	return p
}
