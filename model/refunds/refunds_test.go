package refunds_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/model/refunds"
)

// Whatever happens, in any order: every property holds.
func TestIntended(t *testing.T) {
	t.Parallel()

	for name, bounds := range map[string]refunds.Bounds{
		"two at once":            {Amounts: []uint8{6, 6}, Asks: 2, Drops: 1, Readers: 1, Failures: 1},
		"one that is pending":    {Amounts: []uint8{4}, Asks: 1, Drops: 1, Readers: 2, Failures: 1, Pending: true},
		"three of a provider":    {Amounts: []uint8{6, 4, 4}, Asks: 3, Drops: 1, Readers: 1, Uncapped: true},
		"beside the Dashboard":   {Amounts: []uint8{4, 4}, Asks: 2, Elsewhere: 4, Others: 1, Drops: 1, Readers: 1},
		"the Dashboard's failed": {Amounts: []uint8{4}, Asks: 1, Elsewhere: 4, Others: 2, Failures: 1, Readers: 1},
		"a dispute":              {Amounts: []uint8{4}, Asks: 1, Disputes: 4, Drops: 1, Readers: 1},
		"two readers":            {Amounts: []uint8{4}, Asks: 1, Disputes: 2, Elsewhere: 4, Others: 1, Readers: 2},
		"told of twice":          {Amounts: []uint8{4}, Asks: 1, Drops: 1, Failures: 1, Pending: true, Readers: 2, Announced: true},
		"told of beside others":  {Amounts: []uint8{4}, Asks: 1, Elsewhere: 4, Others: 2, Failures: 1, Readers: 1, Announced: true},
		"a loss":                 {Amounts: []uint8{6, 4}, Asks: 3, Readers: 1, Loss: true},
		"a loss of what failed":  {Amounts: []uint8{6}, Asks: 2, Drops: 1, Failures: 1, Readers: 1, Loss: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, search(t, bounds, refunds.Intended()).Broken)
		})
	}
}

func search(t *testing.T, bounds refunds.Bounds, rules refunds.Rules, properties ...refunds.Property) refunds.Found {
	t.Helper()

	began := time.Now()
	found := refunds.Search(bounds, rules, properties...)
	t.Logf("%d worlds in %s\n%s", found.Worlds, time.Since(began).Round(time.Millisecond), strings.Join(found.Story, "\n"))

	return found
}

// alone decides about a refund as if there were no other one.
func alone(
	p payment.Payment, refunds []refund.Refund, r refund.Refund, _ payment.RefundAsk,
) (payment.Payment, error) {
	if r.Amount.Minor() > p.Received().Minor() {
		return p, fault.New(fault.AmountExceeded, "too much")
	}

	return p.WithRefunds(refund.With(refunds, r)), nil
}

// Without a safeguard the search finds how a property is broken, and tells the shortest story.
func TestWithout(t *testing.T) {
	t.Parallel()

	var (
		two       = refunds.Bounds{Amounts: []uint8{6, 6}, Asks: 2, Readers: 1, Uncapped: true}
		lost      = refunds.Bounds{Amounts: []uint8{4}, Asks: 1, Drops: 1, Readers: 1}
		equal     = refunds.Bounds{Amounts: []uint8{4, 4}, Asks: 2, Drops: 1, Readers: 1}
		dashboard = refunds.Bounds{Amounts: []uint8{4}, Asks: 1, Elsewhere: 4, Others: 1, Drops: 1, Readers: 1}
		failing   = refunds.Bounds{Amounts: []uint8{4}, Asks: 1, Elsewhere: 4, Others: 1, Failures: 1, Readers: 1}
		disputed  = refunds.Bounds{Amounts: []uint8{4}, Asks: 1, Disputes: 3, Readers: 1}
		readers   = refunds.Bounds{Amounts: []uint8{4}, Asks: 1, Elsewhere: 4, Others: 1, Readers: 2}
		loss      = refunds.Bounds{Amounts: []uint8{4}, Asks: 2, Readers: 1, Loss: true}
	)

	for name, without := range map[string]struct {
		bounds refunds.Bounds
		remove func(*refunds.Rules)
		breaks refunds.Property
	}{
		"what was decided is written by its version": {two, func(r *refunds.Rules) { r.OldDecision = true }, refunds.Cap},
		"the constraint stands behind the rule": {two, func(r *refunds.Rules) {
			r.Reserve, r.Unconstrained = alone, true
		}, refunds.Cap},
		"every attempt has the same Stripe key": {lost, func(r *refunds.Rules) { r.FreshKey = true }, refunds.Once},
		"Stripe's key is made of the operation": {equal, func(r *refunds.Rules) {
			r.KeyOfAmount, r.Unchecked = true, true
		}, refunds.Told},
		"an old key is not sent":                {lost, func(r *refunds.Rules) { r.MaySend = always }, refunds.Once},
		"nothing is released on an unknown end": {two.With(1), func(r *refunds.Rules) { r.ReleasesUnknown = true }, refunds.Cap},
		"a refund is ours by its mark":          {dashboard, func(r *refunds.Rules) { r.MatchesAmount = true }, refunds.Told},
		"charge.refunded is heard":              {dashboard, func(r *refunds.Rules) { r.Decide = deaf }, refunds.Equal},
		"what was read before a hint is old":    {failing, func(r *refunds.Rules) { r.IgnoresHints = true }, refunds.Equal},
		"before any event, also a known one":    {failing, func(r *refunds.Rules) { r.IgnoresKnown = true }, refunds.Equal},
		"what is reserved explains nothing":     {dashboard, func(r *refunds.Rules) { r.Decide = byReservation }, refunds.Equal},
		"what has succeeded is told otherwise":  {failing, func(r *refunds.Rules) { r.Decide = onceSucceeded }, refunds.Equal},
		"the Dashboard's refunds are written":   {dashboard, func(r *refunds.Rules) { r.Read = oursAlone }, refunds.Equal},
		"what has succeeded may fail":           {failing, func(r *refunds.Rules) { r.Read = neverFails }, refunds.Equal},
		"a closed dispute may change": {disputed, func(r *refunds.Rules) {
			r.Dispute = refunds.ClosedIsFinal
		}, refunds.Equal},
		"the balance is the money, not the word": {disputed, func(r *refunds.Rules) {
			r.Counted = refunds.CountedByWord
		}, refunds.Equal},
		"sums are made of all refunds":            {lost, func(r *refunds.Rules) { r.Deltas = true }, refunds.Equal},
		"an answer is older than what was read":   {failing, func(r *refunds.Rules) { r.Overwrites = true }, refunds.Equal},
		"what was read is written by its version": {readers, func(r *refunds.Rules) { r.OldVersion = true }, refunds.Equal},
		"what is written as made is not sent":     {loss, func(r *refunds.Rules) { r.SendsMade = true }, refunds.Once},
		"a refund's operation comes home": {loss, func(r *refunds.Rules) {
			r.LeavesRefunds, r.SendsMade = true, true // each is enough without the other
		}, refunds.Once},
		"after a loss nothing old is sent": {loss, func(r *refunds.Rules) {
			r.MaySend = func(age time.Duration, _ operation.Standing) bool {
				return operation.MaySend(age, operation.Standing{})
			}
		}, refunds.Once},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rules := refunds.Intended()
			without.remove(&rules)

			require.Equal(t, without.breaks, search(t, without.bounds, rules, without.breaks).Broken)
		})
	}
}

// Each of the two that look at the sums is enough without the other.
func TestWithoutOne(t *testing.T) {
	t.Parallel()

	bounds := refunds.Bounds{Amounts: []uint8{6, 6}, Asks: 2, Readers: 1, Uncapped: true}

	for name, remove := range map[string]func(*refunds.Rules){
		"no constraint": func(r *refunds.Rules) { r.Unconstrained = true },
		"no rule":       func(r *refunds.Rules) { r.Reserve = alone },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rules := refunds.Intended()
			remove(&rules)
			require.Empty(t, search(t, bounds, rules, refunds.Cap).Broken)
		})
	}
}

func always(time.Duration, operation.Standing) bool { return true }

// deaf hears only of refunds that it knows.
func deaf(t payment.MoneyTold, k payment.Known) (payment.Verdict, payment.Payment) {
	if t.Refund == nil && !t.GivenBack.IsZero() {
		return payment.Stale, *k.Payment
	}

	return payment.DecideMoney(t, k)
}

// byReservation explains a sum by what may never be made.
func byReservation(t payment.MoneyTold, k payment.Known) (payment.Verdict, payment.Payment) {
	reserved := *k.Payment
	reserved.Refunded = money.Of(reserved.RefundPending.Minor()+reserved.Refunded.Minor(), reserved.Amount.Currency())

	return payment.DecideMoney(t, payment.Known{Payment: &reserved})
}

// onceSucceeded believes that nothing becomes of what has succeeded.
func onceSucceeded(t payment.MoneyTold, k payment.Known) (payment.Verdict, payment.Payment) {
	if t.Refund != nil && t.Known != nil && t.Known.Status == refund.Succeeded {
		return payment.Stale, *k.Payment
	}

	return payment.DecideMoney(t, k)
}

// oursAlone reads the refunds that we have asked for.
func oursAlone(
	known []refund.Refund, listed []refund.Snapshot, paymentID uuid.UUID, i operation.Installation,
) []refund.Refund {
	return refund.Read(known, slices.DeleteFunc(listed, func(s refund.Snapshot) bool { return !s.Marked }), paymentID, i)
}

// neverFails takes no failure over.
func neverFails(
	known []refund.Refund, listed []refund.Snapshot, paymentID uuid.UUID, i operation.Installation,
) []refund.Refund {
	for at, s := range listed {
		if s.Status == refund.Failed {
			listed[at].Status = refund.Succeeded
		}
	}

	return refund.Read(known, listed, paymentID, i)
}
