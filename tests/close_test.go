package tests

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
)

// listing calls a function after a person's command has read Stripe's list of
// intents and before the command writes.
type listing struct {
	ports.Provider

	then func()
}

func (l listing) Intents(ctx context.Context, from, to time.Time) iter.Seq2[ports.Intent, error] {
	return func(yield func(ports.Intent, error) bool) {
		for intent, err := range l.Provider.Intents(ctx, from, to) {
			if !yield(intent, err) {
				return
			}
		}

		l.then()
	}
}

// givenUp stores an operation of 10.00 USD that waits for a person.
func (w *world) givenUp(key operation.Key) uuid.UUID {
	w.t.Helper()

	currency, err := money.ParseCurrency("USD")
	require.NoError(w.t, err)
	amount, err := money.NewPrice(1000, currency)
	require.NoError(w.t, err)
	id, err := uuid.NewV7()
	require.NoError(w.t, err)

	store := postgres.NewStore(w.db.Pool(), w.db.Pool())
	_, err = store.Begin(w.t.Context(), ports.NewOperation{
		Tenant: operation.DefaultTenant, ID: id, Kind: operation.Create, Key: key, Order: operation.Order{Amount: amount},
		Lease: ports.Lease{Token: uuid.New()}, Call: ports.Call{Key: "payment-" + id.String(), Path: "/v1/payment_intents"},
		CreatedAt: time.Now().Add(-25 * time.Hour),
	})
	require.NoError(w.t, err)
	require.NoError(w.t, store.GiveUp(w.t.Context(), id, errors.New("not in the list")))

	return id
}

// intentAppears: Stripe has an intent for the operation after all.
func (w *world) intentAppears(id uuid.UUID) {
	w.t.Helper()
	w.createIntent("amount=1000&currency=usd&metadata[payment_id]=" + id.String())
}

// closeWhile closes an operation; happens is called once Stripe's list was read.
func (w *world) closeWhile(id uuid.UUID, happens func()) error {
	w.t.Helper()

	gateway := stripe.NewGateway(stripe.Config{SecretKey: secretKey, APIBase: w.stripe.URL})

	return w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		_, err := tools.CloseOperation.Do(ctx, id, operations.Decision{Actor: "test", Reason: "given up"})

		return err
	}, bootstrap.With[ports.Provider](listing{gateway, happens}))
}

// The intent's event comes while a person closes the operation: the event was first,
// so the decision is not taken and the payment is not lost.
func TestClose_LosesAgainstAnEventThatCameFirst(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	id := w.givenUp("order_1")
	err := w.closeWhile(id, func() {
		w.intentAppears(id)
		w.eventually(func() bool { return w.get("/payments/"+id.String()).status == http.StatusOK }, "the event creates the payment")
	})
	require.ErrorContains(t, err, "has changed meanwhile")
	require.Zero(t, w.count("SELECT count(*) FROM audit"), "no decision was taken")

	answer := w.create(`{"amount":10,"currency":"USD","idempotency_key":"order_1"}`)
	require.Equal(t, http.StatusCreated, answer.status, "%s", answer.body)
	require.Equal(t, id.String(), answer.text("id"))
	require.NotEmpty(t, answer.text("client_secret"))
}

// The person was first, so the answer stands, and the event is parked for a person.
func TestClose_StandsAgainstALaterEvent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	id := w.givenUp("order_1")
	require.NoError(t, w.closeWhile(id, func() {}))
	w.intentAppears(id)
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked' AND parked_reason = 'contradiction'") == 1
	}, "the event is parked")

	w.create(`{"amount":10,"currency":"USD","idempotency_key":"order_1"}`).closed()
	require.Zero(t, w.count("SELECT count(*) FROM payments"))
}

// closed checks that the answer is the whole document of a closed operation. Its
// request id is that of the request that asked first, so it differs from the header.
func (a answer) closed() {
	a.t.Helper()

	require.Equal(a.t, http.StatusBadGateway, a.status, "%s", a.body)
	require.Equal(a.t, "application/problem+json", a.header.Get("Content-Type"))
	require.Equal(a.t, "true", a.header.Get("Idempotent-Replayed"))
	require.True(a.t, strings.HasSuffix(a.text("type"), "#rejected-by-provider"))
	require.Contains(a.t, a.text("detail"), "never made")
	require.NotEmpty(a.t, a.text("title"))
	a.text("request_id")
}

// Several people decide about one operation at once: one decision is taken, and every
// client is told the same.
func TestClose_OneOfSeveralDecisionsIsTaken(t *testing.T) {
	t.Parallel()

	const people = 4

	w := newWorld(t)
	id := w.givenUp("order_1")
	outcomes := make(chan error, people)

	for range people {
		go func() { outcomes <- w.closeWhile(id, func() {}) }()
	}

	taken := 0

	for range people {
		if err := <-outcomes; err == nil {
			taken++
		} else {
			require.Regexp(t, "changed meanwhile|is finished", err)
		}
	}

	require.Equal(t, 1, taken)
	require.Equal(t, 1, w.count("SELECT count(*) FROM audit WHERE object_id = $1", id.String()))
	w.create(`{"amount":10,"currency":"USD","idempotency_key":"order_1"}`).closed()
}
