package postgres_test

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// carried is what the release before has written about one request of 1000 USD.
type carried struct {
	// state is the word that it wrote.
	state  string
	status int
	body   string
	// payment is the status of the payment; empty: there is none.
	payment payment.Status
	id      uuid.UUID
}

// carriedRows are rows of every kind that the release before has written, by their keys.
func carriedRows() map[operation.Key]*carried {
	const created = "{\"client_secret\":\"pi_secret\",\n \"amount\":1000.00}\n"

	rows := map[operation.Key]*carried{
		"paid":      {state: "completed", status: 201, body: created, payment: payment.Succeeded},
		"open":      {state: "completed", status: 201, body: created, payment: payment.Pending},
		"declined":  {state: "completed", status: 201, body: created, payment: payment.Failed},
		"cancelled": {state: "completed", status: 201, body: created, payment: payment.Cancelled},
		"refused":   {state: "refused", status: 502, body: `{"title":"Rejected"}`},
		"rejected":  {state: "rejected"},
		"pending":   {state: "pending"},
		"half":      {state: "pending", payment: payment.Pending},
		"given up":  {state: "needs_attention"},
	}

	for key, row := range rows {
		row.id = uuid.NewSHA1(uuid.NameSpaceOID, []byte(key))
	}

	return rows
}

func (c *carried) intent() string { return "pi_" + c.id.String() }

// order is the request of the row as a client repeats it. Its ids and parameters are new.
func (c *carried) order(t *testing.T, key operation.Key) ports.NewOperation {
	t.Helper()

	order := newOrder(t, key)
	order.Order.Metadata = map[string]string{"cart": "7"}

	return order
}

// firstFingerprint is the fingerprint of that request, as the first release computed it.
func firstFingerprint() []byte {
	var form []byte

	for _, part := range []string{"v1", "USD"} {
		form = append(binary.BigEndian.AppendUint64(form, uint64(len(part))), part...)
	}

	form = binary.BigEndian.AppendUint64(form, 1000_00)

	for _, part := range []string{"cart", "7"} {
		form = append(binary.BigEndian.AppendUint64(form, uint64(len(part))), part...)
	}

	sum := sha256.Sum256(form)

	return sum[:]
}

// newCarried is a migrated database in which the release before has worked.
func newCarried(t *testing.T) (*pgtest.DB, map[operation.Key]*carried) {
	t.Helper()

	db := pgtest.NewEmpty(t)
	require.NoError(t, newMigratorOfBefore(t, db.URL).Up(t.Context()))

	rows := carriedRows()
	for key, row := range rows {
		insertCarried(t, db.Pool(), key, row)
	}

	_, err := db.Pool().Exec(t.Context(), `
		INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, created_at) VALUES
			('evt_parked', 'payment_intent.succeeded', $1, '{}', 'parked', 'unknown_payment', now()),
			('evt_wrong', 'payment_intent.succeeded', $2, '{}', 'parked', 'contradiction', now()),
			('evt_stale', 'payment_intent.created', $2, '{}', 'stale', NULL, NULL)`,
		rows["given up"].intent(), rows["open"].intent())
	require.NoError(t, err)

	tables := heaps(t, db.URL)
	require.NoError(t, postgres.Migrate(t.Context(), db.URL))
	require.Equal(t, tables, heaps(t, db.URL), "no table was rewritten")
	require.Equal(t, schema(t, pgtest.New(t).URL), schema(t, db.URL))

	return db, rows
}

// heaps are the files of the tables that requests use.
func heaps(t *testing.T, url string) []string {
	t.Helper()

	return lines(t, url, `SELECT pg_relation_filenode(oid)::text FROM pg_class
		WHERE relname IN ('payments', 'payment_requests', 'operations', 'stripe_events', 'payment_transitions') ORDER BY 1`)
}

func insertCarried(t *testing.T, pool *pgxpool.Pool, key operation.Key, row *carried) {
	t.Helper()

	var (
		status *int
		body   []byte
	)

	if row.status != 0 {
		status, body = &row.status, []byte(row.body)
	}

	_, err := pool.Exec(t.Context(), `
		INSERT INTO payment_requests (payment_id, idempotency_key, fingerprint, amount, currency, metadata, stripe_key,
				stripe_params, state, leased_until, retry_at, attempts, response_status, response_body, origin_request_id)
			VALUES ($1, $2, $3, 1000, 'USD', '{"cart": "7"}', $4, 'amount=100000', $5, 'now', 'now', 1, $6, $7, 'req_1')`,
		row.id, string(key), firstFingerprint(), "marketflow_payment_"+row.id.String(), row.state, status, body)
	require.NoError(t, err)

	if row.payment == "" {
		return
	}

	_, err = pool.Exec(t.Context(), `
		INSERT INTO payments (id, stripe_payment_intent_id, idempotency_key, amount, status, metadata)
			VALUES ($1, $2, $3, 1000, $4, '{"cart": "7"}')`, row.id, row.intent(), string(key), string(row.payment))
	require.NoError(t, err)

	_, err = pool.Exec(t.Context(), `
		INSERT INTO payment_transitions (payment_id, to_status, cause) VALUES ($1, $2, 'request')`, row.id, string(row.payment))
	require.NoError(t, err)
}

// Whatever the release before has written down is found, answered and finished as it would
// have been.
func TestMigrations_CarriedOperations(t *testing.T) {
	t.Parallel()

	db, rows := newCarried(t)
	store := newStore(newPool(t, db.URL, 2))

	states := map[string]operation.State{
		"completed": operation.Finished, "refused": operation.Finished, "rejected": operation.Rejected,
		"pending": operation.Pending, "needs_attention": operation.NeedsAttention,
	}

	for key, row := range rows {
		found, err := store.Find(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.Equal(t, ports.Operation{
			ID: row.id, Tenant: operation.DefaultTenant, Kind: operation.Create, Key: key, Order: row.order(t, key).Order,
			Fingerprint: row.order(t, key).Fingerprint(),
			Call: ports.Call{
				Key: "marketflow_payment_" + row.id.String(), Path: "/v1/payment_intents", Params: "amount=100000",
			},
			Origin: ports.Origin{RequestID: "req_1"}, State: states[row.state], Attempts: 1, Age: found.Age,
			Response: ports.FrozenResponse{Status: row.status, Body: found.Response.Body}, CreatedAt: found.CreatedAt,
		}, found)
		require.Equal(t, row.body, string(found.Response.Body), "the same bytes")

		byID, err := store.FindByID(t.Context(), row.id)
		require.NoError(t, err)
		require.Equal(t, found.Key, byID.Key)
	}

	listed, err := store.Operations(t.Context(), 0, []operation.State{operation.Finished}, 10)
	require.NoError(t, err)
	require.Len(t, listed, 5)

	backlog, err := store.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[operation.State]int64{operation.Pending: 2, operation.NeedsAttention: 1}, backlog.Operations)
	require.EqualValues(t, 2, backlog.Parked)

	// A request that comes again.
	for key, row := range rows {
		if row.state == "pending" {
			continue
		}

		again, err := store.Begin(t.Context(), row.order(t, key))
		require.NoError(t, err)
		require.False(t, again.Held())
		require.Equal(t, row.id, again.ID)
		require.Equal(t, row.body, string(again.Response.Body))
	}
}

func TestMigrations_CarriedOperationsGoOn(t *testing.T) {
	t.Parallel()

	db, rows := newCarried(t)
	store := newStore(newPool(t, db.URL, 2))

	completion := func(key operation.Key) ports.Completion {
		order := rows[key].order(t, key)
		order.ID = rows[key].id

		return completionFor(order)
	}

	// What is finished stands.
	stands, err := store.Finish(t.Context(), completion("paid"))
	require.NoError(t, err)
	require.False(t, stands.Created)
	require.Equal(t, rows["paid"].body, string(stands.Operation.Response.Body))

	no, err := store.FinishRejected(t.Context(), ports.Operation{ID: rows["refused"].id}, ports.FrozenResponse{Status: 502})
	require.NoError(t, err)
	require.Equal(t, rows["refused"].body, string(no.Response.Body))

	_, err = store.Finish(t.Context(), completion("refused"))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Empty(t, mustHistory(t, store, rows["refused"].id))

	second := completion("paid")
	second.Payment.IntentID = "pi_second"
	_, err = store.Finish(t.Context(), second)
	require.ErrorIs(t, err, ports.ErrContradiction)

	// What is not finished is.
	taken, err := store.Take(t.Context(), 10, ports.Lease{Token: uuid.New(), For: time.Hour})
	require.NoError(t, err)
	require.Len(t, taken, 2)

	for _, op := range taken {
		require.Equal(t, operation.Create, op.Kind)
		require.True(t, op.Held())
	}

	for _, key := range []operation.Key{"pending", "half", "given up"} {
		done, err := store.Finish(t.Context(), completion(key))
		require.NoError(t, err)
		require.Equal(t, rows[key].payment == "", done.Created)
		require.Equal(t, operation.Finished, done.Operation.State)
		require.Equal(t, key == "given up", done.Parked)
		require.Len(t, mustHistory(t, store, rows[key].id), 1)
	}

	reopened, err := store.Reopen(t.Context(), rows["rejected"].id, ports.Lease{Token: uuid.New(), For: time.Hour}, nil)
	require.NoError(t, err)
	require.True(t, reopened.Held())
	require.Equal(t, "amount=100000", reopened.Call.Params)
}

// A payment of the release before has NULL where its columns are missing.
func TestMigrations_CarriedPayments(t *testing.T) {
	t.Parallel()

	db, rows := newCarried(t)
	store := newStore(newPool(t, db.URL, 2))

	amount := newOrder(t, "").Order.Amount
	none := money.Of(0, amount.Currency())

	for key, row := range rows {
		if row.payment == "" {
			continue
		}

		p, err := store.Payment(t.Context(), row.id)
		require.NoError(t, err)

		want := payment.Payment{
			Tenant: operation.DefaultTenant,
			ID:     row.id, IntentID: row.intent(), Key: key, Amount: amount, Metadata: payment.Metadata{"cart": "7"},
			Status: row.payment, CaptureMethod: payment.CaptureAutomatic, Capturable: none, Captured: none,
			RefundPending: none, Refunded: none, Disputed: none, Overdrawn: none, Version: 1,
			CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
		}
		if row.payment == payment.Succeeded {
			want.Captured = amount.Money()
		}

		require.Equal(t, want, p, key)

		byIntent, err := store.PaymentsByIntent(t.Context(), []string{row.intent()})
		require.NoError(t, err)
		require.Equal(t, want, byIntent[row.intent()])
	}

	requireEventsOfCarried(t, store, rows)
	requireCancelOfCarried(t, store, rows["half"])
}

// requireEventsOfCarried: it is not known where such a payment stands, so a decline is a
// hint, and a step leads forward.
func requireEventsOfCarried(t *testing.T, store *postgres.Store, rows map[operation.Key]*carried) {
	t.Helper()

	event := func(key operation.Key, id string, change payment.Status) ports.Event {
		e := eventFor(ports.NewOperation{ID: rows[key].id, Order: newOrder(t, "").Order}, change)
		e.ID = id

		return e
	}
	step := event("open", "evt_1", "")
	step.Intent.IntentStatus = payment.IntentProcessing

	for _, one := range []struct {
		event   ports.Event
		outcome ports.EventOutcome
	}{
		{event("half", "evt_2", payment.Failed), ports.EventHint},
		{step, ports.EventApplied},
		{event("open", "evt_3", payment.Failed), ports.EventHint},
		{event("open", "evt_4", payment.Succeeded), ports.EventApplied},
		{event("paid", "evt_5", payment.Succeeded), ports.EventStale},
		{event("paid", "evt_6", payment.Cancelled), ports.EventParked},
		{event("cancelled", "evt_7", payment.Cancelled), ports.EventStale},
		{event("declined", "evt_8", payment.Succeeded), ports.EventApplied},
	} {
		applied, err := store.Apply(t.Context(), one.event)
		require.NoError(t, err)
		require.Equal(t, one.outcome, applied.Outcome, one.event.ID)
		require.Equal(t, "req_1", applied.Origin.RequestID)
	}

	for key, count := range map[operation.Key]int{"open": 2, "declined": 2, "paid": 1, "half": 1} {
		require.Len(t, mustHistory(t, store, rows[key].id), count)
	}

	p, err := store.Payment(t.Context(), rows["open"].id)
	require.NoError(t, err)
	require.Equal(t, p.Amount.Money(), p.Captured)
	require.Greater(t, p.Version, int64(1))
}

func requireCancelOfCarried(t *testing.T, store *postgres.Store, row *carried) {
	t.Helper()

	loaded, err := store.Payment(t.Context(), row.id)
	require.NoError(t, err)

	loaded.IntentStatus = payment.IntentRequiresPaymentMethod
	written, err := store.Write(t.Context(), ports.FullPayment{Payment: loaded}, nil, ports.EventStale, "recovery")
	require.NoError(t, err)
	require.True(t, written)

	cancel := newCancel(t, ports.NewOperation{ID: row.id}, "cancel of a carried one")
	mustBegin(t, store, cancel)

	done, err := store.FinishOn(t.Context(), cancel.ID, "request", ports.Change{Decide: cancelling})
	require.NoError(t, err)
	require.Equal(t, payment.Cancelled, done.After.Status)
	require.Len(t, mustHistory(t, store, row.id), 2)
}

// The release before can be gone back to. What it does not know is lost, and the rest is as
// it would have written it.
func TestMigrations_CarriedRowsGoBack(t *testing.T) {
	t.Parallel()

	db, rows := newCarried(t)
	store := newStore(newPool(t, db.URL, 2))

	paid, refused := newOrder(t, "paid by this release"), newOrder(t, "refused by this release")
	mustBegin(t, store, paid)
	mustFinish(t, store, paid)
	mustBegin(t, store, newCancel(t, paid, "a cancel"))
	mustBegin(t, store, refused)

	_, err := store.FinishRejected(t.Context(), asked(refused), ports.FrozenResponse{Status: 502})
	require.NoError(t, err)

	unhandled := eventFor(paid, "")
	unhandled.Handled = false
	_, err = store.Apply(t.Context(), unhandled)
	require.NoError(t, err)

	m := newMigrator(t, db.URL)
	downTo(t, m, "00014_rename_payment_requests.sql")

	same := pgtest.NewEmpty(t).URL
	require.NoError(t, newMigratorOfBefore(t, same).Up(t.Context()))
	require.Equal(t, withoutComments(schema(t, same)), withoutComments(schema(t, db.URL)))

	want := append(make([]string, 0, len(rows)+2), paid.ID.String()+" completed", refused.ID.String()+" refused")
	for _, row := range rows {
		want = append(want, row.id.String()+" "+row.state)
	}

	require.ElementsMatch(t, want, lines(t, db.URL, "SELECT payment_id || ' ' || state FROM payment_requests"))
	require.Equal(t, []string{"ignored"}, lines(t, db.URL, "SELECT outcome FROM stripe_events WHERE id = '"+unhandled.ID+"'"))

	require.NoError(t, m.Up(t.Context()))

	store = newStore(newPool(t, db.URL, 2))
	for _, key := range []operation.Key{"paid", "refused", paid.Key, refused.Key} {
		found, err := store.Find(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.True(t, found.Finished())
	}
}

func withoutComments(schema []string) []string {
	return slices.DeleteFunc(schema, func(line string) bool { return strings.HasPrefix(line, "comment ") })
}

// A migration that others held up until its patience ended goes on where it stopped.
func TestMigrations_OperationsOfEveryKindInTwoTries(t *testing.T) {
	t.Parallel()

	db := pgtest.NewEmpty(t)
	require.NoError(t, newMigratorOfBefore(t, db.URL).Up(t.Context()))

	for _, table := range []string{"payment_requests", "payments", "stripe_events"} {
		m, err := postgres.NewMigratorOf(t.Context(), db.URL, filesWith(t, nil), time.Second)
		require.NoError(t, err)

		stopReading := lock(t, db, "SELECT count(*) FROM "+table)
		err = m.Up(t.Context())
		require.ErrorContains(t, err, "others have used the table", table)
		require.ErrorIs(t, m.Check(t.Context()), postgres.ErrBehind)
		stopReading()
		require.NoError(t, m.Close())
	}

	require.NoError(t, postgres.Migrate(t.Context(), db.URL))
	require.Equal(t, schema(t, pgtest.New(t).URL), schema(t, db.URL))
}

// The database itself holds the rules, whatever code of ours is wrong.
func TestMigrations_OperationsChecks(t *testing.T) {
	t.Parallel()

	pool := pgtest.New(t).Pool()
	insert := func(id, kind, subject, key, state string, response string) error {
		_, err := pool.Exec(t.Context(), `
			INSERT INTO operations (id, kind, subject, idempotency_key, fingerprint, stripe_key, stripe_path, stripe_params,
					state, leased_until, retry_at, response_status, response_body)
				VALUES (`+id+`, '`+kind+`', `+subject+`, `+key+`, sha256(''), '', '', '', '`+state+`', 'now', 'now', `+response+`)`)

		return err
	}

	const (
		one    = "'0190d5a5-7c1f-7000-8000-000000000001'"
		other  = "'0190d5a5-7c1f-7000-8000-000000000002'"
		fresh  = "gen_random_uuid()"
		nobody = "NULL, NULL"
	)

	require.NoError(t, insert(one, "create", "NULL", "'key'", "pending", nobody))
	require.NoError(t, insert(fresh, "capture", one, "NULL", "needs_attention", nobody))

	for name, err := range map[string]error{
		"a second operation at a time":     insert(fresh, "cancel", one, "NULL", "pending", nobody),
		"a key of another kind":            insert(fresh, "capture", other, "'key'", "pending", nobody),
		"a create of something":            insert(fresh, "create", other, "NULL", "pending", nobody),
		"a capture of nothing":             insert(fresh, "capture", "NULL", "NULL", "pending", nobody),
		"an unknown state":                 insert(fresh, "create", "NULL", "NULL", "done", nobody),
		"a finished one without an answer": insert(fresh, "create", "NULL", "NULL", "finished", nobody),
		"a pending one with an answer":     insert(fresh, "create", "NULL", "NULL", "pending", "200, ''"),
	} {
		require.Error(t, err, name)
	}

	require.NoError(t, insert(fresh, "cancel", other, "NULL", "pending", nobody))
	require.NoError(t, insert(fresh, "cancel", one, "NULL", "finished", "200, ''"))
	require.NoError(t, insert(fresh, "capture", one, "NULL", "rejected", nobody))
	require.NoError(t, insert(fresh, "create", "NULL", "NULL", "pending", nobody))
}
