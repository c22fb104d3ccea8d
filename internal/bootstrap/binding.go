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
	// bindTimeout is how long a start waits for Stripe to say whose the key is.
	bindTimeout = 4 * time.Second
	// bindRetryMost is the longest pause before Stripe is asked again.
	bindRetryMost = 5 * time.Second
)

// lateRefusal ends a service that had to start before it could be known whether
// the database is ours.
type lateRefusal chan error

// bind sees to it that the database belongs to these settings before anything is
// served. A service must start during an outage of Stripe, for reads, replays and
// webhooks: then Stripe is asked again in the background, and nothing is sent to
// it before it has answered.
//
// Its hook comes after those of everything that is opened when it is made, so that
// all that is closed where it refuses, and before those of the jobs and servers.
func bind(
	lc fx.Lifecycle, b *account.Binding, store *postgres.Store, refuse lateRefusal, log *zap.Logger,
	_ *operations.Engine, _ jobsPool,
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

			log.Warn("Stripe did not say whose the key is; nothing is sent to it until it does", zap.Error(err))

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

// keepBinding asks until there is an answer. Only a difference ends the service:
// a key that is not accepted, or a database that is away, may come back.
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
			log.Error("whether the database belongs to this Stripe account is still not known", zap.Error(err))
		}

		return struct{}{}, err //nolint:wrapcheck // Permanent is a mark for Retry, which takes it off
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))

	if ctx.Err() != nil {
		return nil //nolint:nilerr // the service stops
	}

	return err //nolint:wrapcheck // what Verify said
}

// check is bind for a command: it records nothing before Stripe is called.
func check(ctx context.Context, b *account.Binding, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()

	err := b.Check(ctx)
	if errors.Is(err, account.ErrUnverified) {
		log.Warn("Stripe did not say whose the key is", zap.Error(err))

		return nil
	}

	return err
}

// checkServer refuses a server that forgets commits, and warns of what it may do
// after a crash.
func checkServer(ctx context.Context, store *postgres.Store, log *zap.Logger) error {
	warnings, err := store.CheckServer(ctx)
	for _, warning := range warnings {
		log.Warn("PostgreSQL: " + warning)
	}

	return err
}
