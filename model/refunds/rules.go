package refunds

import (
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

// Rules are the decisions. Each is a safeguard: a test takes it away and looks what happens.
type Rules struct {
	// Reserve decides, under the payment's lock, whether a refund may be asked for.
	Reserve func(p payment.Payment, refunds []refund.Refund, r refund.Refund, ask payment.RefundAsk) (payment.Payment, error)
	// MaySend: an operation of that age may be sent.
	MaySend func(age time.Duration, s operation.Standing) bool
	// Read is what our records become by what Stripe lists.
	Read func(known []refund.Refund, listed []refund.Snapshot, paymentID uuid.UUID, i operation.Installation) []refund.Refund
	// Decide says what an event does.
	Decide func(t payment.MoneyTold, k payment.Known) (payment.Verdict, payment.Payment)
	// Counting makes the payment's sums.
	Counting func(p payment.Payment, refunds []refund.Refund, disputes []payment.Dispute) payment.Payment
	// Dispute is how a dispute counts: what it is known as, and what was just read of it.
	Dispute func(known, read dispute) dispute
	// Counted is how much of the payment it takes.
	Counted func(d dispute) uint8

	// What follows is no function of the domain. Each is a mistake, false in Intended.

	// OldDecision: what was decided is written whatever the payment's version is then.
	OldDecision bool
	// Unconstrained: the database has no constraint over the sums.
	Unconstrained bool
	// FreshKey: each attempt has a Stripe key of its own. KeyOfAmount: refunds of one amount
	// have the same.
	FreshKey, KeyOfAmount bool
	// Unchecked: an answer is believed although it carries another operation's mark.
	Unchecked bool
	// ReleasesUnknown: an unknown outcome is a failure, and what was reserved is given back.
	ReleasesUnknown bool
	// MatchesAmount: a refund of the same amount is taken for what an operation has made.
	MatchesAmount bool
	// Overwrites: the answer to a call is written over what was read since.
	Overwrites bool
	// OldVersion: what was read is written whatever the payment's version is.
	OldVersion bool
	// IgnoresHints: it is written although a hint has come since the payment was loaded, and
	// IgnoresKnown: although an event has come that told nothing new.
	IgnoresHints, IgnoresKnown bool
	// Deltas: a reader adds what is new to the sums.
	Deltas bool
	// LeavesRefunds: after a loss, the operations that have made refunds do not come home.
	LeavesRefunds bool
	// SendsMade: an operation is sent although its refund is written down as made.
	SendsMade bool
	// Unread: a rejection is frozen, and nobody looks whether an earlier attempt was done.
	Unread bool
}

// Intended returns the rules as they are meant, with the product's own functions.
func Intended() Rules {
	return Rules{
		Reserve:  payment.Payment.Reserve,
		MaySend:  operation.MaySend,
		Read:     refund.Read,
		Decide:   payment.DecideMoney,
		Counting: payment.Payment.Counting,
		Dispute:  func(_, read dispute) dispute { return read },
		Counted:  func(d dispute) uint8 { return d.away },
	}
}

// ClosedIsFinal is the mistake that what was lost stays lost.
func ClosedIsFinal(known, read dispute) dispute {
	if known.stage == lost || known.stage == won {
		return known
	}

	return read
}

// CountedByWord is the mistake that all of it is gone if it is open or lost.
func CountedByWord(d dispute) uint8 {
	if d.stage == open || d.stage == lost {
		return captured
	}

	return 0
}

// The payment and who owns it.
//
//nolint:gochecknoglobals // never written
var (
	installation = operation.Installation{ID: uuid.UUID{1}}
	paymentID    = uuid.UUID{2}
	usd, _       = money.ParseCurrency("USD")
)

const cents = 100

func sum(units uint8) money.Money { return money.Of(int64(units)*cents, usd) }

func price(units uint8) money.Price {
	p, err := money.NewPrice(int64(units)*cents, usd)
	if err != nil {
		panic(err) // it is a good amount
	}

	return p
}

func units(m money.Money) uint8 { return uint8(m.Minor() / cents) } //nolint:gosec // it was made of units

// operationID is that of a key.
func operationID(key uint8) uuid.UUID { return uuid.UUID{3, key} }

// objectID is Stripe's id of a refund.
func objectID(number uint8) string { return "re_" + string(rune('0'+number)) }

func numberOf(id string) uint8 {
	if id == "" {
		return 0
	}

	return id[len("re_")] - '0'
}

//nolint:gochecknoglobals // tables
var (
	statuses = map[status]refund.Status{
		pending: refund.Pending, succeeded: refund.Succeeded, failed: refund.Failed,
	}
	words = map[refund.Status]status{
		refund.Pending: pending, refund.Succeeded: succeeded, refund.Failed: failed,
	}
)

// payment is the records' as the domain knows it.
func (r records) payment(blocked bool) payment.Payment {
	p := payment.Payment{
		ID: paymentID, Amount: price(captured), Status: payment.Succeeded, IntentStatus: payment.IntentSucceeded,
		Captured: sum(captured), RefundPending: sum(r.pending), Refunded: sum(r.refunded), Disputed: sum(r.disputed),
		Overdrawn: sum(r.overdrawn),
	}

	if blocked {
		p.BlockedBy = uuid.UUID{4}
	}

	return p
}

// domain are the records' refunds as the domain knows them.
func (r records) domain() []refund.Refund {
	var all []refund.Refund

	for _, one := range r.refunds {
		if one != (record{}) {
			all = append(all, one.domain())
		}
	}

	return all
}

func (r record) domain() refund.Refund {
	made := refund.Refund{PaymentID: paymentID, Amount: price(r.amount), Status: statuses[r.status], Origin: refund.FromStripe}

	if r.object > 0 {
		made.ProviderID = objectID(r.object)
		made.ID = installation.ObjectID(made.ProviderID)
	}

	if r.key > 0 {
		made.ID, made.Origin = operationID(r.key), refund.FromAPI
	}

	return made
}

// recordOf is a refund of the domain as a record.
func recordOf(r refund.Refund) record {
	one := record{object: numberOf(r.ProviderID), amount: units(r.Amount.Money()), status: words[r.Status]}

	for key := range uint8(mostKeys) {
		if r.ID == operationID(key+1) {
			one.key = key + 1
		}
	}

	return one
}

// snapshots are what Stripe lists.
func snapshots(made [mostObjects]object) []refund.Snapshot {
	var listed []refund.Snapshot

	for i, o := range made {
		if o != (object{}) {
			listed = append(listed, o.snapshot(uint8(i)+1))
		}
	}

	return listed
}

func (o object) snapshot(number uint8) refund.Snapshot {
	s := refund.Snapshot{
		ID: objectID(number), PaymentID: paymentID, Amount: price(o.amount), Status: statuses[o.status], MovedMoney: true,
		CreatedAt: time.Unix(int64(number), 0),
	}

	if o.key > 0 {
		s.Marked = true
		s.Mark = operation.Mark{Installation: installation.ID, Kind: operation.Refund, Operation: operationID(o.key)}
	}

	return s
}

// write puts refunds and a dispute into the records, with the sums that rules make of them.
func (r *records) write(rules Rules, refunds []refund.Refund, d dispute) {
	r.dispute = d
	r.refunds = [mostRecords]record{}

	for i, one := range refunds {
		r.refunds[i] = recordOf(one)
	}

	r.sort()
	r.sums(rules.Counting(r.payment(false), refunds, r.disputes(rules)))
}

func (r *records) sums(p payment.Payment) {
	r.pending, r.refunded = units(p.RefundPending), units(p.Refunded)
	r.disputed, r.overdrawn = units(p.Disputed), units(p.Overdrawn)
}

// disputes are what is known of them.
func (r records) disputes(rules Rules) []payment.Dispute {
	if r.dispute.stage == undisputed {
		return nil
	}

	return []payment.Dispute{{ID: uuid.UUID{4}, Counted: sum(rules.Counted(r.dispute)), Blocks: r.dispute.stage == open}}
}

// fits is the constraint over the sums (migrations, payments_not_overdrawn).
func (r records) fits() bool { return r.pending+r.refunded+r.disputed <= captured+r.overdrawn }
