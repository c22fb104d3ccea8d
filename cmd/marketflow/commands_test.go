package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

const (
	testSecretKey     = "sk_test_51CommandsCommandsCommandsCommands"
	testWebhookSecret = "whsec_CommandsCommandsCommandsCommands1"
)

// desk is a database, a Stripe and a person with the program.
type desk struct {
	t      *testing.T
	db     *pgtest.DB
	store  *postgres.Store
	stripe *sandbox.Server
}

func newDesk(t *testing.T) *desk {
	t.Helper()

	db := pgtest.New(t)

	return &desk{t: t, db: db, store: postgres.NewStore(db.Pool(), db.Pool()), stripe: sandbox.Start(t)}
}

func (d *desk) environment() []string {
	return []string{
		"DATABASE_URL=" + d.db.URL, "STRIPE_API_BASE=" + d.stripe.URL, "STRIPE_SECRET_KEY=" + testSecretKey,
		"STRIPE_WEBHOOK_SECRET=" + testWebhookSecret,
	}
}

func (d *desk) run(args ...string) ran {
	d.t.Helper()

	return program(d.t, d.environment(), args...)
}

// json runs a command with -o json, which has to succeed.
func (d *desk) json(args ...string) any {
	d.t.Helper()

	got := d.run(append(args, "-o", "json")...)
	require.Zero(d.t, got.code, "%v: %s", args, got.stderr)

	var value any

	require.NoError(d.t, json.Unmarshal([]byte(got.stdout), &value), "%v: %s", args, got.stdout)

	return value
}

func (d *desk) object(args ...string) map[string]any {
	d.t.Helper()

	value, ok := d.json(args...).(map[string]any)
	require.True(d.t, ok, args)

	return value
}

// ids are those of a list.
func (d *desk) ids(args ...string) []string {
	d.t.Helper()

	rows, ok := d.json(args...).([]any)
	require.True(d.t, ok, args)

	ids := make([]string, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, text(d.t, row, "id"))
	}

	return ids
}

// fails runs a command that has to say so in one line.
func (d *desk) fails(line string, args ...string) {
	d.t.Helper()

	got := d.run(args...)
	require.Equal(d.t, 1, got.code, "%v: %s", args, got.stdout)
	require.Empty(d.t, got.stdout, args)
	require.Contains(d.t, got.stderr, "marketflow: ", args)
	require.Contains(d.t, got.stderr, line, args)
}

// serve runs the service beside the commands and returns its address.
func (d *desk) serve() string {
	d.t.Helper()

	c, err := config.FromEnvironment(map[string]string{
		"HTTP_ADDR": "127.0.0.1:0", "DATABASE_URL": d.db.URL, "STRIPE_API_BASE": d.stripe.URL,
		"STRIPE_SECRET_KEY": testSecretKey, "STRIPE_WEBHOOK_SECRET": testWebhookSecret, "AUTH": "off",
	})
	require.NoError(d.t, err)

	service, err := bootstrap.Start(d.t.Context(), c, "test", bootstrap.With(zap.NewNop()))
	require.NoError(d.t, err)
	d.t.Cleanup(func() { require.NoError(d.t, service.Stop(context.Background())) })

	return "http://" + service.Addr()
}

func (d *desk) post(url, contentType, body string) (int, map[string]any) {
	d.t.Helper()

	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(d.t, err)
	req.Header.Set("Content-Type", contentType)
	req.Close = true

	if strings.HasPrefix(url, d.stripe.URL) {
		req.SetBasicAuth(testSecretKey, "")
	}

	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)

	defer func() { _ = resp.Body.Close() }()

	read, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)

	var fields map[string]any
	if len(bytes.TrimSpace(read)) > 0 {
		require.NoError(d.t, json.Unmarshal(read, &fields), "%s", read)
	}

	return resp.StatusCode, fields
}

func (d *desk) create(service, body string) (int, map[string]any) {
	d.t.Helper()

	return d.post(service+"/payments", "application/json", body)
}

// park makes an event wait for a payment that nobody knows.
func (d *desk) park(id, intentID string, reason ports.ParkReason) {
	d.t.Helper()

	raw := fmt.Sprintf(`{"id":"%s","object":"event","type":"payment_intent.succeeded","created":1700000000,`+
		`"data":{"object":{"id":"%s","object":"payment_intent","amount":1000,"currency":"usd","status":"succeeded",`+
		`"receipt_email":"jane@example.com"}}}`, id, intentID)
	require.NoError(d.t, d.store.Park(d.t.Context(), ports.Event{
		ID: id, Type: "payment_intent.succeeded", ObjectID: intentID, IsIntent: true, Change: payment.Succeeded,
		Raw: []byte(raw), CreatedAt: time.Unix(1700000000, 0),
	}, reason))
}

// ask writes an operation of 10.00 USD down, that old, of which nothing came.
func (d *desk) ask(key operation.Key, age time.Duration) string {
	d.t.Helper()

	currency, err := money.ParseCurrency("USD")
	require.NoError(d.t, err)
	amount, err := money.NewPrice(1000, currency)
	require.NoError(d.t, err)
	id, err := uuid.NewV7()
	require.NoError(d.t, err)

	_, err = d.store.Begin(d.t.Context(), ports.NewOperation{
		Tenant: operation.DefaultTenant, ID: id, Kind: operation.Create, Key: key, Order: operation.Order{Amount: amount},
		Call:      ports.Call{Key: "mf_create_" + id.String(), Path: "/v1/payment_intents", Params: "amount=1000&currency=usd"},
		Origin:    ports.Origin{RequestID: "req-of-" + string(key)},
		Lease:     ports.Lease{Token: uuid.New()},
		CreatedAt: time.Now().Add(-age),
	})
	require.NoError(d.t, err)

	return id.String()
}

// giveUp is ask, handed to a person.
func (d *desk) giveUp(key operation.Key) string {
	d.t.Helper()

	id := d.ask(key, 25*time.Hour)
	require.NoError(d.t, d.store.GiveUp(d.t.Context(), uuid.MustParse(id), errors.New("nobody lists it")))

	return id
}

// intent makes one at Stripe for a payment.
func (d *desk) intent(paymentID string, minor int) string {
	d.t.Helper()

	status, made := d.post(d.stripe.URL+"/v1/payment_intents", "application/x-www-form-urlencoded",
		fmt.Sprintf("amount=%d&currency=usd&metadata[payment_id]=%s", minor, paymentID))
	require.Equal(d.t, http.StatusOK, status, made)

	return text(d.t, made, "id")
}

// at digs a value out of decoded JSON.
func at(t *testing.T, value any, path ...string) any {
	t.Helper()

	for _, name := range path {
		object, ok := value.(map[string]any)
		require.True(t, ok, "no object with %s", name)
		require.Contains(t, object, name)

		value = object[name]
	}

	return value
}

func text(t *testing.T, value any, path ...string) string {
	t.Helper()

	found, ok := at(t, value, path...).(string)
	require.True(t, ok, path)

	return found
}

func (d *desk) audit(objectID string) []ports.AuditEntry {
	d.t.Helper()

	entries, err := d.store.AuditOf(d.t.Context(), objectID)
	require.NoError(d.t, err)

	return entries
}

func TestInbox_ListsAndShows(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	require.Empty(t, d.ids("inbox", "list"), "an empty list, not null")

	d.park("evt_1", "pi_1", ports.ParkedUnknown)
	d.park("evt_2", "pi_2", ports.ParkedUnknown)
	d.run("inbox", "dismiss", "evt_2", "--reason", "a test of ours")

	require.Equal(t, []string{"evt_2", "evt_1"}, d.ids("inbox", "list"))
	require.Equal(t, []string{"evt_2"}, d.ids("inbox", "list", "--limit", "1"))
	require.Equal(t, []string{"evt_1"}, d.ids("inbox", "list", "--parked"))
	require.Equal(t, []string{"evt_1"}, d.ids("inbox", "list", "--outcome", "parked", "--type", "payment_intent.succeeded"))
	require.Equal(t, []string{"evt_2"}, d.ids("inbox", "list", "--outcome", "dismissed"))
	require.Equal(t, []string{"evt_2"}, d.ids("inbox", "list", "--object", "pi_2"))
	require.Empty(t, d.ids("inbox", "list", "--type", "charge.refunded"))
	require.Empty(t, d.ids("inbox", "list", "--parked", "--type", "charge.refunded"))
	d.fails("--outcome must be one of", "inbox", "list", "--outcome", "lost")
	d.fails("exclude each other", "inbox", "list", "--outcome", "stale", "--parked")
	d.fails("--limit must be from 1", "inbox", "list", "--limit", "0")

	listed := d.run("inbox", "list", "--parked")
	require.Contains(t, listed.stdout, "evt_1")
	require.Contains(t, listed.stdout, "unknown_payment")
	require.NotContains(t, listed.stdout, "evt_2")

	shown := d.object("inbox", "show", "evt_1")
	require.Equal(t, "payment_intent.succeeded", shown["type"])
	require.Equal(t, "unknown_payment", shown["parked_reason"])
	require.Equal(t, "pi_1", at(t, shown, "payload", "data", "object", "id"))
	require.Empty(t, shown["audit"])
	require.Contains(t, d.run("inbox", "show", "evt_1").stderr, "personal data")
	d.fails("there is no event evt_none", "inbox", "show", "evt_none")
}

func TestInbox_DismissAndReprocess(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	d.park("evt_1", "pi_1", ports.ParkedUnknown)

	d.fails(`required flag(s) "reason" not set`, "inbox", "dismiss", "evt_1")
	d.fails("A reason is needed", "inbox", "dismiss", "evt_1", "--reason", "  ")
	d.fails("there is no event evt_none", "inbox", "dismiss", "evt_none", "--reason", "judged")
	require.Empty(t, d.audit("evt_1"))

	require.Equal(t, "dismissed", d.object("inbox", "dismiss", "evt_1", "--reason", "of the old shop")["outcome"])
	require.Empty(t, d.ids("inbox", "list", "--parked"))

	entry := d.audit("evt_1")[0]
	require.Equal(t, "of the old shop", entry.Reason)
	require.Regexp(t, `^cli:[^@]+@.+`, entry.Actor)
	require.Equal(t, map[string]any{"outcome": "parked", "parked_reason": "unknown_payment"}, entry.Before)

	d.fails("is dismissed: only a parked one", "inbox", "dismiss", "evt_1", "--reason", "once more")
	d.fails("was dismissed by a person", "inbox", "reprocess", "evt_1")
	d.fails("there is no event evt_none", "inbox", "reprocess", "evt_none")

	undone := d.object("inbox", "reprocess", "evt_1", "--reason", "it is ours", "--actor", "jane")
	require.Equal(t, "parked", undone["outcome"])
	require.Equal(t, []string{"evt_1"}, d.ids("inbox", "list", "--parked"))
	require.Equal(t, "jane", d.audit("evt_1")[1].Actor)

	shown := d.object("inbox", "show", "evt_1")
	require.Len(t, shown["audit"], 2)
	require.Contains(t, d.run("inbox", "show", "evt_1").stdout, "it is ours")
	require.Contains(t, d.run("inbox", "reprocess", "evt_1").stdout, "evt_1: parked (unknown_payment)")
}

// Scripts of the first release go on for a while.
func TestEvents_IsTheInboxByItsOldName(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	d.park("evt_1", "pi_1", ports.ParkedUnknown)

	require.Equal(t, []string{"evt_1"}, d.ids("events", "list", "--parked"))
	require.Equal(t, "parked", d.object("events", "replay", "evt_1")["outcome"])
	require.Contains(t, d.run("events", "show", "evt_1").stderr, "use `marketflow inbox`")
	require.NotContains(t, program(t, nil, "--help").stdout, "\n  events")
}

func TestOperations_Close(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	id := d.giveUp("order_1")
	pending := d.ask("order_2", 24*time.Hour)

	require.Equal(t, []string{id, pending}, d.ids("operations", "list"))
	require.Equal(t, []string{id}, d.ids("operations", "list", "--needs-attention"))
	require.Equal(t, []string{pending}, d.ids("operations", "list", "--state", "pending"))
	require.Empty(t, d.ids("operations", "list", "--state", "finished"))
	d.fails("--state must be", "operations", "list", "--state", "lost")
	require.Contains(t, d.run("operations", "list").stdout, "nobody lists it")

	d.fails(`required flag(s) "reason" not set`, "operations", "close", id)
	d.fails("is not an id", "operations", "close", "order_1", "--reason", "gone")
	d.fails("there is no operation", "operations", "close", uuid.NewString(), "--reason", "gone")

	closed := d.object("operations", "close", id, "--reason", "the customer has gone")
	require.Equal(t, "finished", closed["state"])
	require.InDelta(t, http.StatusBadGateway, closed["response_status"], 0)
	require.Len(t, closed["audit"], 1)
	require.Equal(t, "the customer has gone", d.audit(id)[0].Reason)
	require.Equal(t, map[string]any{
		"state": "needs_attention", "attempts": 1.0, "last_error": "nobody lists it",
	}, d.audit(id)[0].Before)

	require.Zero(t, d.run("operations", "close", pending, "--reason", "a day old").code)
	d.fails("is finished: its answer, 502, stands for ever", "operations", "close", id, "--reason", "again")
	require.Equal(t, []string{pending, id}, d.ids("operations", "list", "--state", "finished"))

	// From now on the key is answered with the whole problem document.
	status, problem := d.create(d.serve(), `{"amount":10,"currency":"USD","idempotency_key":"order_1"}`)
	require.Equal(t, http.StatusBadGateway, status)
	require.Len(t, problem, 5)
	require.Contains(t, problem["type"], "problems.md#")
	require.NotEmpty(t, problem["title"])
	require.InDelta(t, http.StatusBadGateway, problem["status"], 0)
	require.Equal(t, "req-of-order_1", problem["request_id"])
	require.Contains(t, problem["detail"], "never made")
	require.Contains(t, problem["detail"], "new key")
}

func TestOperations_CloseIsRefused(t *testing.T) {
	t.Parallel()

	d := newDesk(t)

	young := d.ask("young", time.Hour)
	d.fails("recovery is still finding out", "operations", "close", young, "--reason", "too slow")
	d.fails("recovery is still finding out", "operations", "adopt", young, "--reason", "too slow")

	// Stripe has made an intent, long ago or just now.
	id := d.giveUp("order_1")
	intent := d.intent(id, 1000)
	d.fails("made "+intent+" for it. Adopt that instead: marketflow operations adopt "+id,
		"operations", "close", id, "--reason", "gone")
	require.Empty(t, d.audit(id))

	// Nobody knows while Stripe is away.
	other := d.giveUp("order_2")
	require.NoError(t, d.stripe.Close())
	d.fails("marketflow: ", "operations", "close", other, "--reason", "gone")
	require.Equal(t, "needs_attention", d.object("operations", "show", other)["state"])
	require.Empty(t, d.audit(other))
}

func TestOperations_Adopt(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	id := d.giveUp("order_1")

	d.fails("lists no intent for operation "+id, "operations", "adopt", id, "--reason", "found")
	d.fails("has no intent pi_none", "operations", "adopt", id, "--intent", "pi_none", "--reason", "found")

	strangers := d.intent(uuid.NewString(), 1000)
	d.fails("is of payment", "operations", "adopt", id, "--intent", strangers, "--reason", "found")

	unmarked := d.intent("", 1000)
	d.fails("is not ours", "operations", "adopt", id, "--intent", unmarked, "--reason", "found")

	larger := d.intent(id, 1100)
	d.fails("is for 11.00 USD and operation "+id+" asked for 10.00 USD", "operations", "adopt", id, "--reason", "found")
	require.Empty(t, d.audit(id))

	right := d.intent(id, 1000)
	d.fails("several intents", "operations", "adopt", id, "--reason", "found")

	adopted := d.object("operations", "adopt", id, "--intent", right, "--reason", "found in the dashboard")
	require.Equal(t, "finished", adopted["state"])
	require.InDelta(t, http.StatusCreated, adopted["response_status"], 0)
	require.Nil(t, adopted["response"], "it has the client's secret")
	require.Equal(t, right, d.audit(id)[0].After["stripe_payment_intent_id"])
	d.fails("is finished", "operations", "adopt", id, "--intent", larger, "--reason", "again")

	// The client that asks again gets its payment.
	status, created := d.create(d.serve(), `{"amount":10,"currency":"USD","idempotency_key":"order_1"}`)
	require.Equal(t, http.StatusCreated, status, created)
	require.Equal(t, id, created["id"])
	require.Equal(t, right, created["stripe_payment_intent_id"])
	require.NotEmpty(t, created["client_secret"])
}

func TestOperations_Show(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	id := d.giveUp("order 1")

	for _, args := range [][]string{{id}, {"--key", "order 1"}} {
		shown := d.object(append([]string{"operations", "show"}, args...)...)
		require.Equal(t, id, shown["id"])
		require.Equal(t, "create", shown["kind"])
		require.Equal(t, "order 1", shown["idempotency_key"])
		require.Equal(t, "nobody lists it", shown["last_error"])
		require.Nil(t, shown["retry_at"])
		require.Nil(t, shown["response_status"])
	}

	require.Contains(t, d.run("operations", "show", id).stdout, "needs_attention")
	d.fails("there is no operation under the key order 2", "operations", "show", "--key", "order 2")
	d.fails("there is no operation "+uuid.Nil.String(), "operations", "show", uuid.Nil.String())
	d.fails("an id is needed", "operations", "show")
	d.fails("not both", "operations", "show", id, "--key", "order 1")
}

func TestPayments_ShowTellsTheWholeStory(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	service := d.serve()
	d.stripe.AddWebhook(service+"/webhooks/stripe", testWebhookSecret)

	status, created := d.create(service, `{"amount":10,"currency":"USD","idempotency_key":"order_1"}`)
	require.Equal(t, http.StatusCreated, status)

	id, intent := text(t, created, "id"), text(t, created, "stripe_payment_intent_id")
	d.post(d.stripe.URL+"/v1/payment_intents/"+intent+"/confirm", "application/x-www-form-urlencoded",
		"payment_method=pm_card_visa&return_url=https://example.com/")
	require.Eventually(t, func() bool {
		p, err := d.store.Payment(t.Context(), uuid.MustParse(id))

		return err == nil && p.Status == payment.Succeeded
	}, 20*time.Second, 20*time.Millisecond)

	// The service applies no event by itself that contradicts its payment.
	d.park("evt_odd", intent, ports.ParkedContradiction)
	require.Zero(t, d.run("inbox", "dismiss", "evt_odd", "--reason", "seen twice").code)

	for _, args := range [][]string{{id}, {intent}, {"--key", "order_1"}} {
		story := d.object(append([]string{"payments", "show"}, args...)...)
		require.Equal(t, "succeeded", at(t, story, "payment", "status"))
		require.Equal(t, intent, at(t, story, "payment", "stripe_payment_intent_id"))
		require.Equal(t, "finished", at(t, story, "operation", "state"))
		requireStory(t, story["timeline"])
	}

	told := d.run("payments", "show", id).stdout
	for _, part := range []string{id, "pending → succeeded", "payment_intent.succeeded", "inbox.dismiss", "seen twice"} {
		require.Contains(t, told, part)
	}

	require.NotContains(t, told, "_secret_")

	d.fails("There is no payment and no operation "+uuid.Nil.String(), "payments", "show", uuid.Nil.String())
	d.fails("No payment here has the intent pi_none", "payments", "show", "pi_none")
	d.fails("No payment was ever asked for under this idempotency key", "payments", "show", "--key", "order_2")
	d.fails("is not an id", "payments", "show", "order_1")
}

// requireStory: everything is there, in time order, with the keys that it has in
// the API.
func requireStory(t *testing.T, told any) {
	t.Helper()

	timeline, ok := told.([]any)
	require.True(t, ok)

	seen := map[string]int{}
	last := ""

	for _, one := range timeline {
		require.Len(t, one, 7)

		moment, err := time.Parse(time.RFC3339Nano, text(t, one, "at"))
		require.NoError(t, err)

		stamp := moment.UTC().Format("2006-01-02T15:04:05.000000")
		require.GreaterOrEqual(t, stamp, last)

		last = stamp
		seen[text(t, one, "kind")]++
	}

	require.Equal(t, 2, seen["operation"], "asked for, and answered")
	require.Equal(t, 2, seen["transition"], "pending, and succeeded")
	require.GreaterOrEqual(t, seen["stripe_event"], 3)
	require.Equal(t, 1, seen["audit"])
}

// An operation of which no payment came has a story too.
func TestPayments_ShowWithoutAPayment(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	id := d.giveUp("order_1")
	require.Zero(t, d.run("operations", "close", id, "--reason", "gone").code)

	story := d.object("payments", "show", id)
	require.Nil(t, story["payment"])
	require.Equal(t, "finished", at(t, story, "operation", "state"))
	require.Len(t, story["timeline"], 3)
}

// What is asked for as JSON is one JSON value, and nothing else.
func TestProgram_AnswersInJSON(t *testing.T) {
	t.Parallel()

	d := newDesk(t)

	for _, args := range [][]string{
		{"version"}, {"migrate", "status"}, {"migrate", "up"}, {"inbox", "list"}, {"operations", "list"},
	} {
		d.json(args...)
	}

	d.fails("must be text or json", "inbox", "list", "-o", "yaml")
}
