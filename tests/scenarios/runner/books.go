package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/sandbox"
)

// stripeBooks are the sandbox's, of all its accounts.
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
	// LastPaymentError is there after a declined attempt.
	LastPaymentError *struct{} `json:"last_payment_error"`

	succeeded int // charges
	key       string
	account   string
}

func (i stripeIntent) paymentID() string { return i.Metadata["payment_id"] }

// order is the client's own name for what it wanted.
func (i stripeIntent) order() string { return i.Metadata["order"] }

// status in the service's terms
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

func readStripe(s *sandbox.Sandbox) (stripeRecords, error) {
	var records stripeRecords

	for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent, sandbox.KindDelivery}}) {
		if entry.Delivery != nil {
			records.deliveries = append(records.deliveries, *entry.Delivery)

			continue
		}

		intent := stripeIntent{succeeded: entry.SucceededCharges, key: entry.IdempotencyKey, account: entry.Account}
		if err := json.Unmarshal(entry.Object, &intent); err != nil {
			return records, fmt.Errorf("reading the sandbox's records: %w", err)
		}

		records.intents = append(records.intents, intent)
	}

	return records, nil
}

// serviceBooks are the database's.
type serviceRecords struct {
	payments    []paymentRow
	ops         []operationRow
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
	// DueSeconds is when recovery looks at it next.
	DueSeconds float64
	Amount     string
	Currency   string
	// Origin is the id of the request that it was written for.
	Origin string
}

type transitionRow struct {
	PaymentID, From, To, Cause string
	At                         time.Time
}

type eventRow struct {
	ID, Type, Object, Outcome, Reason string
}

// readService reads all of it in one snapshot.
func readService(ctx context.Context, db *pgxpool.Pool) (records serviceRecords, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

	err = pgx.BeginTxFunc(ctx, db, options, func(tx pgx.Tx) error {
		if records.payments, err = rows[paymentRow](ctx, tx, `SELECT id::text, stripe_payment_intent_id,
			COALESCE(idempotency_key, ''), amount::text, currency, status FROM payments ORDER BY created_at`); err != nil {
			return err
		}

		if records.ops, err = rows[operationRow](ctx, tx, `SELECT payment_id::text, COALESCE(idempotency_key, ''), state,
			COALESCE(last_error, ''), attempts, EXTRACT(EPOCH FROM now() - created_at)::float8,
			EXTRACT(EPOCH FROM retry_at - now())::float8, amount::text, currency,
			origin_request_id FROM payment_requests ORDER BY created_at`); err != nil {
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

// minorUnits are a stored amount in Stripe's smallest units.
func minorUnits(amount, currency string) (int64, error) {
	scale := map[string]int64{"USD": 100, "EUR": 100, "JPY": 1, "KWD": 1000}[strings.ToUpper(currency)]

	value, ok := new(big.Rat).SetString(amount)
	if !ok || scale == 0 {
		return 0, fmt.Errorf("%q %s is no amount", amount, currency)
	}

	value.Mul(value, new(big.Rat).SetInt64(scale))

	if !value.IsInt() || !value.Num().IsInt64() {
		return 0, fmt.Errorf("%s %s has a fraction of its smallest unit", amount, currency)
	}

	return value.Num().Int64(), nil
}
