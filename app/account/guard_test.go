package account_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/ports"
)

// watched counts the calls that reach the provider.
type watched struct {
	ports.Provider

	calls int
}

func (w *watched) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	w.calls++

	return w.Provider.Send(ctx, call, resend)
}

func (w *watched) Intent(ctx context.Context, id string) (ports.Intent, error) {
	w.calls++

	return w.Provider.Intent(ctx, id)
}

func (w *watched) Intents(ctx context.Context, from, to time.Time) iter.Seq2[ports.Intent, error] {
	return counting(&w.calls, w.Provider.Intents(ctx, from, to))
}

func (w *watched) Events(ctx context.Context, from, to time.Time) iter.Seq2[ports.Event, error] {
	return counting(&w.calls, w.Provider.Events(ctx, from, to))
}

func counting[T any](calls *int, list iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		*calls++

		list(yield)
	}
}

// each makes every call once, with a new operation's.
func each(t *testing.T, b testBundle, provider ports.Provider) []error {
	t.Helper()

	object, sending := provider.Send(t.Context(), b.NewOperation("", apptest.Order(t, 10_00)).Call, false)

	id := object.Intent.ID
	if id == "" {
		id = "pi_unknown"
	}

	_, reading := provider.Intent(t.Context(), id)
	errs := []error{sending, reading}
	now := time.Now()

	for _, err := range provider.Intents(t.Context(), now.Add(-time.Hour), now) {
		errs = append(errs, err)
	}

	for _, err := range provider.Events(t.Context(), now.Add(-time.Hour), now) {
		errs = append(errs, err)
	}

	return errs
}

func TestGuard(t *testing.T) {
	t.Parallel()

	t.Run("NothingIsSentElsewhere", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		provider := &watched{Provider: b.Provider}
		b.Provider = provider
		b.provider.account = "acct_2"
		guard := b.Binding().Guard()

		errs := each(t, b, guard)
		require.Len(t, errs, 4)

		for _, err := range append(errs, guard.Ready()) {
			require.ErrorIs(t, err, ports.ErrUnavailable, "an operation waits, and counts no attempt")
		}

		require.Zero(t, provider.calls)
		require.Empty(t, b.Intents())
	})

	t.Run("TheFirstCallFindsOut", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		guard := b.Binding().Guard()
		require.ErrorIs(t, guard.Ready(), account.ErrUnverified)

		for _, err := range each(t, b, guard) {
			require.NoError(t, err)
		}

		require.NoError(t, guard.Ready())
		require.Len(t, b.Intents(), 1)
		b.requireRecorded(t, b.recorded)
	})

	t.Run("ItIsFoundOutOnce", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		guard := b.Binding().Guard()
		each(t, b, guard)
		b.provider.err = ports.ErrKeyRejected

		for _, err := range each(t, b, guard) {
			require.NoError(t, err)
		}
	})

	t.Run("StripeComesBack", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		b.provider.err = ports.ErrKeyRejected
		guard := b.Binding().Guard()
		require.ErrorIs(t, each(t, b, guard)[0], ports.ErrKeyRejected)

		b.provider.err = nil

		require.NoError(t, each(t, b, guard)[0])
		require.NoError(t, guard.Ready())
	})

	t.Run("ReadyIsTheProviders", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		b.Provider = away{b.Provider}
		binding := b.Binding()
		require.NoError(t, binding.Verify(t.Context()))

		err := binding.Guard().Ready()
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.NotErrorIs(t, err, account.ErrUnverified)
	})
}

// away is a provider that is out of reach.
type away struct{ ports.Provider }

func (away) Ready() error { return ports.ErrUnavailable }
