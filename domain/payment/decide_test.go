package payment_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

// decision is what an event makes of a payment. If to is not said, the payment stays.
type decision struct {
	from payment.Payment
	told payment.Told
	to   payment.Payment
}

func requireDecisions(t *testing.T, want payment.Verdict, decisions map[string]decision) {
	t.Helper()

	for name, d := range decisions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			to := d.to
			if to.ID == uuid.Nil {
				to = d.from
			}

			// A payment of ours may be from before the marks. What else is known of the
			// operation does not count.
			for _, unmarked := range []bool{false, true} {
				d.told.Unmarked = unmarked
				verdict, after := payment.Decide(d.told, payment.Known{
					Payment: &d.from, Operation: &payment.KnownOperation{Ended: unmarked},
				})
				require.Equal(t, want, verdict)
				require.Equal(t, to, after)
			}
		})
	}
}

func TestDecide_Applies(t *testing.T) {
	t.Parallel()

	manual := func(p *payment.Payment) { p.CaptureMethod = payment.CaptureManual }
	inPart := received(dollars(4))

	requireDecisions(t, payment.Applies, map[string]decision{
		// What is final is applied to whatever is open.
		"paid":                               {pending(), asks(payment.Succeeded), succeeded()},
		"paid, and only the status is said":  {pending(), asks(payment.Succeeded, barely), succeeded()},
		"paid after a decline":               {failed(), asks(payment.Succeeded), succeeded(declinedOnce)},
		"paid while processed":               {at(payment.Pending, processing), asks(payment.Succeeded), succeeded()},
		"paid, where the word was not known": {at(payment.Pending, ""), asks(payment.Succeeded), succeeded()},
		"captured":                           {held(), asks(payment.Succeeded), succeeded(manual)},
		"captured, and no sum is said":       {held(), asks(payment.Succeeded, barely), succeeded(manual)},
		"captured in part":                   {held(), asks(payment.Succeeded, inPart), succeeded(manual, captured(4))},
		"captured less than is known":        {succeeded(), asks(payment.Succeeded, inPart), succeeded(captured(4))},
		"cancelled":                          {pending(), asks(payment.Cancelled), cancelled()},
		"cancelled after a decline":          {failed(), asks(payment.Cancelled), cancelled(declinedOnce)},
		"a hold is let go":                   {held(), asks(payment.Cancelled), cancelled(manual)},

		// A first decline, if nothing is under way.
		"declined":                              {pending(), asks(payment.Failed), failed()},
		"declined, and only the status is said": {pending(), asks(payment.Failed, barely), failed()},
		"declined when confirmed":               {at(payment.Pending, unconfirmed), asks(payment.Failed), failed()},

		// A step forward.
		"the customer has to act":              {pending(), tells(action), at(payment.Pending, action)},
		"processed":                            {at(payment.Pending, action), tells(processing), at(payment.Pending, processing)},
		"authorised":                           {pending(), tells(authorised), held()},
		"a step, where the word was not known": {at(payment.Pending, ""), tells(action), at(payment.Pending, action)},
	})
}

func TestDecide_Hints(t *testing.T) {
	t.Parallel()

	failedBefore := at(payment.Failed, "", func(p *payment.Payment) { p.Declined = false })

	requireDecisions(t, payment.Hints, map[string]decision{
		// Whether a decline was before or after what we know of, only reading tells.
		"declined, but the customer acts": {
			at(payment.Pending, action), asks(payment.Failed), at(payment.Pending, action, declinedOnce),
		},
		"declined, but processed": {
			at(payment.Pending, processing), asks(payment.Failed), at(payment.Pending, processing, declinedOnce),
		},
		"declined, but held":               {held(), asks(payment.Failed), held(declinedOnce)},
		"a step whose intent was declined": {pending(), tells(action, withError), at(payment.Pending, noMethod, declinedOnce)},

		// After a decline "forward" has no meaning.
		"declined again":                       {from: failed(), told: asks(payment.Failed)},
		"created, after a decline":             {from: failed(), told: tells(noMethod)},
		"the customer acts, after a decline":   {from: failed(), told: tells(action)},
		"authorised, after a decline":          {from: failed(), told: tells(authorised)},
		"the second attempt is declined":       {from: at(payment.Pending, action, declinedOnce), told: asks(payment.Failed)},
		"the second attempt goes on":           {from: at(payment.Pending, action, declinedOnce), told: tells(processing)},
		"the second attempt is as far as that": {from: at(payment.Pending, action, declinedOnce), told: tells(action)},

		// A row of the release before does not have Declined.
		"a step, after a decline of before": {
			failedBefore, tells(action), at(payment.Failed, "", declinedOnce),
		},
		"declined again, after a decline of before": {
			failedBefore, asks(payment.Failed), at(payment.Failed, "", declinedOnce),
		},

		// When a hold lapses only reading tells. That there is one is known at once.
		"authorised, as an event says it": {pending(), tells(authorised, noLapse), held(withoutLapse)},
	})
}

func TestDecide_Stale(t *testing.T) {
	t.Parallel()

	inPart := succeeded(captured(4))

	requireDecisions(t, payment.Stale, map[string]decision{
		"created":                                               {from: pending(), told: tells(noMethod)},
		"created, late":                                         {from: at(payment.Pending, processing), told: tells(noMethod)},
		"the same step":                                         {from: at(payment.Pending, processing), told: tells(processing)},
		"a step before":                                         {from: at(payment.Pending, processing), told: tells(action)},
		"authorised, once more":                                 {from: held(), told: tells(authorised, noLapse)},
		"a step that says nothing":                              {from: pending(), told: tells("")},
		"a word that is not known":                              {from: pending(), told: tells("requires_luck")},
		"paid, once more":                                       {from: succeeded(), told: asks(payment.Succeeded)},
		"paid, once more, and no sum":                           {from: succeeded(), told: asks(payment.Succeeded, barely)},
		"captured in part, once more":                           {from: inPart, told: asks(payment.Succeeded, received(dollars(4)))},
		"captured in part, once more, no sum":                   {from: inPart, told: asks(payment.Succeeded, barely)},
		"cancelled, once more":                                  {from: cancelled(), told: asks(payment.Cancelled)},
		"cancelled, once more, and no sum":                      {from: cancelled(), told: asks(payment.Cancelled, barely)},
		"declined, before it was paid":                          {from: succeeded(), told: asks(payment.Failed)},
		"declined, before it was cancelled":                     {from: cancelled(), told: asks(payment.Failed)},
		"authorised, before it was captured":                    {from: succeeded(), told: tells(authorised)},
		"the customer acted, before a decline, and it was paid": {from: succeeded(declinedOnce), told: tells(action)},
	})
}

func TestDecide_Contradicts(t *testing.T) {
	t.Parallel()

	euros := must(money.NewPrice(1000, must(money.ParseCurrency("EUR"))))
	more, less := another(charge(11)), another(charge(9))

	requireDecisions(t, payment.Contradicts, map[string]decision{
		"another amount, paid":            {from: pending(), told: asks(payment.Succeeded, more)},
		"a smaller amount, paid":          {from: pending(), told: asks(payment.Succeeded, less)},
		"another amount, declined":        {from: pending(), told: asks(payment.Failed, more)},
		"another amount, cancelled":       {from: pending(), told: asks(payment.Cancelled, more)},
		"another amount, a step":          {from: pending(), told: tells(action, more)},
		"another amount, after a decline": {from: failed(), told: tells(action, more)},
		"another amount, after the end":   {from: succeeded(), told: tells(action, more)},
		"another currency":                {from: pending(), told: asks(payment.Succeeded, another(euros))},
		"another currency, a step":        {from: pending(), told: tells(action, another(euros))},
		"received in another currency":    {from: pending(), told: asks(payment.Succeeded, barely, received(euros.Money()))},
		"another payment's id":            {from: pending(), told: asks(payment.Succeeded, strangerID)},
		"another payment's id, a step":    {from: pending(), told: tells(action, strangerID)},
		"paid, but it was cancelled":      {from: cancelled(), told: asks(payment.Succeeded)},
		"paid, no sum, but cancelled":     {from: cancelled(), told: asks(payment.Succeeded, barely)},
		"cancelled, but it was paid":      {from: succeeded(), told: asks(payment.Cancelled)},
		"more received than the amount":   {from: pending(), told: asks(payment.Succeeded, received(dollars(11)))},
		"more captured than is known":     {from: succeeded(captured(4)), told: asks(payment.Succeeded, received(dollars(5)))},
	})
}

func TestDecide_WithoutAPayment(t *testing.T) {
	t.Parallel()

	op := func(o payment.KnownOperation) payment.Known { return payment.Known{Operation: &o} }
	unmarked := func(told payment.Told) payment.Told {
		told.Unmarked = true

		return told
	}
	marked := func(told payment.Told) payment.Told {
		told.Marked = true

		return told
	}
	nameless := func(told payment.Told) payment.Told {
		told.PaymentID = uuid.Nil

		return told
	}
	paid, refused, step := asks(payment.Succeeded), asks(payment.Failed), tells(action)

	for name, c := range map[string]struct {
		told  payment.Told
		known payment.Known
		want  payment.Verdict
	}{
		"paid":                          {nameless(paid), payment.Known{}, payment.Early},
		"declined":                      {nameless(refused), payment.Known{}, payment.Early},
		"cancelled":                     {nameless(asks(payment.Cancelled)), payment.Known{}, payment.Early},
		"a step":                        {nameless(step), payment.Known{}, payment.Ignored},
		"paid, names an id":             {paid, payment.Known{}, payment.Foreign},
		"a step, names an id":           {step, payment.Known{}, payment.Foreign},
		"paid, ours":                    {marked(paid), payment.Known{}, payment.Lost},
		"a step, ours":                  {marked(step), payment.Known{}, payment.Lost},
		"paid, ours, open":              {marked(paid), op(payment.KnownOperation{}), payment.Finishes},
		"paid, not ours":                {unmarked(paid), payment.Known{}, payment.Foreign},
		"a step, not ours":              {unmarked(step), payment.Known{}, payment.Foreign},
		"not ours, but names ours":      {unmarked(paid), op(payment.KnownOperation{}), payment.Foreign},
		"paid, open":                    {paid, op(payment.KnownOperation{}), payment.Finishes},
		"declined, open":                {refused, op(payment.KnownOperation{}), payment.Finishes},
		"a step, open":                  {step, op(payment.KnownOperation{}), payment.Finishes},
		"paid, sent at this moment":     {paid, op(payment.KnownOperation{InHand: true}), payment.Finishes},
		"declined, sent at this moment": {refused, op(payment.KnownOperation{InHand: true}), payment.Finishes},
		"a step, sent at this moment":   {step, op(payment.KnownOperation{InHand: true}), payment.Finishes},
		"made, sent at this moment":     {tells(noMethod), op(payment.KnownOperation{InHand: true}), payment.Stale},
		"paid, ended":                   {paid, op(payment.KnownOperation{Ended: true}), payment.Contradicts},
		"a step, ended":                 {step, op(payment.KnownOperation{Ended: true}), payment.Contradicts},
		"a step, ended while sent":      {step, op(payment.KnownOperation{Ended: true, InHand: true}), payment.Contradicts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			verdict, after := payment.Decide(c.told, c.known)
			require.Equal(t, c.want, verdict)
			require.Zero(t, after)
		})
	}
}

// reading is what an intent that was read makes of a payment. If to is not said, the
// payment stays.
type reading struct {
	from payment.Payment
	says payment.Snapshot
	to   payment.Payment
}

func requireReadings(t *testing.T, want payment.Verdict, readings map[string]reading) {
	t.Helper()

	for name, r := range readings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			to := r.to
			if to.ID == uuid.Nil {
				to = r.from
			}

			verdict, after := payment.Read(r.from, r.says)
			require.Equal(t, want, verdict)
			require.Equal(t, to, after)

			if want == payment.Applies { // to read it again changes nothing
				verdict, again := payment.Read(after, r.says)
				require.Equal(t, payment.Stale, verdict)
				require.Equal(t, after, again)
			}
		})
	}
}

func TestRead_Applies(t *testing.T) {
	t.Parallel()

	manual := func(p *payment.Payment) { p.CaptureMethod = payment.CaptureManual }
	acted, processed := at(payment.Pending, action), at(payment.Pending, processing)

	requireReadings(t, payment.Applies, map[string]reading{
		"a step forward":           {pending(), open(action), acted},
		"a word that is not known": {pending(), open("requires_luck"), at(payment.Pending, "requires_luck")},
		"the first word":           {at(payment.Pending, ""), open(noMethod), pending()},
		"declined":                 {pending(), declined(), failed()},
		"declined, though acting":  {acted, declined(), failed()},

		// failed ⇄ pending.
		"a new attempt":              {failed(), open(action), at(payment.Pending, action, declinedOnce)},
		"a new card":                 {failed(), open(unconfirmed), at(payment.Pending, unconfirmed, declinedOnce)},
		"authorised after a decline": {failed(), open(authorised), held(declinedOnce)},

		// An intent that is updated forgets its error. It goes back only after a decline.
		"a decline that was forgotten":   {at(payment.Pending, action, declinedOnce), open(noMethod), failed()},
		"a decline that nobody heard of": {acted, open(noMethod), failed()},
		"back to a confirmation":         {processed, open(unconfirmed), at(payment.Pending, unconfirmed, declinedOnce)},
		"back to an action":              {processed, open(action), at(payment.Pending, action, declinedOnce)},
		// But Stripe shows a capture that is under way as processing.
		"being captured": {held(), open(processing), at(payment.Pending, processing, manual)},

		// A hold.
		"authorised":                       {pending(), open(authorised), held()},
		"authorised, and no lapse is said": {pending(), open(authorised, noLapse), held(withoutLapse)},
		"the lapse":                        {held(withoutLapse), open(authorised), held()},
		"another lapse": {
			held(func(p *payment.Payment) { p.CaptureBefore = lapses.Add(time.Hour) }), open(authorised), held(),
		},
		"less is held": {held(), open(authorised, capturable(dollars(6))), held(holding6)},

		// The end.
		"paid":                        {failed(), over(payment.Succeeded), succeeded(declinedOnce)},
		"captured":                    {held(), over(payment.Succeeded), succeeded(manual)},
		"captured in part":            {held(), over(payment.Succeeded, received(dollars(4))), succeeded(manual, captured(4))},
		"captured less than is known": {succeeded(), over(payment.Succeeded, received(dollars(4))), succeeded(captured(4))},
		"let go":                      {held(), over(payment.Cancelled), cancelled(manual)},
	})
}

func TestRead_Stale(t *testing.T) {
	t.Parallel()

	requireReadings(t, payment.Stale, map[string]reading{
		"pending":                      {from: pending(), says: open(noMethod)},
		"failed":                       {from: failed(), says: declined()},
		"a decline that was forgotten": {from: failed(), says: open(noMethod)},
		"no word":                      {from: at(payment.Pending, action), says: open("")},
		"held":                         {from: held(), says: open(authorised)},
		"held, and no lapse is said":   {from: held(), says: open(authorised, noLapse)},
		"held, and no sums are said":   {from: held(holding6), says: open(authorised, barely)},
		"paid":                         {from: succeeded(), says: over(payment.Succeeded)},
		"captured in part":             {from: succeeded(captured(4)), says: over(payment.Succeeded, received(dollars(4)))},
		"cancelled":                    {from: cancelled(), says: over(payment.Cancelled)},
	})
}

func TestRead_Contradicts(t *testing.T) {
	t.Parallel()

	more := another(charge(11))

	requireReadings(t, payment.Contradicts, map[string]reading{
		"another amount":                 {from: pending(), says: open(action, more)},
		"another amount, paid":           {from: pending(), says: over(payment.Succeeded, more)},
		"another payment's id":           {from: pending(), says: open(action, strangerID)},
		"more received":                  {from: held(), says: over(payment.Succeeded, received(dollars(11)))},
		"more captured than is known":    {from: succeeded(captured(4)), says: over(payment.Succeeded)},
		"open, but it was paid":          {from: succeeded(), says: open(authorised)},
		"declined, but it was cancelled": {from: cancelled(), says: declined()},
		"paid, but it was cancelled":     {from: cancelled(), says: over(payment.Succeeded)},
		"cancelled, but it was paid":     {from: succeeded(), says: over(payment.Cancelled)},
	})
}

// drawPayment is a payment as the rules leave it.
func drawPayment(t *rapid.T) payment.Payment {
	return rapid.SampledFrom([]payment.Payment{
		pending(), failed(), held(), succeeded(), cancelled(), at(payment.Pending, ""),
		at(payment.Pending, unconfirmed), at(payment.Pending, action),
		at(payment.Pending, processing), at(payment.Pending, "requires_luck"),
		at(payment.Pending, action, declinedOnce),
		held(declinedOnce),
		succeeded(captured(4)),
	}).Draw(t, "payment")
}

// drawTold is something that an event or a read may say.
func drawTold(t *rapid.T) payment.Told {
	type word struct {
		status payment.Status
		word   payment.IntentStatus
	}

	sums := rapid.SampledFrom([]money.Money{{}, dollars(0), dollars(4), dollars(10), dollars(11)})
	w := rapid.SampledFrom([]word{
		{payment.Pending, noMethod},
		{payment.Failed, noMethod},
		{payment.Pending, unconfirmed},
		{payment.Pending, action},
		{payment.Pending, processing},
		{payment.Pending, authorised},
		{payment.Succeeded, payment.IntentSucceeded},
		{payment.Cancelled, payment.IntentCanceled},
		{payment.Pending, "requires_luck"},
		{payment.Pending, ""},
	}).Draw(t, "word")

	told := payment.Told{Snapshot: payment.Snapshot{
		PaymentID:     rapid.SampledFrom([]uuid.UUID{uuid.Nil, paymentID}).Draw(t, "id"),
		Amount:        rapid.SampledFrom([]money.Price{{}, charge(10)}).Draw(t, "amount"),
		Status:        w.status,
		IntentStatus:  w.word,
		Capturable:    sums.Draw(t, "capturable"),
		Captured:      sums.Draw(t, "captured"),
		CaptureBefore: rapid.SampledFrom([]time.Time{{}, lapses}).Draw(t, "lapse"),
		Declined:      w.status == payment.Failed || w.status == payment.Pending && rapid.Bool().Draw(t, "declined"),
	}}

	if w.status != payment.Pending {
		told.Asks = w.status
	}

	return told
}

// Whatever is told or read, in whatever order: a final status stays, no decline is
// forgotten, only what may change does, and what is not held cannot be captured.
func TestDecideAndRead_KeepTheirWord(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		p := drawPayment(t)

		for range rapid.IntRange(1, 6).Draw(t, "times") {
			told := drawTold(t)

			var (
				verdict payment.Verdict
				after   payment.Payment
			)

			if rapid.Bool().Draw(t, "read") {
				verdict, after = payment.Read(p, told.Snapshot)
				require.Contains(t, []payment.Verdict{payment.Applies, payment.Stale, payment.Contradicts}, verdict)
			} else {
				verdict, after = payment.Decide(told, payment.Known{Payment: &p})
				require.Contains(t,
					[]payment.Verdict{payment.Applies, payment.Hints, payment.Stale, payment.Contradicts}, verdict)
			}

			if verdict != payment.Applies && verdict != payment.Hints {
				require.Equal(t, p, after)
			}

			require.True(t, after.Status == p.Status || p.Status.CanBecome(after.Status), "%s to %s", p.Status, after.Status)
			require.False(t, p.Declined && !after.Declined, "a decline was forgotten")
			require.True(t, after.Status != payment.Failed || after.Declined)
			require.Equal(t, after.Status == payment.Succeeded, after.IntentStatus == payment.IntentSucceeded)
			require.Equal(t, after.Status == payment.Cancelled, after.IntentStatus == payment.IntentCanceled)

			if after.IntentStatus != authorised {
				require.Equal(t, dollars(0), after.Capturable)
				require.Zero(t, after.CaptureBefore)
			}

			unchanging := after
			unchanging.Status, unchanging.IntentStatus, unchanging.CaptureMethod = p.Status, p.IntentStatus, p.CaptureMethod
			unchanging.Capturable, unchanging.Captured = p.Capturable, p.Captured
			unchanging.CaptureBefore, unchanging.Declined = p.CaptureBefore, p.Declined
			require.Equal(t, p, unchanging, "the version and the rest are the store's")

			p = after
		}
	})
}

func TestAccepted(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		from payment.Payment
		says payment.Snapshot
		to   payment.Payment
	}{
		"another amount, paid": {
			pending(), says(payment.Succeeded, payment.IntentSucceeded, another(charge(11)), received(dollars(11))),
			succeeded(captured(11), func(p *payment.Payment) { p.Amount = charge(11) }),
		},
		"paid, but it was cancelled": {cancelled(), says(payment.Succeeded, payment.IntentSucceeded), succeeded()},
		"cancelled, but it was paid": {succeeded(), says(payment.Cancelled, payment.IntentCanceled), cancelled()},
		"more captured than is known": {
			succeeded(captured(4)), says(payment.Succeeded, payment.IntentSucceeded), succeeded(),
		},
		"open, but it was paid": {
			succeeded(), says(payment.Pending, authorised), held(),
		},
		"no sum is said": {
			cancelled(), says(payment.Succeeded, payment.IntentSucceeded, received(money.Money{})), succeeded(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			after, err := payment.Accepted(c.from, c.says)
			require.NoError(t, err)
			require.Equal(t, c.to, after)
		})
	}

	for name, s := range map[string]payment.Snapshot{
		"nothing to accept": says(payment.Pending, noMethod),
		"another payment":   says(payment.Succeeded, payment.IntentSucceeded, strangerID),
		"no amount":         says(payment.Succeeded, payment.IntentSucceeded, another(money.Price{})),
		"another currency": says(payment.Succeeded, payment.IntentSucceeded,
			another(must(money.NewPrice(1000, must(money.ParseCurrency("EUR")))))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			after, err := payment.Accepted(pending(), s)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Equal(t, pending(), after)
		})
	}
}

// A payment is final only by what the provider says is final.
func TestDecide_OnlyFinalEventsEnd(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		p, told := drawPayment(t), drawTold(t)
		_, after := payment.Decide(told, payment.Known{Payment: &p})

		if after.Status != p.Status && after.Status.Final() {
			require.Equal(t, told.Asks, after.Status)
		}
	})
}
