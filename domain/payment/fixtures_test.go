package payment_test

import (
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

var (
	paymentID = uuid.MustParse("018f0000-0000-7000-8000-000000000001")
	lapses    = time.Date(2026, 12, 4, 10, 0, 0, 0, time.UTC)
)

// The provider's words, in short.
const (
	noMethod    = payment.IntentRequiresPaymentMethod
	unconfirmed = payment.IntentRequiresConfirmation
	action      = payment.IntentRequiresAction
	processing  = payment.IntentProcessing
	authorised  = payment.IntentRequiresCapture
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}

	return v
}

func usd() money.Currency { return must(money.ParseCurrency("USD")) }

// charge is a price of whole dollars, and dollars is any sum of them.
func charge(n int64) money.Price { return must(money.NewPrice(n*100, usd())) }

func dollars(n int64) money.Money { return money.Of(n*100, usd()) }

// edit changes a payment for a test.
type edit func(*payment.Payment)

// at is a payment of ten dollars.
func at(status payment.Status, word payment.IntentStatus, edits ...edit) payment.Payment {
	p := payment.Payment{
		ID: paymentID, IntentID: "pi_1", Amount: charge(10), Status: status, IntentStatus: word,
		CaptureMethod: payment.CaptureAutomatic, Capturable: dollars(0), Captured: dollars(0),
		RefundPending: dollars(0), Refunded: dollars(0), Disputed: dollars(0), Overdrawn: dollars(0),
		Declined: status == payment.Failed, Version: 7,
	}

	for _, edit := range edits {
		edit(&p)
	}

	return p
}

func pending() payment.Payment { return at(payment.Pending, noMethod) }

func failed() payment.Payment { return at(payment.Failed, noMethod) }

func held(edits ...edit) payment.Payment {
	return at(payment.Pending, authorised, append([]edit{holding}, edits...)...)
}

func succeeded(edits ...edit) payment.Payment {
	return at(payment.Succeeded, payment.IntentSucceeded, append([]edit{captured(10)}, edits...)...)
}

func cancelled(edits ...edit) payment.Payment {
	return at(payment.Cancelled, payment.IntentCanceled, edits...)
}

func holding(p *payment.Payment) {
	p.CaptureMethod, p.Capturable, p.CaptureBefore = payment.CaptureManual, dollars(10), lapses
}

func holding6(p *payment.Payment) { p.Capturable = dollars(6) }

func withoutLapse(p *payment.Payment) { p.CaptureBefore = time.Time{} }

func declinedOnce(p *payment.Payment) { p.Declined = true }

func captured(n int64) edit {
	return func(p *payment.Payment) { p.Captured = dollars(n) }
}

// said changes what the provider says.
type said func(*payment.Snapshot)

// says is a snapshot of the payment's intent.
func says(status payment.Status, word payment.IntentStatus, changes ...said) payment.Snapshot {
	s := payment.Snapshot{
		PaymentID: paymentID, Amount: charge(10), Status: status, IntentStatus: word,
		Capturable: dollars(0), Captured: dollars(0), Declined: status == payment.Failed,
	}

	if status == payment.Succeeded {
		s.Captured = dollars(10)
	}

	if word == authorised {
		s.CaptureMethod, s.Capturable, s.CaptureBefore = payment.CaptureManual, dollars(10), lapses
	}

	for _, change := range changes {
		change(&s)
	}

	return s
}

// open, declined and over are what a read finds.
func open(word payment.IntentStatus, changes ...said) payment.Snapshot {
	return says(payment.Pending, word, changes...)
}

func declined() payment.Snapshot { return says(payment.Failed, noMethod) }

func over(status payment.Status, changes ...said) payment.Snapshot {
	word := payment.IntentSucceeded
	if status == payment.Cancelled {
		word = payment.IntentCanceled
	}

	return says(status, word, changes...)
}

// asks is an event that asks for a status, and tells is one about a step on the way.
func asks(status payment.Status, changes ...said) payment.Told {
	if status == payment.Failed {
		return payment.Told{Snapshot: says(status, noMethod, changes...), Asks: status}
	}

	return payment.Told{Snapshot: over(status, changes...), Asks: status}
}

func tells(word payment.IntentStatus, changes ...said) payment.Told {
	return payment.Told{Snapshot: open(word, changes...)}
}

// barely: the status is all that is said.
func barely(s *payment.Snapshot) {
	*s = payment.Snapshot{Status: s.Status, IntentStatus: s.IntentStatus, Declined: s.Declined}
}

func noLapse(s *payment.Snapshot) { s.CaptureBefore = time.Time{} }

func strangerID(s *payment.Snapshot) { s.PaymentID = uuid.Max }

func withError(s *payment.Snapshot) { s.Declined = true }

func another(amount money.Price) said {
	return func(s *payment.Snapshot) { s.Amount = amount }
}

func received(sum money.Money) said {
	return func(s *payment.Snapshot) { s.Captured = sum }
}

func capturable(sum money.Money) said {
	return func(s *payment.Snapshot) { s.Capturable = sum }
}
