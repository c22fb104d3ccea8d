package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// loaded are the tables as if each payment had been created through the API:
// payment, operation, first transition and the event that confirmed it. They are
// pending, so that an event can move each of them once.
func loaded() map[string]string {
	tables := loadedBefore()
	delete(tables, tableBefore)

	tables["payments"] = `(id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, intent_status,
				amount_capturable, amount_captured, created_at, updated_at)
			SELECT {ID}, {INTENT}, 'order_' || n, 1000.00, 'USD', 'pending', jsonb_build_object('order', 'order_' || n),
				'requires_payment_method', 0, 0, {AT}, {AT}`
	tables["operations"] = `(id, kind, idempotency_key, fingerprint, amount, currency, metadata, stripe_key, stripe_path,
				stripe_params, state, leased_until, retry_at, response_status, response_body, created_at, updated_at)
			SELECT {ID}, 'create', 'order_' || n, '\x` + strings.Repeat("00", 32) + `', 1000.00, 'USD',
				jsonb_build_object('order', 'order_' || n), 'mf_create_' || {ID}, '/v1/payment_intents', 'amount=100000&currency=usd',
				'finished', {AT}, {AT}, 201, convert_to('{"id":"' || {ID} || '"}', 'UTF8'), {AT}, {AT}`

	return tables
}

// loadedAt is when the n-th loaded payment was created.
func loadedAt(n uint64) time.Time {
	return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Millisecond)
}

// tableBefore is what operations was called in the release before.
const tableBefore = "payment_requests"

// loadedBefore are the tables of the release before.
func loadedBefore() map[string]string {
	return map[string]string{
		"payments": `(id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at)
			SELECT {ID}, {INTENT}, 'order_' || n, 1000.00, 'USD', 'pending', jsonb_build_object('order', 'order_' || n), {AT}, {AT}`,
		tableBefore: `(payment_id, idempotency_key, fingerprint, amount, currency, metadata, stripe_key, stripe_params,
				state, leased_until, retry_at, response_status, response_body, created_at, updated_at)
			SELECT {ID}, 'order_' || n, '\x` + strings.Repeat("00", 32) + `', 1000.00, 'USD',
				jsonb_build_object('order', 'order_' || n), 'marketflow_payment_' || {ID}, 'amount=100000&currency=usd',
				'completed', {AT}, {AT}, 201, convert_to('{"id":"' || {ID} || '"}', 'UTF8'), {AT}, {AT}`,
		"payment_transitions": `(payment_id, to_status, cause, at) SELECT {ID}, 'pending', 'request', {AT}`,
		"stripe_events": `(id, type, object_id, payload, outcome, created_at, received_at)
			SELECT 'evt_loaded' || lpad(n::text, 16, '0'), 'payment_intent.created', {INTENT}, '{}', 'stale', {AT}, {AT}`,
	}
}

// loadPayments fills empty tables with the payments below count. It drops their
// indexes meanwhile, because building them at the end is several times as fast.
func loadPayments(ctx context.Context, db *pgxpool.Pool, count uint64) {
	var old bool

	check(db.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", tableBefore).Scan(&old))

	tables := loaded()
	if old {
		tables = loadedBefore()
	}

	group, groupCtx := errgroup.WithContext(ctx)

	for table, form := range tables {
		group.Go(func() error { return loadTable(groupCtx, db, table, form, count) })
	}

	check(group.Wait())
	must(db.Exec(ctx, "CHECKPOINT"))
}

func loadTable(ctx context.Context, db *pgxpool.Pool, table, form string, count uint64) error {
	drop, restore, err := indexesOf(ctx, db, table)
	if err != nil {
		return err
	}

	insert := strings.NewReplacer(
		"{ID}", `('01990000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid`,
		"{INTENT}", `('pi_' || lpad(n::text, 24, '0'))`,
		"{AT}", `(timestamptz '2026-01-01 00:00:00+00' + n * interval '1 millisecond')`,
	).Replace(fmt.Sprintf("INSERT INTO %s %s FROM generate_series(0, %d::bigint - 1) AS n", table, form, count))

	for _, statement := range slices.Concat(drop, []string{insert}, restore, []string{"VACUUM (ANALYZE, FREEZE) " + table}) {
		if _, err := db.Exec(ctx, statement); err != nil {
			return fmt.Errorf("loading %s: %w", table, err)
		}
	}

	return nil
}

// indexesOf returns the statements that drop a table's indexes and make them again
// as they were.
func indexesOf(ctx context.Context, db *pgxpool.Pool, table string) (drop, restore []string, err error) {
	rows, err := db.Query(ctx, `
		SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', $1::text, conname),
		       format('ALTER TABLE %I ADD CONSTRAINT %I %s', $1::text, conname, pg_get_constraintdef(oid))
		FROM pg_constraint
		WHERE conrelid = $1::text::regclass AND contype IN ('p', 'u')
		UNION ALL
		SELECT format('DROP INDEX %I', indexname), indexdef
		FROM pg_indexes
		WHERE tablename = $1::text AND schemaname = 'public'
		  AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = $1::text::regclass)`, table)
	if err != nil {
		return nil, nil, err
	}

	var down, up string

	_, err = pgx.ForEachRow(rows, []any{&down, &up}, func() error {
		drop, restore = append(drop, down), append(restore, up)

		return nil
	})

	return drop, restore, err
}
