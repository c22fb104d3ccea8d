package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/big"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/sandbox"
)

// stripeRecords are the sandbox's, of all its accounts.
type stripeRecords struct {
	intents    []stripeIntent
	deliveries []sandbox.Delivery
}

// stripeIntent is a PaymentIntent as the sandbox knows it.
type stripeIntent struct {
	ID       string            `json:"id"`
	Amount   int64             `json:"amount"`
	Currency string            `json:"currency"`
	Status   string            `json:"status"`
	Metadata map[string]string `json:"metadata"`
	// LastPaymentError is set after a declined attempt.
	LastPaymentError *struct{} `json:"last_payment_error"`

	succeededCharges int
	// key is the Idempotency-Key that the intent was created under.
	key     string
	account string
}

func (i stripeIntent) paymentID() string { return i.Metadata["payment_id"] }

// order is the name that the client gave to what it wanted.
func (i stripeIntent) order() string { return i.Metadata["order"] }

// status is the intent's status in the service's words
// (https://docs.stripe.com/payments/paymentintents/lifecycle).
func (i stripeIntent) status() string {
	switch {
	case i.Status == "succeeded":
		return "succeeded"
	case i.Status == "canceled":
		return "cancelled"
	case i.LastPaymentError != nil:
		return "failed"
	default:
		return "pending"
	}
}

func readStripe(s *sandbox.Sandbox) (records stripeRecords, err error) {
	for entry := range intents(s) {
		intent := stripeIntent{succeededCharges: entry.SucceededCharges, key: entry.IdempotencyKey, account: entry.Account}
		if err := json.Unmarshal(entry.Object, &intent); err != nil {
			return records, fmt.Errorf("reading the sandbox's records: %w", err)
		}

		records.intents = append(records.intents, intent)
	}

	for delivery := range deliveries(s) {
		records.deliveries = append(records.deliveries, *delivery)
	}

	return records, nil
}

// intents are the sandbox's entries about intents.
func intents(s *sandbox.Sandbox) iter.Seq[sandbox.BookEntry] {
	return s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}})
}

// deliveries are the sandbox's events and what became of them.
func deliveries(s *sandbox.Sandbox) iter.Seq[*sandbox.Delivery] {
	return func(yield func(*sandbox.Delivery) bool) {
		for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDelivery}}) {
			if !yield(entry.Delivery) {
				return
			}
		}
	}
}

// serviceRecords are the database's.
type serviceRecords struct {
	payments    []paymentRow
	operations  []operationRow
	transitions []transitionRow
	events      []eventRow
}

type paymentRow struct {
	ID, Intent, Key, Amount, Currency, Status string
}

type operationRow struct {
	PaymentID, Key, State, LastError string
	Attempts                         int
	AgeSeconds                       float64
	// DueSeconds is in how many seconds recovery looks at it.
	DueSeconds float64
	Amount     string
	Currency   string
	// Origin is the id of the request that it was written for.
	Origin string
}

// unprovable: Stripe rejects the amount, but the answer to the first send was lost,
// and Stripe's rejection of the second says nothing about the first. Recovery keeps
// the operation until a person may decide about it.
func (o operationRow) unprovable() bool {
	const longestPause = 8 * 60

	minor, err := minorUnits(o.Amount, o.Currency)

	return err == nil && o.Currency == "USD" && minor < 50 && o.DueSeconds < longestPause
}

// unfinished: recovery still has something to do for it.
func (o operationRow) unfinished() bool { return o.State == "pending" && !o.unprovable() }

type transitionRow struct {
	PaymentID, From, To, Cause string
	At                         time.Time
}

type eventRow struct {
	ID, Type, Object, Outcome, Reason string
}

// readService reads everything in one snapshot.
func readService(ctx context.Context, db *pgxpool.Pool) (records serviceRecords, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

	err = pgx.BeginTxFunc(ctx, db, options, func(tx pgx.Tx) error {
		if records.payments, err = rows[paymentRow](ctx, tx, `SELECT id::text, stripe_payment_intent_id,
			COALESCE(idempotency_key, ''), amount::text, currency, status FROM payments ORDER BY created_at`); err != nil {
			return err
		}

		if records.operations, err = rows[operationRow](ctx, tx, `SELECT payment_id::text, COALESCE(idempotency_key, ''), state,
			COALESCE(last_error, ''), attempts, EXTRACT(EPOCH FROM now() - created_at)::float8,
			EXTRACT(EPOCH FROM retry_at - now())::float8, amount::text, currency,
			origin_request_id FROM operations ORDER BY created_at`); err != nil {
			return err
		}

		if records.transitions, err = rows[transitionRow](ctx, tx, `SELECT payment_id::text, COALESCE(from_status, ''),
			to_status, cause, at FROM payment_transitions ORDER BY id`); err != nil {
			return err
		}

		records.events, err = rows[eventRow](ctx, tx, `SELECT id, type, object_id, outcome, COALESCE(parked_reason, '')
			FROM stripe_events ORDER BY received_at`)

		return err
	})
	if err != nil {
		return records, fmt.Errorf("reading the service's records: %w", err)
	}

	return records, nil
}

func rows[T any](ctx context.Context, tx pgx.Tx, sql string) ([]T, error) {
	found, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}

	return pgx.CollectRows(found, pgx.RowToStructByPos[T])
}

// minorUnits converts a stored amount to the currency's smallest unit.
func minorUnits(amount, currency string) (int64, error) {
	scale := map[string]int64{"USD": 100, "EUR": 100, "JPY": 1, "KWD": 1000}[strings.ToUpper(currency)]

	value, ok := new(big.Rat).SetString(amount)
	if !ok || scale == 0 {
		return 0, fmt.Errorf("%q %s is not an amount", amount, currency)
	}

	value.Mul(value, new(big.Rat).SetInt64(scale))

	if !value.IsInt() || !value.Num().IsInt64() {
		return 0, fmt.Errorf("%s %s has a fraction of its smallest unit", amount, currency)
	}

	return value.Num().Int64(), nil
}
