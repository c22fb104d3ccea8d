package runner

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/sandbox"
)

// stripeRecords are the sandbox's, of all its accounts.
type stripeRecords struct {
	// intents are the service's; foreign are another program's on the same account.
	intents, foreign []stripeIntent
	deliveries       []delivery
	// persons are the service's customers; another program's are in others. methods are
	// everybody's.
	persons, others []stripePerson
	methods         map[string]stripeMethod
	// refunds are those that give money back, by their intents.
	refunds map[string][]stripeRefund
	// disputes are those of the service's and of others' intents, by their intents.
	disputes map[string][]stripeDispute
}

// stripePerson is a Customer as the sandbox knows it; one that is deleted has an id alone.
type stripePerson struct {
	ID       string            `json:"id"`
	Deleted  bool              `json:"deleted"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
}

func (p stripePerson) reference() string { return p.Metadata["marketflow_reference"] }

// stripeMethod is a PaymentMethod. Customer is whose it is, or empty.
type stripeMethod struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
}

// delivery is an event and what became of sending it.
type delivery struct {
	sandbox.Delivery

	// intent is what the event is about.
	intent string
}

// stripeIntent is a PaymentIntent as the sandbox knows it.
type stripeIntent struct {
	ID            string            `json:"id"`
	Amount        int64             `json:"amount"`
	Capturable    int64             `json:"amount_capturable"`
	Received      int64             `json:"amount_received"`
	Currency      string            `json:"currency"`
	Status        string            `json:"status"`
	CaptureMethod string            `json:"capture_method"`
	Customer      string            `json:"customer"`
	Metadata      map[string]string `json:"metadata"`
	// LastPaymentError is set after a declined attempt.
	LastPaymentError *struct{} `json:"last_payment_error"`

	// succeededCharges and failedCharges are how many there are.
	succeededCharges, failedCharges int
	// captureBefore is when the hold lapses, in Unix seconds; 0 if nothing is held.
	captureBefore int64
	// key is the Idempotency-Key that the intent was created under.
	key     string
	account string
}

func (i stripeIntent) paymentID() string { return i.Metadata["payment_id"] }

// capturedBy is the id of the operation that captured the intent, as its mark says; empty
// if there is no mark.
func (i stripeIntent) capturedBy() string { return operationOf(i.Metadata["marketflow_capture"]) }

// operationOf is the id of the operation that a mark names.
func operationOf(mark string) string {
	const operationPart, parts = 4, 6

	part := strings.Split(mark, ".")
	if len(part) != parts {
		return ""
	}

	raw, err := base64.RawURLEncoding.DecodeString(part[operationPart])
	if err != nil {
		return ""
	}

	id, err := uuid.FromBytes(raw)
	if err != nil {
		return ""
	}

	return id.String()
}

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
	case i.Status == "requires_payment_method" && i.LastPaymentError != nil:
		return "failed"
	default:
		return "pending"
	}
}

// readStripe reads the sandbox's records. foreign are the intents of another program.
func readStripe(s *sandbox.Sandbox, foreign map[string]bool) (records stripeRecords, err error) {
	holds, failed, err := charges(s)
	if err != nil {
		return records, err
	}

	for entry := range intents(s) {
		intent := stripeIntent{
			succeededCharges: entry.SucceededCharges, key: entry.IdempotencyKey, account: entry.Account,
			captureBefore: holds[entry.ID], failedCharges: failed[entry.ID],
		}
		if err := json.Unmarshal(entry.Object, &intent); err != nil {
			return records, fmt.Errorf("reading the sandbox's records: %w", err)
		}

		if foreign[intent.ID] {
			records.foreign = append(records.foreign, intent)
		} else {
			records.intents = append(records.intents, intent)
		}
	}

	if err := records.readPersons(s, foreign); err != nil {
		return records, err
	}

	if records.refunds, err = readRefunds(s); err != nil {
		return records, err
	}

	if records.disputes, err = readDisputes(s); err != nil {
		return records, err
	}

	for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDelivery}}) {
		records.deliveries = append(records.deliveries, delivery{*entry.Delivery, entry.Intent})
	}

	return records, nil
}

// readPersons adds customers and payment methods.
func (records *stripeRecords) readPersons(s *sandbox.Sandbox, foreign map[string]bool) error {
	records.methods = map[string]stripeMethod{}

	for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindCustomer, sandbox.KindMethod}}) {
		var (
			p   stripePerson
			m   stripeMethod
			err error
		)

		switch {
		case entry.Kind == sandbox.KindMethod:
			err = json.Unmarshal(entry.Object, &m)
			records.methods[m.ID] = m
		case foreign[entry.ID]:
			err = json.Unmarshal(entry.Object, &p)
			records.others = append(records.others, p)
		default:
			err = json.Unmarshal(entry.Object, &p)
			records.persons = append(records.persons, p)
		}

		if err != nil {
			return fmt.Errorf("reading the sandbox's customers: %w", err)
		}
	}

	return nil
}

// charges are when the holds lapse, and how many attempts have failed, by intent.
func charges(s *sandbox.Sandbox) (holds map[string]int64, failed map[string]int, err error) {
	holds, failed = map[string]int64{}, map[string]int{}

	for entry := range s.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindCharge}}) {
		var charge struct {
			Status  string `json:"status"`
			Details struct {
				Card struct {
					CaptureBefore int64 `json:"capture_before"`
				} `json:"card"`
			} `json:"payment_method_details"`
		}

		if err := json.Unmarshal(entry.Object, &charge); err != nil {
			return nil, nil, fmt.Errorf("reading the sandbox's charges: %w", err)
		}

		if charge.Status == "failed" {
			failed[entry.Intent]++
		}

		if until := charge.Details.Card.CaptureBefore; until > 0 {
			holds[entry.Intent] = until
		}
	}

	return holds, failed, nil
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
	persons     []personRow
	refunds     []refundRow
	disputes    []disputeRow
	operations  []operationRow
	transitions []transitionRow
	events      []eventRow
	// laterLife: PostgreSQL has restarted since the database was made.
	laterLife bool
}

type paymentRow struct {
	ID, Intent, Key, Amount, Currency, Status string
	CaptureMethod, IntentStatus               string
	Capturable, Captured                      string
	// CaptureBefore is in Unix seconds; 0 if nothing is held.
	CaptureBefore int64
	// Metadata is JSON.
	Metadata string
	// Person is the customer's id here; empty for nobody.
	Person string
	// Pending and Refunded are what refunds take, Disputed what disputes take, and Overdrawn is by how much
	// they exceed what was captured.
	Pending, Refunded, Overdrawn, Disputed string
	// DisputeStatus is the word of the dispute that counts most; empty for none.
	DisputeStatus string
}

type personRow struct {
	ID, Stripe, Reference, Name string
	// Metadata is JSON.
	Metadata string
	Deleted  bool
}

type operationRow struct {
	ID, Kind, Payment, Key, State, LastError string
	Attempts                                 int
	AgeSeconds                               float64
	// DueSeconds is in how many seconds recovery looks at it.
	DueSeconds float64
	// Amount is empty if none was asked for.
	Amount, Currency string
	// Origin is the id of the request that it was written for.
	Origin string
	// StripeKey, StripePath and StripeParams are the call as it is sent each time.
	StripeKey, StripePath, StripeParams string
	// Status and Body are the answer; 0 and empty while there is none.
	Status int
	Body   string
}

// asked is a parameter of the call.
func (o operationRow) asked(name string) string {
	values, _ := url.ParseQuery(o.StripeParams)

	return values.Get(name)
}

// cameHome: PostgreSQL has lost it when it was restarted, because a create's begin does not wait for
// the disk (decision 25), and it was written again from its intent. No request has written it.
func (o operationRow) cameHome() bool { return o.Kind == kindCreate && o.Origin == "" }

// done: its answer is kept, and says that it was done.
func (o operationRow) done() bool { return o.State == "finished" && o.Status < http.StatusBadRequest }

// unprovable: Stripe rejects the amount, but the answer to the first send was lost,
// and Stripe's rejection of the second says nothing about the first. Recovery keeps
// the operation until a person may decide about it.
// The same is so of an order of a customer who has left, or with a card that cannot be used any
// more, and of a setup session of which Stripe keeps a 500: nobody gets its secret. Behind a 500 that
// Stripe keeps there may also be a refund that it has rejected, because the bank was faster. It is not
// found, and stays reserved until its key is forgotten.
func (o operationRow) unprovable() bool {
	const (
		longestPause = 8 * 60
		several      = 5 // of attempts, so that it is not one that will be repeated
	)

	if o.Kind == kindRefund {
		return o.Attempts > several && strings.Contains(o.LastError, "(status_5xx)")
	}

	if o.Kind != kindCreate || o.DueSeconds >= longestPause {
		return o.Kind == kindSetup && o.DueSeconds < longestPause && strings.Contains(o.LastError, "(status_5xx)")
	}

	minor, err := minorUnits(o.Amount, o.Currency)
	tiny := err == nil && o.Currency == "USD" && minor < 50

	return tiny || o.asked("customer") != "" && strings.Contains(o.LastError, "(status_400)")
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
			COALESCE(idempotency_key, ''), amount::text, currency, status, capture_method, COALESCE(intent_status, ''),
			COALESCE(amount_capturable, 0)::text, COALESCE(amount_captured, 0)::text,
			COALESCE(EXTRACT(EPOCH FROM capture_before), 0)::bigint, COALESCE(metadata, '{}')::text,
			COALESCE(customer_id::text, ''), COALESCE(amount_refund_pending, 0)::text, COALESCE(amount_refunded, 0)::text,
			COALESCE(overdrawn, 0)::text, COALESCE(amount_disputed, 0)::text, COALESCE(dispute_status, '')
			FROM payments ORDER BY created_at`); err != nil {
			return err
		}

		if records.persons, err = rows[personRow](ctx, tx, `SELECT id::text, stripe_customer_id, COALESCE(reference, ''),
			COALESCE(name, ''), COALESCE(metadata, '{}')::text, deleted_at IS NOT NULL
			FROM customers ORDER BY created_at`); err != nil {
			return err
		}

		if records.refunds, err = readRefundRows(ctx, tx); err != nil {
			return err
		}

		if records.disputes, err = readDisputeRows(ctx, tx); err != nil {
			return err
		}

		if records.operations, err = rows[operationRow](ctx, tx, selectOperations+`ORDER BY created_at`); err != nil {
			return err
		}

		if records.transitions, err = rows[transitionRow](ctx, tx, `SELECT payment_id::text, COALESCE(from_status, ''),
			to_status, cause, at FROM payment_transitions ORDER BY id`); err != nil {
			return err
		}

		if records.events, err = rows[eventRow](ctx, tx, selectEvents+`ORDER BY received_at`); err != nil {
			return err
		}

		return tx.QueryRow(ctx, `SELECT incarnation IS DISTINCT FROM marketflow_incarnation() FROM installation`).
			Scan(&records.laterLife)
	})
	if err != nil {
		return records, fmt.Errorf("reading the service's records: %w", err)
	}

	return records, nil
}

// readWaiting reads what is not finished: operations, and events that wait.
func readWaiting(ctx context.Context, db *pgxpool.Pool) (operations []operationRow, events []eventRow, err error) {
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if operations, err = rows[operationRow](ctx, tx, selectOperations+`WHERE state IN ('pending', 'needs_attention')`); err != nil {
			return err
		}

		events, err = rows[eventRow](ctx, tx, selectEvents+`WHERE outcome IN ('parked', 'hint')`)

		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading what waits: %w", err)
	}

	return operations, events, nil
}

const (
	selectOperations = `SELECT id::text, kind, COALESCE(subject, id)::text, COALESCE(idempotency_key, ''), state,
		COALESCE(last_error, ''), attempts, EXTRACT(EPOCH FROM now() - created_at)::float8,
		EXTRACT(EPOCH FROM retry_at - now())::float8, COALESCE(amount::text, ''), COALESCE(currency, ''), origin_request_id,
		stripe_key, stripe_path, stripe_params, COALESCE(response_status, 0),
		COALESCE(convert_from(response_body, 'UTF8'), '')
		FROM operations `
	selectEvents = `SELECT id, type, object_id, outcome, COALESCE(parked_reason, '') FROM stripe_events `
)

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
