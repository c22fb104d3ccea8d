package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Backlog is the contract of ports.Backlog. Each call of newBed gives an empty
// store.
func Backlog(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"nothing":          backlogOfNothing,
		"what is finished": backlogOfFinished,
		"operations":       backlogOfOperations,
		"holds":            backlogOfHolds,
		"parked events":    backlogOfEvents,
	})
}

func backlogOfNothing(t *testing.T, b StoreBed) {
	t.Helper()

	b.requireBacklog(t, ports.BacklogStats{})
}

func backlogOfFinished(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "finished")
	b.mustApply(t, eventOf(t, p, payment.Succeeded))
	b.mustApply(t, eventOf(t, p, payment.Failed))

	_, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")), rejection())
	require.NoError(t, err)

	b.Elapse(t, lease)
	b.requireBacklog(t, ports.BacklogStats{})
}

func backlogOfOperations(t *testing.T, b StoreBed) {
	t.Helper()

	first := b.mustBegin(t, newOperation(t, "first"))
	b.Elapse(t, time.Hour)
	second := b.mustBegin(t, newOperation(t, "second"))
	b.Elapse(t, time.Hour)
	b.mustBegin(t, newOperation(t, "third"))
	b.Elapse(t, time.Hour)

	b.requireBacklog(t, backlogOf(3, 0, 3*time.Hour))

	require.NoError(t, b.GiveUp(t.Context(), first.ID, errors.New("lost")))
	b.requireBacklog(t, backlogOf(2, 1, 2*time.Hour)) // one that needs attention does not hide the others

	b.mustFinish(t, completionOf(first))
	b.requireBacklog(t, backlogOf(2, 0, 2*time.Hour))

	open := completionOf(second)
	open.Response = nil
	b.mustFinish(t, open)
	b.requireBacklog(t, backlogOf(2, 0, 2*time.Hour))

	b.mustFinish(t, completionOf(second))
	b.requireBacklog(t, backlogOf(1, 0, time.Hour))
}

// A hold counts a day before it lapses, and until it is captured or let go.
func backlogOfHolds(t *testing.T, b StoreBed) {
	t.Helper()

	hold := func(order operation.Key, lapses time.Duration) payment.Payment {
		p := b.mustPay(t, order)
		p.IntentStatus, p.CaptureMethod, p.Capturable = payment.IntentRequiresCapture, payment.CaptureManual, p.Amount.Money()
		p.CaptureBefore = time.Now().Add(lapses).UTC().Truncate(time.Microsecond)
		require.True(t, b.write(t, p, ports.EventApplied))

		return b.requireWritten(t, p)
	}

	hold("later", ports.LapseNotice+time.Minute)
	b.requireBacklog(t, ports.BacklogStats{})

	soon := hold("soon", ports.LapseNotice-time.Minute)
	hold("lapsed, and Stripe has not said so", -time.Minute)
	b.requireBacklog(t, ports.BacklogStats{Lapsing: 2})

	captured := paid(soon, soon.Amount.Minor())
	captured.Capturable, captured.CaptureBefore = money.Of(0, soon.Amount.Currency()), time.Time{}
	require.True(t, b.write(t, captured, ports.EventApplied))
	b.requireBacklog(t, ports.BacklogStats{Lapsing: 1})
}

func backlogOfEvents(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	b.mustFinish(t, completion)

	unknown := eventOf(t, payment.Payment{IntentID: "pi_unknown"}, payment.Succeeded)
	b.mustApply(t, unknown)
	b.Elapse(t, time.Hour)

	wrong := eventOf(t, completion.Payment, payment.Succeeded)
	wrong.Intent.Amount = amount(t, 1_00, "USD")
	b.mustApply(t, wrong)
	b.Elapse(t, time.Hour)

	b.requireBacklog(t, ports.BacklogStats{Parked: 2, OldestParked: 2 * time.Hour})

	other := completionWith(b.mustBegin(t, newOperation(t, "order_2")), "pi_unknown")
	b.mustFinish(t, other)
	b.mustApply(t, unknown)
	b.requireBacklog(t, ports.BacklogStats{Parked: 1, OldestParked: time.Hour})
}

func backlogOf(pending, given int64, oldest time.Duration) ports.BacklogStats {
	return ports.BacklogStats{
		Operations: map[operation.State]int64{
			operation.Pending: pending, operation.NeedsAttention: given,
		},
		OldestUnfinished: oldest,
	}
}

// requireBacklog allows for the time that the test itself takes.
func (b StoreBed) requireBacklog(tb testing.TB, want ports.BacklogStats) {
	tb.Helper()

	got, err := b.Backlog(tb.Context())
	require.NoError(tb, err)

	for _, state := range everyState {
		require.Equal(tb, want.Operations[state], got.Operations[state], state)
	}

	require.Equal(tb, want.Lapsing, got.Lapsing)
	require.Equal(tb, want.Overdrawn, got.Overdrawn)
	requireAge(tb, want.OldestRefund, got.OldestRefund)
	require.Equal(tb, want.Parked, got.Parked)
	requireAge(tb, want.OldestUnfinished, got.OldestUnfinished)
	requireAge(tb, want.OldestParked, got.OldestParked)
}

func requireAge(tb testing.TB, want, got time.Duration) {
	tb.Helper()

	if want == 0 {
		require.Zero(tb, got)

		return
	}

	require.GreaterOrEqual(tb, got, want)
	require.Less(tb, got, want+time.Minute)
}
