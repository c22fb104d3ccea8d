package portstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Facts is the contract of ports.Facts. Each call of newBed gives an empty store.
func Facts(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Write/what was read, with its history":      writeFacts,
		"Write/there and back again":                 writeBackAndForth,
		"Write/only the version that was loaded":     writeOldVersion,
		"Write/nothing new keeps the version":        writeNothingNew,
		"Write/not over a hint":                      writeOverHint,
		"Write/resolves the payment's hints":         writeResolvesHints,
		"Write/a contradiction parks them":           writeContradiction,
		"Write/no payment is NotFound":               writeWithoutPayment,
		"Write/many at once, one is written":         writeByMany,
		"Write/against events, nothing is undone":    writeAgainstEvents,
		"Write/against hints, none is lost":          writeAgainstHints,
		"Accept/amount and end, with its audit":      acceptContradiction,
		"Accept/dismisses and resolves":              acceptEndsEvents,
		"Accept/once for one entry":                  acceptRepeated,
		"Accept/only the version that was loaded":    acceptOldVersion,
		"Accept/no payment is NotFound":              acceptWithoutPayment,
		"Accept/many at once, one is written":        acceptByMany,
		"Accept/against an event, one after another": acceptAgainstEvents,
	})
}

// mustDecline makes a payment of which an attempt was declined.
func (b StoreBed) mustDecline(tb testing.TB, key operation.Key) payment.Payment {
	tb.Helper()

	p := b.mustPay(tb, key)
	require.Equal(tb, ports.EventApplied, b.mustApply(tb, eventOf(tb, p, payment.Failed)).Outcome)

	return b.paymentNow(tb, p.ID)
}

// mustHint stores an event that says that p may have changed.
func (b StoreBed) mustHint(tb testing.TB, p payment.Payment) ports.Event {
	tb.Helper()

	e := stepOf(tb, p, payment.IntentProcessing)
	require.Equal(tb, ports.EventHint, b.mustApply(tb, e).Outcome)

	return e
}

// tryingAgain is p once its customer pays again.
func tryingAgain(p payment.Payment) payment.Payment {
	p.Status, p.IntentStatus = payment.Pending, payment.IntentProcessing

	return p
}

// paid is p once that much was received.
func paid(p payment.Payment, minor int64) payment.Payment {
	p.Status, p.IntentStatus = payment.Succeeded, payment.IntentSucceeded
	p.Captured = money.Of(minor, p.Amount.Currency())

	return p
}

func (b StoreBed) write(tb testing.TB, p payment.Payment, outcome ports.EventOutcome) bool {
	tb.Helper()

	written, err := b.Write(tb.Context(), ports.FullPayment{Payment: p}, nil, outcome, "recovery")
	require.NoError(tb, err)

	return written
}

// requireNewer requires that the version has grown, by the clock: it does so even if the
// database has lost its last minutes.
func requireNewer(tb testing.TB, before, after payment.Payment) {
	tb.Helper()
	require.Greater(tb, after.Version, before.Version)
	require.GreaterOrEqual(tb, after.Version, before.UpdatedAt.UnixMilli())
}

// requireWritten requires that the payment is as want says, with a version after it.
func (b StoreBed) requireWritten(tb testing.TB, want payment.Payment) payment.Payment {
	tb.Helper()

	now := b.paymentNow(tb, want.ID)
	requireNewer(tb, want, now)
	require.True(tb, now.UpdatedAt.After(want.UpdatedAt))

	want.Version, want.UpdatedAt = now.Version, now.UpdatedAt
	require.Equal(tb, want, now)

	return now
}
