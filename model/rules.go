package model

import (
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// Rules are the decisions of the protocol. Each is a safeguard: a test takes it away and
// looks what happens.
type Rules struct {
	// MaySend: an operation may be sent. written: for the first time, by the request that
	// has just written it.
	MaySend func(age time.Duration, s operation.Standing, written bool) bool
	// Repeated is what becomes of a request whose key has an operation.
	Repeated func(
		row operation.Row, asked operation.Fingerprint, age time.Duration, s operation.Standing, held bool,
	) operation.Repeat
	// Ends is what becomes of an operation whose object is known.
	Ends func(row operation.Row, made operation.Fingerprint) operation.Ending
	// MayRefuse: it may be written down for ever that something was refused.
	MayRefuse func(row operation.Row, asked operation.Fingerprint) bool
	// Adopted is the state of an operation that is written because of its object.
	Adopted func(fits bool) operation.State
	// MayPass: reconciliation's cursor may pass an object.
	MayPass func(operation.Compared) bool
	// Fingerprint tells the requests under one key apart.
	Fingerprint func(order operation.Order, kind operation.Kind, subject uuid.UUID) operation.Fingerprint

	// What follows is no function of the domain. Each is a mistake, false in Intended.

	// Keeps: an operation that is finished keeps its fingerprint, whatever its object says.
	Keeps bool
	// Numbered: after a rejection Stripe's key gets another number.
	Numbered bool
	// AnyLife: the cursor moves although the database has begun another life since the
	// reconciliation looked.
	AnyLife bool
	// Hasty: once a reconciliation has ended in the database's second life, nothing is
	// missing. But calls of the first one may have been under way when it looked.
	Hasty bool
	// Unnoticed: nobody notices that the database has begun another life.
	Unnoticed bool
	// Late: how far reconciliation has come is asked once the operation was written or
	// taken, and not by the same statement.
	Late bool
	// SendsWritten: a create is sent although its payment is written.
	SendsWritten bool
	// Unread: if Stripe says that the payment's state does not allow a capture, that is
	// taken for a refusal, and the payment is not read.
	Unread bool
	// LeavesCaptures: reconciliation takes over that a payment is captured, but not which
	// operation has captured it.
	LeavesCaptures bool
}

// Intended returns the rules as they are meant, with the product's own functions.
func Intended() Rules {
	return Rules{
		MaySend:     func(age time.Duration, s operation.Standing, _ bool) bool { return operation.MaySend(age, s) },
		Repeated:    operation.Row.Repeated,
		Ends:        operation.Row.Ends,
		MayRefuse:   operation.Row.MayRefuse,
		Adopted:     operation.Adopted,
		MayPass:     operation.Compared.MayPass,
		Fingerprint: operation.Order.Fingerprint,
	}
}

// Body is what a request under the key asks for.
type Body uint8

// The bodies. A and B ask for different things, of one payment. C asks for the same as A,
// of another payment.
const (
	nobody Body = iota
	A
	B
	C
)

// String is the body's letter.
func (b Body) String() string { return string("?ABC"[b]) }

// subject is the payment that a body is about.
func (b Body) subject(kind operation.Kind) uuid.UUID {
	switch {
	case kind == operation.Create:
		return uuid.Nil
	case b == C:
		return uuid.UUID{2}
	default:
		return uuid.UUID{1}
	}
}

// fingerprints are those of the bodies, if the key is used for that kind.
func (r Rules) fingerprints(kind operation.Kind) (prints [C + 1]operation.Fingerprint) {
	for b, dollars := range map[Body]int64{A: 10, B: 4, C: 10} {
		prints[b] = r.Fingerprint(operation.Order{Amount: price(dollars)}, kind, b.subject(kind))
	}

	return prints
}

func price(dollars int64) money.Price {
	const cents = 100

	usd, _ := money.ParseCurrency("USD")
	price, _ := money.NewPrice(dollars*cents, usd)

	return price
}
