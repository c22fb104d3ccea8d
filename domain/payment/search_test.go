package payment_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
)

// These tests try every order in which Stripe's changes, its events and our reads can
// meet, and look for one that ends wrong. Decide and Read are the product's own. README.md
// says what is covered and what is not.

// rule is what we do with events and with what was read.
type rule struct {
	decide func(payment.Payment, payment.Told) (payment.Verdict, payment.Payment)
	read   func(payment.Payment, payment.Snapshot) (payment.Verdict, payment.Payment)
	// keepsVersion: a hint does not move the version.
	keepsVersion bool
	// blind: what was read is written whatever the version is.
	blind bool
	// givesUp: a reader that finds another version does not leave the read to be done.
	givesUp bool
}

func productRule() rule {
	return rule{decide: productDecide, read: payment.Read}
}

func productDecide(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
	return payment.Decide(t, payment.Known{Payment: &p})
}

// When every event was taken and no read is left, the payment is what Stripe says. A final
// status never changes, and nothing is a contradiction.
func TestSearch_EndsInTheTruth(t *testing.T) {
	t.Parallel()

	all := map[string]bounds{
		"four changes, events taken up to twice": {changes: 5, times: 2},
		"five changes, events taken once":        {changes: 6, times: 1},
	}
	if testing.Short() { // the race detector makes it ten times slower
		all = map[string]bounds{"three changes, events taken up to twice": {changes: 4, times: 2}}
	}

	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			story, s := explore(lifecycle(), productRule(), b)
			require.Empty(t, story, strings.Join(story, "\n"))
			t.Logf("%d moments, %d different payments, %d late readers", len(s.moments), len(s.payments), s.late)

			// What never happened was not tried.
			require.Positive(t, s.late)
			require.Subset(t, verdicts(s.decided), []payment.Verdict{payment.Applies, payment.Hints, payment.Stale})
			require.Subset(t, verdicts(s.read), []payment.Verdict{payment.Applies, payment.Stale})
		})
	}
}

// A mistake in the rule is found. The story that is logged is the shortest one.
func TestSearch_FindsMistakes(t *testing.T) {
	t.Parallel()

	for name, breakIt := range map[string]func(*rule){
		"a hint does not move the version":              func(r *rule) { r.keepsVersion = true },
		"what was read is written whatever the version": func(r *rule) { r.blind = true },
		"a reader that is late does not go again":       func(r *rule) { r.givesUp = true },
		"a decline is applied while an attempt is under way": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				if t.Asks == payment.Failed && !p.Status.Final() {
					return payment.Read(p, t.Snapshot)
				}

				return productDecide(p, t)
			}
		},
		"every event is applied": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				if p.Status.Final() {
					return payment.Stale, p
				}

				return payment.Read(p, t.Snapshot)
			}
		},
		"an event undoes a final status": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				p.Status = payment.Pending

				return payment.Read(p, t.Snapshot)
			}
		},
		"an event that says what we have is no hint": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				if t.Status == p.Status && t.IntentStatus == p.IntentStatus {
					return payment.Stale, p
				}

				return productDecide(p, t)
			}
		},
		"a step after a decline is no hint": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				if t.Asks == "" {
					p.Declined = false
				}

				return productDecide(p, t)
			}
		},
		"a hint does not remember the decline": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				verdict, after := productDecide(p, t)
				if verdict == payment.Hints {
					after = p
				}

				return verdict, after
			}
		},
		"a read does not see that an intent went back": func(r *rule) {
			r.read = func(p payment.Payment, s payment.Snapshot) (payment.Verdict, payment.Payment) {
				verdict, after := payment.Read(p, s)
				if !p.Declined && !s.Declined && verdict == payment.Applies {
					after.Status, after.Declined = s.Status, false
				}

				return verdict, after
			}
		},
		"a read trusts an error that was cleared": func(r *rule) {
			r.read = func(p payment.Payment, s payment.Snapshot) (payment.Verdict, payment.Payment) {
				verdict, after := payment.Read(p, s)
				after.Status = s.Status

				return verdict, after
			}
		},
		"what was held stays held": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				verdict, after := productDecide(p, t)
				if p.Capturable.Minor() > 0 {
					after.Capturable = p.Capturable
				}

				return verdict, after
			}
		},
		"a capture of less is a contradiction": func(r *rule) {
			r.decide = func(p payment.Payment, t payment.Told) (payment.Verdict, payment.Payment) {
				if t.Asks == payment.Succeeded && t.Captured != p.Amount.Money() {
					return payment.Contradicts, p
				}

				return productDecide(p, t)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := productRule()
			breakIt(&r)

			story, _ := explore(lifecycle(), r, bounds{changes: 5, times: 2})
			require.NotEmpty(t, story)
			t.Log("\n" + strings.Join(story, "\n"))
		})
	}
}

// The rule rests on this: without a decline, an intent only goes forward. If Stripe ever
// lets a customer who paid by bank debit be asked again, say, this must be thought over.
func TestSearch_RestsOnGoingForward(t *testing.T) {
	t.Parallel()

	world := lifecycle()
	world[isProcessed].next = append(world[isProcessed].next, needsAction)

	story, _ := explore(world, productRule(), bounds{changes: 5, times: 1})
	require.NotEmpty(t, story)
	t.Log("\n" + strings.Join(story, "\n"))
}

func verdicts(answers map[question]answer) []payment.Verdict {
	all := make([]payment.Verdict, 0, len(answers))
	for _, a := range answers {
		all = append(all, a.verdict)
	}

	return all
}

// stage is where an intent stands at Stripe.
type stage uint8

const (
	isCreated stage = iota
	isDeclined
	isUpdated
	needsAction
	isProcessed
	isHeld
	isCapturing
	isPaid
	isPaidInPart
	isCancelled
	stages
)

// stageOf describes a stage.
type stageOf struct {
	name string
	// event is the type of the event of reaching the stage, and told is what it says. If
	// there is none, only a read can tell, which finds what says has.
	event string
	told  payment.Told
	says  payment.Snapshot
	// status is what the payment has to be in the end.
	status payment.Status
	// next are the stages that may follow
	// (https://docs.stripe.com/payments/paymentintents/lifecycle).
	next []stage
}

// lifecycle is what may happen to an intent at Stripe.
func lifecycle() [stages]stageOf {
	is := func(name, event string, status payment.Status, word payment.IntentStatus, next ...stage) stageOf {
		says := payment.Snapshot{
			PaymentID: paymentID, Amount: charge(10), Status: status, IntentStatus: word,
			Capturable: dollars(0), Captured: dollars(0), Declined: status == payment.Failed,
		}
		told := payment.Told{Snapshot: says}

		if status != payment.Pending {
			told.Asks = status
		}

		return stageOf{name: name, event: event, told: told, says: says, status: status, next: next}
	}

	world := [stages]stageOf{
		isCreated: is("is created", "created", payment.Pending, payment.IntentRequiresPaymentMethod,
			isDeclined, needsAction, isProcessed, isHeld, isPaid, isCancelled),
		isDeclined: is("is declined", "payment_failed", payment.Failed, payment.IntentRequiresPaymentMethod,
			isDeclined, isUpdated, needsAction, isProcessed, isHeld, isPaid, isCancelled),
		isUpdated: is("is updated, which clears its error", "", payment.Pending, payment.IntentRequiresPaymentMethod,
			isDeclined, needsAction, isProcessed, isHeld, isPaid, isCancelled),
		needsAction: is("waits for the customer", "requires_action", payment.Pending, payment.IntentRequiresAction,
			isDeclined, isProcessed, isHeld, isPaid, isCancelled),
		isProcessed: is("is processed", "processing", payment.Pending, payment.IntentProcessing,
			isDeclined, isHeld, isPaid, isCancelled),
		isHeld: is("is authorised", "amount_capturable_updated", payment.Pending, payment.IntentRequiresCapture,
			isCapturing, isPaid, isPaidInPart, isCancelled),
		// A capture moves an intent to processing. That an event tells is not documented.
		isCapturing:  is("is being captured", "", payment.Pending, payment.IntentProcessing, isPaid, isPaidInPart),
		isPaid:       is("is paid", "succeeded", payment.Succeeded, payment.IntentSucceeded),
		isPaidInPart: is("is captured in part", "succeeded", payment.Succeeded, payment.IntentSucceeded),
		isCancelled:  is("is cancelled", "canceled", payment.Cancelled, payment.IntentCanceled),
	}

	// last_payment_error "will be cleared if the PaymentIntent is later updated for any
	// reason" (https://docs.stripe.com/api/payment_intents/object). The attempt has failed
	// all the same.
	world[isUpdated].status = payment.Failed
	world[isPaid].told.Captured, world[isPaid].says.Captured = dollars(10), dollars(10)
	world[isPaidInPart].told.Captured, world[isPaidInPart].says.Captured = dollars(4), dollars(4)
	world[isHeld].told.Capturable, world[isHeld].says.Capturable = dollars(10), dollars(10)
	// It stands in the charge, which an event does not hold.
	world[isHeld].says.CaptureBefore = lapses

	return world
}
