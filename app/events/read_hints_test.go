package events_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// reading counts what is read of the provider. It may fail for one intent.
type reading struct {
	ports.Provider

	mu    sync.Mutex
	ids   []string
	fails string
	cause error
}

func (r *reading) Ready() error { return nil }

func (r *reading) Intent(ctx context.Context, id string) (ports.Intent, error) {
	r.mu.Lock()
	r.ids = append(r.ids, id)
	r.mu.Unlock()

	if id == r.fails {
		return ports.Intent{}, r.cause
	}

	return r.Provider.Intent(ctx, id)
}

func TestReadHints_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		provider *reading
		payment  payment.Payment
		// hint is that the payment, which was declined, is tried again.
		hint ports.Event
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.provider = &reading{Provider: b.Provider}
		b.Provider = b.provider
		b.payment = b.Create("order_1")
		b.hint = b.Hint(b.payment)

		return b
	}
	use := func(b testBundle) *events.ReadHints {
		return events.NewReadHints(
			b.Inbox, b.Store, b.Provider, b.Webhooks, b.Refresh(), b.CustomerRefresh(), b.Engine(), b.Binding(), b.Observer)
	}
	run := func(t *testing.T, b testBundle) int {
		t.Helper()

		read, err := use(b).Do(t.Context())
		require.NoError(t, err)

		return read
	}

	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("DELETE FROM stripe_events WHERE outcome = 'hint'")
		require.Zero(t, run(t, b))
		require.Empty(t, b.provider.ids)
		require.NotContains(t, b.Observer.Spans(), "app.ReadHint", "a run that finds nothing leaves no trace")
	})

	t.Run("Applied", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		declined := b.Payment(b.payment.ID)
		require.Equal(t, payment.Failed, declined.Status, "nobody has looked yet")
		require.Greater(t, declined.Version, b.payment.Version)

		require.Equal(t, 1, run(t, b))

		p := b.Payment(b.payment.ID)
		require.Equal(t, payment.Pending, p.Status)
		require.Equal(t, payment.IntentRequiresAction, p.IntentStatus)
		require.Equal(t, ports.EventApplied, b.Stored(b.hint.ID).Outcome)
		require.Equal(t, "hint: pending", b.History(p.ID)[2])
		require.Contains(t, b.Observer.Told(p.ID), "changed: failed → pending")
		require.Contains(t, b.Observer.Spans(), "app.ReadHint")
		require.Zero(t, run(t, b), "once")
	})

	t.Run("Stale", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		require.Equal(t, 1, run(t, b))
		before := b.Payment(b.payment.ID)

		late := b.Event(b.payment.IntentID, "payment_intent.created")
		applied, err := b.Apply().Do(t.Context(), late)
		require.NoError(t, err)
		require.Equal(t, ports.EventHint, applied.Outcome)

		require.Equal(t, 1, run(t, b))
		require.Equal(t, ports.EventStale, b.Stored(late.ID).Outcome)

		after := b.Payment(b.payment.ID)
		require.True(t, after.SameAs(before))
		require.Greater(t, after.Version, before.Version, "there may have been a change")
	})

	// However many hints a payment has, it is read once.
	t.Run("Many", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := b.Create("order_2")
		b.Hint(other)

		_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, "payment_intent.created"))
		require.NoError(t, err)

		b.provider.ids = nil
		require.Equal(t, 2, run(t, b))
		require.ElementsMatch(t, []string{b.payment.IntentID, other.IntentID}, b.provider.ids)

		left, err := b.Store.Hints(t.Context(), ports.InboxPosition{}, 10)
		require.NoError(t, err)
		require.Empty(t, left)
	})

	t.Run("WhenAHoldLapses", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.CreateFor("order_2", apptest.Manual(apptest.Order(t, 10_00)))
		event := b.Authorize(p)

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventHint, applied.Outcome)

		held := b.Payment(p.ID)
		require.Equal(t, payment.IntentRequiresCapture, held.IntentStatus, "what the event tells for sure is applied at once")
		require.EqualValues(t, 10_00, held.Capturable.Minor())
		require.True(t, held.CaptureBefore.IsZero(), "only the charge tells")

		require.Equal(t, 2, run(t, b))
		require.False(t, b.Payment(p.ID).CaptureBefore.IsZero())
		require.Equal(t, ports.EventApplied, b.Stored(event.ID).Outcome)
	})

	// A person has to look at it, and the run goes on.
	t.Run("Contradiction", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := b.Create("order_2")
		hint := b.Hint(other)
		b.Exec("UPDATE payments SET amount = amount + 1 WHERE id = $1", b.payment.ID)

		require.Equal(t, 2, run(t, b))
		require.Equal(t, ports.EventParked, b.Stored(b.hint.ID).Outcome)
		require.Equal(t, ports.ParkedContradiction, b.Stored(b.hint.ID).Reason)
		require.Equal(t, ports.EventApplied, b.Stored(hint.ID).Outcome)
		require.Equal(t, payment.Failed, b.Payment(b.payment.ID).Status)
		require.Zero(t, run(t, b))
		require.Equal(t, []string{"handled: hint", "contradicts: contradiction"}, b.Observer.Told(b.hint.ID), "once")

		// Once it is repaired, a person may have it looked at again.
		b.Exec("UPDATE payments SET amount = amount - 1 WHERE id = $1", b.payment.ID)

		applied, err := events.NewReprocess(b.Inbox, b.Webhooks, b.Store, b.Apply()).Do(t.Context(), b.hint.ID, decision)
		require.NoError(t, err)
		require.Equal(t, ports.EventHint, applied.Outcome)
		require.Equal(t, 1, run(t, b))
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	})

	// An event of ours without a row: the database has lost the payment.
	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_2")
		event := b.Pay(p.IntentID)
		b.Exec("DELETE FROM payments WHERE id = $1", p.ID)
		b.Exec("DELETE FROM operations WHERE id = $1", p.ID)

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventHint, applied.Outcome)
		require.Equal(t, 2, run(t, b))

		back := b.Payment(p.ID)
		require.Equal(t, payment.Succeeded, back.Status)
		require.Equal(t, p.Key, back.Key)
		require.Equal(t, p.Metadata, back.Metadata)
		require.Equal(t, ports.EventStale, b.Stored(event.ID).Outcome, "what it tells was read with the intent")
		require.Equal(t, operation.Finished, b.Operation(p.ID).State)
	})

	t.Run("LostAndDoesNotFit", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_2")
		event := b.Pay(b.Send(op).ID)
		b.Exec("DELETE FROM operations WHERE id = $1", op.ID)

		_, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)

		// Another operation has its key.
		b.Begin("order_2")

		require.Equal(t, 2, run(t, b))
		require.Equal(t, ports.EventParked, b.Stored(event.ID).Outcome)
		require.Equal(t, ports.ParkedContradiction, b.Stored(event.ID).Reason)
		b.RequireNoPayment(op.ID)
	})

	t.Run("ProviderAway", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Provider = unready{b.provider}
		require.Zero(t, run(t, b))
		require.Empty(t, b.provider.ids)
		require.Equal(t, ports.EventHint, b.Stored(b.hint.ID).Outcome)

		b.Provider = b.provider
		require.Equal(t, 1, run(t, b))
	})

	// One that cannot be read does not hide the others.
	t.Run("OneCannotBeRead", func(t *testing.T) {
		t.Parallel()

		for _, cause := range []error{errors.New("no answer"), ports.ErrUnavailable} {
			b := setup(t)
			other := b.Create("order_2")
			b.Hint(other)
			b.provider.fails, b.provider.cause = b.payment.IntentID, cause

			read, err := use(b).Do(t.Context())
			require.ErrorIs(t, err, cause)
			require.ErrorContains(t, err, b.payment.IntentID)
			require.Equal(t, 1, read)
			require.Equal(t, payment.Pending, b.Payment(other.ID).Status)
			require.Equal(t, ports.EventHint, b.Stored(b.hint.ID).Outcome, "the next run reads it")
		}
	})

	// However many cannot be read, the others have their turn.
	t.Run("AWholeBatchCannotBeRead", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec(`INSERT INTO stripe_events (id, type, object_id, payload, outcome, received_at)
			SELECT 'evt_' || n, 'payment_intent.created', 'pi_' || n, '', 'hint', now() - interval '1 hour'
			FROM generate_series(1, 200) AS n`)

		uc := use(b)

		for turn, want := range []struct {
			read   int
			failed bool
		}{{0, true}, {1, false}, {0, true}, {0, false}, {0, true}} {
			read, err := uc.Do(t.Context())
			require.Equal(t, want.failed, err != nil, "turn %d: those that could not be read are tried again", turn)
			require.Equal(t, want.read, read, "turn %d", turn)
		}
	})

	// Holds come as fast as payments do, and each is a hint.
	t.Run("AFewAtATime", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			b.Hint(b.Create(operation.Key(key)))
		}

		crowd := &crowded{Provider: b.provider, wants: 6, full: make(chan struct{}), enough: make(chan struct{})}
		b.Provider = crowd
		uc := use(b)
		done := make(chan int, 1)

		go func() {
			read, _ := uc.Do(t.Context())
			done <- read
		}()

		<-crowd.full

		again, err := uc.Do(t.Context())
		require.NoError(t, err)
		require.Zero(t, again, "they are being read")
		close(crowd.enough)
		require.Equal(t, 9, <-done)
		require.EqualValues(t, 6, crowd.most.Load())
	})

	t.Run("TwoProcesses", func(t *testing.T) {
		t.Parallel()

		b := setup(t)

		all := make([]payment.Payment, 5)
		for n := range all {
			all[n] = b.Create(operation.Key(strconv.Itoa(n)))
			b.Hint(all[n])
		}

		var (
			both sync.WaitGroup
			errs [3]error
		)

		for i := range errs {
			both.Go(func() { _, errs[i] = use(b).Do(t.Context()) })
		}

		both.Wait()

		for _, err := range errs {
			require.NoError(t, err)
		}

		for _, p := range all {
			require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
			require.Len(t, b.History(p.ID), 3, "each change once")
		}

		left, err := b.Store.Hints(t.Context(), ports.InboxPosition{}, 10)
		require.NoError(t, err)
		require.Empty(t, left)
	})

	// An event that comes while the intent is being read is not taken for read.
	t.Run("AnEventComesMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)

		var paid ports.Event

		b.Provider = &during{Provider: b.provider, do: func() {
			b.Confirm(b.payment.IntentID, "pm_card_visa")
			paid = b.Event(b.payment.IntentID, succeeded)
			applied, err := b.Apply().Do(t.Context(), paid)
			require.NoError(t, err)
			require.Equal(t, ports.EventApplied, applied.Outcome)
		}}

		require.Equal(t, 1, run(t, b))
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
		require.Equal(t, []string{paid.ID + ": succeeded"}, b.History(b.payment.ID)[2:])
		require.Equal(t, ports.EventStale, b.Stored(b.hint.ID).Outcome)
	})
}

// crowded keeps its readers until enough is closed, and tells when as many as it wants are
// there.
type crowded struct {
	ports.Provider

	wants        int64
	inside, most atomic.Int64
	once         sync.Once
	full, enough chan struct{}
}

func (c *crowded) Intent(ctx context.Context, id string) (ports.Intent, error) {
	n := c.inside.Add(1)
	defer c.inside.Add(-1)

	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}

	if n == c.wants {
		c.once.Do(func() { close(c.full) })
	}

	if n <= c.wants {
		<-c.enough
	}

	return c.Provider.Intent(ctx, id)
}

// during lets something happen after the first intent was read and before it is used.
type during struct {
	ports.Provider

	once sync.Once
	do   func()
}

func (d *during) Intent(ctx context.Context, id string) (ports.Intent, error) {
	intent, err := d.Provider.Intent(ctx, id)
	d.once.Do(d.do)

	return intent, err
}

// unready is a provider that is out of reach.
type unready struct{ ports.Provider }

func (unready) Ready() error { return ports.ErrUnavailable }
