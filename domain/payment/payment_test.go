package payment_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestPayment_Allowed(t *testing.T) {
	t.Parallel()

	cancel, both := []operation.Kind{operation.Cancel}, []operation.Kind{operation.Capture, operation.Cancel}
	pay := []operation.Kind{operation.Confirm, operation.Cancel}

	for name, c := range map[string]struct {
		payment payment.Payment
		want    []operation.Kind
	}{
		"pending":                      {pending(), pay},
		"it has its payment method":    {at(payment.Pending, unconfirmed), pay},
		"failed":                       {failed(), pay},
		"the customer acts":            {at(payment.Pending, action), pay},
		"processed":                    {at(payment.Pending, processing), cancel},
		"the word is not known":        {at(payment.Pending, ""), cancel},
		"held":                         {held(), both},
		"held after a decline":         {held(declinedOnce), both},
		"succeeded":                    {succeeded(), []operation.Kind{operation.Refund}},
		"given back":                   {succeeded(func(p *payment.Payment) { p.Refunded = dollars(10) }), nil},
		"charged back":                 {succeeded(func(p *payment.Payment) { p.BlockedBy = paymentID }), nil},
		"cancelled":                    {cancelled(), nil},
		"final, whatever the word was": {at(payment.Cancelled, authorised), nil},
	} {
		require.Equal(t, c.want, c.payment.Allowed(), name)
	}
}

func TestPayment_Received(t *testing.T) {
	t.Parallel()

	unsaid := func(p *payment.Payment) { p.Captured = money.Money{} }

	for name, c := range map[string]struct {
		payment payment.Payment
		want    money.Money
	}{
		"pending":                         {pending(), dollars(0)},
		"held":                            {held(), dollars(0)},
		"succeeded":                       {succeeded(), dollars(10)},
		"captured in part":                {succeeded(captured(4)), dollars(4)},
		"succeeded in paying nothing":     {succeeded(captured(0)), dollars(10)},
		"succeeded before sums were kept": {at(payment.Succeeded, "", unsaid), dollars(10)},
		"pending before sums were kept":   {at(payment.Pending, "", unsaid), dollars(0)},
		"failed before sums were kept":    {at(payment.Failed, "", unsaid), dollars(0)},
		"cancelled before sums were kept": {at(payment.Cancelled, "", unsaid), dollars(0)},
	} {
		require.Equal(t, c.want, c.payment.Received(), name)
	}
}

// A version only grows: also if the clock goes back, and if a database has lost versions
// that somebody was told.
func TestPayment_NextVersion(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 11, 27, 6, 0, 0, 999_999_999, time.UTC)
	millis := now.UnixMilli()

	for version, want := range map[int64]int64{
		0: millis, 1: millis, millis - 1: millis, millis: millis + 1, millis + 5000: millis + 5001,
		math.MaxInt64 - 1: math.MaxInt64,
	} {
		require.Equal(t, want, payment.Payment{Version: version}.NextVersion(now), "after %d", version)
		require.Equal(t, want, payment.Payment{Version: version}.NextVersion(now.In(time.FixedZone("", 3600))))
	}

	// Within one millisecond.
	p := payment.Payment{}
	for range 5 {
		next := p.NextVersion(now)
		require.Greater(t, next, p.Version)
		p.Version = next
	}
}

func TestPayment_SameAs(t *testing.T) {
	t.Parallel()

	p := held()

	for name, change := range map[string]func(*payment.Payment){
		"status":         func(p *payment.Payment) { p.Status = payment.Failed },
		"intent status":  func(p *payment.Payment) { p.IntentStatus = processing },
		"capture method": func(p *payment.Payment) { p.CaptureMethod = payment.CaptureAutomatic },
		"capturable":     func(p *payment.Payment) { p.Capturable = dollars(6) },
		"captured":       captured(4),
		"lapse":          func(p *payment.Payment) { p.CaptureBefore = lapses.Add(time.Second) },
		"declined":       declinedOnce,
		"refund pending": func(p *payment.Payment) { p.RefundPending = dollars(1) },
		"refunded":       func(p *payment.Payment) { p.Refunded = dollars(1) },
		"disputed":       func(p *payment.Payment) { p.Disputed = dollars(1) },
		"overdrawn":      func(p *payment.Payment) { p.Overdrawn = dollars(1) },
		"dispute status": func(p *payment.Payment) { p.DisputeStatus = "lost" },
		"blocked":        func(p *payment.Payment) { p.BlockedBy = paymentID },
	} {
		other := p
		change(&other)
		require.False(t, p.SameAs(other), name)
		require.False(t, other.SameAs(p), name)
	}

	other := p
	other.Version, other.UpdatedAt = 8, lapses
	other.CaptureBefore = lapses.In(time.FixedZone("", 3600))
	require.True(t, p.SameAs(other), "the version, the time of the change and a zone do not count")
}

func TestPayment_Begun(t *testing.T) {
	t.Parallel()

	now := time.UnixMilli(1_800_000_000_123)
	ordered := payment.Payment{ID: paymentID, IntentID: "pi_1", Amount: charge(10)}
	begun := func(p payment.Payment) payment.Payment {
		p.Version = now.UnixMilli()

		return p
	}
	manual := func(p *payment.Payment) { p.CaptureMethod = payment.CaptureManual }

	for name, c := range map[string]struct {
		ordered payment.Payment
		says    payment.Snapshot
		want    payment.Payment
	}{
		"just created": {ordered, says(payment.Pending, noMethod), begun(pending())},
		"to be captured by hand": {
			ordered,
			says(payment.Pending, noMethod, func(s *payment.Snapshot) { s.CaptureMethod = payment.CaptureManual }),
			begun(at(payment.Pending, noMethod, manual)),
		},
		"to be captured by hand, as was ordered": {
			payment.Payment{ID: paymentID, IntentID: "pi_1", Amount: charge(10), CaptureMethod: payment.CaptureManual},
			says(payment.Pending, noMethod),
			begun(at(payment.Pending, noMethod, manual)),
		},
		"found when it was declined":  {ordered, says(payment.Failed, noMethod), begun(failed())},
		"found when it was held":      {ordered, says(payment.Pending, authorised), begun(held())},
		"found when it was paid":      {ordered, says(payment.Succeeded, payment.IntentSucceeded), begun(succeeded())},
		"found when it was cancelled": {ordered, says(payment.Cancelled, payment.IntentCanceled), begun(cancelled())},
		"found when it was captured in part": {
			ordered, says(payment.Succeeded, payment.IntentSucceeded, received(dollars(4))),
			begun(succeeded(captured(4))),
		},
		"only the status is said": {ordered, says(payment.Succeeded, payment.IntentSucceeded, barely), begun(succeeded())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			require.Equal(t, c.want, c.ordered.Begun(c.says, now))
		})
	}
}
