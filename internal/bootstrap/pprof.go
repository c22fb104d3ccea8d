package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
)

// What is sampled for the block and mutex profiles: a wait of a hundredth of a
// second on average, in nanoseconds, and every hundredth contended lock.
const (
	blockProfileRate     = 10_000_000
	mutexProfileFraction = 100
)

// profiling serves net/http/pprof on an address of its own, if there is one.
type profiling struct{ http *http.Server }

func newProfiling(lc fx.Lifecycle, c config.Config, log *zap.Logger) *profiling {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)

	p := &profiling{http: &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout}}

	if c.PprofAddr == "" {
		return p
	}

	runtime.SetBlockProfileRate(blockProfileRate)
	runtime.SetMutexProfileFraction(mutexProfileFraction)

	lc.Append(fx.StartStopHook(
		func(ctx context.Context) error { return p.listen(ctx, c.PprofAddr, log) },
		p.http.Close))

	return p
}

func (p *profiling) listen(ctx context.Context, addr string, log *zap.Logger) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on PPROF_ADDR: %w", err)
	}

	go func() {
		if err := p.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("profiling has ended", zap.Error(err))
		}
	}()

	return nil
}
