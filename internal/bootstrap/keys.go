package bootstrap

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
)

func newAuthenticate(keys ports.APIKeys, provider ports.ProviderAccount) *tenants.Authenticate {
	_, mode := provider.API()

	return tenants.NewAuthenticate(keys, mode)
}

func newKeys(
	keys ports.APIKeys, owners ports.Tenants, provider ports.ProviderAccount, observer tenants.Observer, spans ports.Spans,
) *tenants.Keys {
	_, mode := provider.API()

	return tenants.NewKeys(keys, owners, mode, observer, spans)
}

// Requests without a key that works that one address may send to a process in a second, and at
// once.
const (
	failuresPerSecond = 10
	failuresAtOnce    = 50
)

func newAccess(c config.Config, authenticate *tenants.Authenticate, clients ports.RateLimiter) (edge.Access, error) {
	// In memory also where there is Redis: strangers must not be able to keep that busy.
	failures, err := memory.NewRateLimiter(failuresPerSecond, failuresAtOnce, nil)
	access := edge.Access{Clients: clients, Failures: failures, Proxies: c.TrustedProxies}

	if c.Auth != config.AuthOff {
		access.Authenticate = authenticate
	}

	return access, err
}

var errNoKeys = errors.New("there is no API key in the database, so nobody could use the service. Make one:\n" +
	"  marketflow keys create NAME --scopes admin\n" +
	"or set AUTH=off to serve whoever reaches it")

// recordUsesEvery is how often it is recorded when keys and secrets were last used.
const recordUsesEvery = time.Minute

// knowKeys reads the API keys before the first request, and from then on whenever they change.
func knowKeys(lc fx.Lifecycle, c config.Config, authenticate *tenants.Authenticate, log *zap.Logger) {
	if c.Auth == config.AuthOff {
		return
	}

	keepKnown(lc, "API keys", authenticate, log, func(start context.Context) error {
		usable, err := authenticate.AnyUsable(start)
		if err == nil && !usable {
			return errNoKeys
		}

		return err
	})
}

// known is what a process has in its memory of the database.
type known interface {
	Refresh(ctx context.Context) error
	RecordUses(ctx context.Context) error
}

// keepKnown calls first at start, and from then on keeps what is known up to date.
func keepKnown(lc fx.Lifecycle, what string, k known, log *zap.Logger, first func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())

	var running sync.WaitGroup

	lc.Append(fx.StartStopHook(
		func(start context.Context) error {
			if err := first(start); err != nil {
				return err
			}

			running.Go(func() { keepKnowing(ctx, what, k, log) })

			return nil
		},
		func(stopping context.Context) {
			stop()
			running.Wait()

			if err := k.RecordUses(stopping); err != nil {
				log.Warn("it is not recorded when "+what+" were last used", zap.Error(err))
			}
		}))
}

func keepKnowing(ctx context.Context, what string, k known, log *zap.Logger) {
	tick := time.NewTicker(tenants.RefreshEvery)
	defer tick.Stop()

	recorded, failing := time.Now(), false

	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}

		err := k.Refresh(ctx)

		if err == nil && time.Since(recorded) >= recordUsesEvery {
			recorded = time.Now()
			err = k.RecordUses(ctx)
		}

		// One line for each outage.
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing:
			log.Warn("the "+what+" cannot be read; without an answer within seconds requests that need them are answered 503",
				zap.Error(err))
		case err == nil && failing:
			log.Info("the " + what + " can be read again")
		}

		failing = err != nil
	}
}
