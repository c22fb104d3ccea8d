package bootstrap

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/operations"
)

const (
	// bindTimeout is how long a start waits for Stripe to say whose key it is.
	bindTimeout = 4 * time.Second
	// bindRetryMost is the longest pause before Stripe is asked again.
	bindRetryMost = 5 * time.Second
)

// lateRefusal ends a service that had to start before it knew whether the database is
// ours.
type lateRefusal chan error

// bind checks that the database belongs to these settings before anything is served. A
// service must also start during an outage of Stripe, for reads, replays and webhooks:
// then it asks Stripe again in the background, and sends nothing to it before it has
// answered.
//
// Its hook comes after those of the parts that it takes, so that they are closed if it
// refuses, and before those of the jobs and servers.
func bind(
	lc fx.Lifecycle, b *account.Binding, store *postgres.Store, refuse lateRefusal, log *zap.Logger,
	_ *operations.Engine,
) {
	asking, stop := context.WithCancel(context.Background())

	var background sync.WaitGroup

	lc.Append(fx.StartStopHook(
		func(ctx context.Context) error {
			if err := checkServer(ctx, store, log); err != nil {
				return err
			}

			verifying, cancel := context.WithTimeout(ctx, bindTimeout)
			defer cancel()

			err := b.Verify(verifying)
			if !errors.Is(err, account.ErrUnverified) {
				return err
			}

			log.Warn("Stripe did not say which account the key belongs to; nothing is sent to it until it does", zap.Error(err))

			background.Go(func() {
				if err := keepBinding(asking, b, log); err != nil {
					refuse <- err
				}
			})

			return nil
		},
		func() {
			stop()
			background.Wait()
		}))
}

// keepBinding asks until there is an answer. Only a difference ends the service: a key
// that is not accepted, or a database that is away, may work again later.
func keepBinding(ctx context.Context, b *account.Binding, log *zap.Logger) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = time.Second/2, bindRetryMost

	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := b.Verify(ctx)

		switch {
		case ctx.Err() != nil:
		case err == nil:
			log.Info("the database belongs to this Stripe account")
		case account.IsDifferent(err):
			err = backoff.Permanent(err)
		case !errors.Is(err, account.ErrUnverified):
			log.Error("it is still not known whether the database belongs to this Stripe account", zap.Error(err))
		}

		return struct{}{}, err //nolint:wrapcheck // Permanent is a mark for Retry, which removes it
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))

	if ctx.Err() != nil {
		return nil //nolint:nilerr // the service stops
	}

	return err //nolint:wrapcheck // what Verify said
}

// check is bind for a command. It does not record anything: the guard does, when Stripe
// is called.
func check(ctx context.Context, b *account.Binding, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()

	err := b.Check(ctx)
	if errors.Is(err, account.ErrUnverified) {
		log.Warn("Stripe did not say which account the key belongs to", zap.Error(err))

		return nil
	}

	return err
}

// checkServer refuses a server that loses commits, and logs warnings about what may
// happen after a crash.
func checkServer(ctx context.Context, store *postgres.Store, log *zap.Logger) error {
	warnings, err := store.CheckServer(ctx)
	for _, warning := range warnings {
		log.Warn("PostgreSQL: " + warning)
	}

	return err
}
