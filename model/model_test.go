package model_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/model"
)

// Whatever happens, in any order: every property holds.
func TestIntended(t *testing.T) {
	t.Parallel()

	c, most := operation.Capture, shorter(3, 2)

	for name, b := range map[string]model.Bounds{
		"creates":           {Requests: most, Loss: true, Events: true, Odd: true},
		"creates, rejected": {Requests: most, Loss: true, Rejections: 1},
		"creates, refused":  {Requests: most, Loss: true, Refuses: model.B, Events: true},
		"captures":          {Kind: c, Bodies: []model.Body{model.A, model.B, model.C}, Requests: most, Loss: true, Events: true},
		"captures, rejected": {
			Kind: c, Bodies: []model.Body{model.A, model.C}, Requests: shorter(2, 1), Loss: true, Rejections: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			found := search(t, b, model.Intended())
			require.Empty(t, found.Broken)
		})
	}
}

// shorter is less if the tests are to be short: the race detector makes them ten times
// slower.
func shorter(bound, less uint8) uint8 {
	if testing.Short() {
		return less
	}

	return bound
}

func search(t *testing.T, b model.Bounds, rules model.Rules, properties ...model.Property) model.Found {
	t.Helper()

	if b.Kind == "" {
		b.Kind = operation.Create
	}

	if b.Bodies == nil {
		b.Bodies = []model.Body{model.A, model.B}
	}

	began := time.Now()
	found := model.Search(b, rules, properties...)
	t.Logf("%d worlds in %s\n%s", found.Worlds, time.Since(began).Round(time.Millisecond), strings.Join(found.Story, "\n"))

	return found
}

// Without a safeguard the search finds how a property is broken, and tells the shortest
// story.
func TestWithout(t *testing.T) {
	t.Parallel()

	var (
		creates  = model.Bounds{Requests: 3, Loss: true}
		captures = model.Bounds{Kind: operation.Capture, Requests: 3, Loss: true}
		two      = model.Bounds{Kind: operation.Capture, Bodies: []model.Body{model.A, model.C}, Requests: 3, Loss: true}
		rejected = model.Bounds{Requests: 3, Loss: true, Rejections: 1}
		refused  = model.Bounds{Requests: 3, Loss: true, Refuses: model.B}
		odd      = model.Bounds{Requests: 3, Loss: true, Odd: true}
		events   = model.Bounds{Requests: 3, Loss: true, Events: true}
	)

	for name, without := range map[string]struct {
		bounds model.Bounds
		remove func(*model.Rules)
		breaks model.Property
	}{
		"an operation is sent only if it is young": {creates, func(r *model.Rules) {
			r.MaySend = func(_ time.Duration, s operation.Standing, _ bool) bool { return operation.MaySend(0, s) }
		}, model.I1},
		"after a loss it is sent only if the cursor is young": {creates, func(r *model.Rules) {
			r.MaySend = func(age time.Duration, _ operation.Standing, _ bool) bool {
				return operation.MaySend(age, operation.Standing{})
			}
		}, model.I1},
		"that counts for every send, not for the first alone": {creates, func(r *model.Rules) {
			r.MaySend = func(age time.Duration, s operation.Standing, written bool) bool {
				if !written {
					s.Behind = 0
				}

				return operation.MaySend(age, s)
			}
		}, model.I1},
		"how far reconciliation has come is read with the operation": {creates, func(r *model.Rules) { r.Late = true }, model.I1},
		"the cursor does not pass what could not be written": {creates, func(r *model.Rules) {
			r.MayPass = func(operation.Compared) bool { return true }
		}, model.I1},
		"the cursor moves in the life that it was read in": {creates, func(r *model.Rules) { r.AnyLife = true }, model.I1},
		"nothing is missing only once a reconciliation has looked a day after the first one": {creates, func(r *model.Rules) {
			r.Hasty = true
		}, model.I1},
		"every loss begins a new life": {creates, func(r *model.Rules) { r.Unnoticed = true }, model.I1},
		"what was adopted is not sent": {odd, func(r *model.Rules) {
			r.Adopted = func(fits bool) operation.State {
				if !fits {
					return operation.Pending
				}

				return operation.Adopted(fits)
			}
		}, model.I1},
		"what has its payment is not sent":          {events, func(r *model.Rules) { r.SendsWritten = true }, model.I1},
		"Stripe's key has no number":                {rejected, func(r *model.Rules) { r.Numbered = true }, model.I1},
		"the object decides whose the operation is": {creates, func(r *model.Rules) { r.Keeps = true }, model.I5},
		"the object decides although the operation was rejected": {rejected, func(r *model.Rules) {
			r.Ends = func(row operation.Row, made operation.Fingerprint) operation.Ending {
				if row.State == operation.Rejected {
					return operation.Stands
				}

				return row.Ends(made)
			}
		}, model.I2},
		"the object decides although another body was refused": {refused, func(r *model.Rules) {
			r.Ends = func(row operation.Row, made operation.Fingerprint) operation.Ending {
				if row.Refused {
					return operation.Contradicts
				}

				return row.Ends(made)
			}
		}, model.I2},
		"a refusal is written to the operation that was refused": {refused, func(r *model.Rules) {
			r.MayRefuse = func(row operation.Row, _ operation.Fingerprint) bool { return row.MayRefuse(row.Fingerprint) }
		}, model.I5},
		"a payment is read before it is believed that its state refuses a capture": {captures, func(r *model.Rules) {
			r.LeavesCaptures, r.Unread = true, true // otherwise reconciliation comes first
		}, model.I9},
		"a new key is called safe only after reconciliation": {rejected, func(r *model.Rules) {
			r.Repeated = func(
				row operation.Row, asked operation.Fingerprint, age time.Duration, _ operation.Standing, held bool,
			) operation.Repeat {
				return row.Repeated(asked, age, operation.Standing{Reconciled: true}, held)
			}
		}, model.NewKey},
		"a new key is called safe only once nothing is missing": {rejected, func(r *model.Rules) {
			r.Repeated = func(
				row operation.Row, asked operation.Fingerprint, age time.Duration, s operation.Standing, held bool,
			) operation.Repeat {
				if s.Reconciled {
					s.Behind = 0
				}

				return row.Repeated(asked, age, s, held)
			}
		}, model.NewKey},
		"the fingerprint covers the payment": {two, func(r *model.Rules) {
			r.Fingerprint = func(o operation.Order, kind operation.Kind, _ uuid.UUID) operation.Fingerprint {
				return o.Fingerprint(kind, uuid.Nil)
			}
		}, model.I5},
		"a capture's operation is brought home": {two, func(r *model.Rules) { r.LeavesCaptures = true }, model.I1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rules := model.Intended()
			without.remove(&rules)

			found := search(t, without.bounds, rules, without.breaks)
			require.Equal(t, without.breaks, found.Broken)
		})
	}
}
