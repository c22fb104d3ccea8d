package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// loadPayments fills the tables with payments from up to to, without to, as if
// each had been created through the API: claim, payment, first transition and
// the event that confirmed it. They are pending, so that an event can move each
// of them once.
func loadPayments(ctx context.Context, db *pgxpool.Pool, from, to uint64) error {
	for _, form := range []string{
		`INSERT INTO payments (id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at)
		 SELECT {ID}, {INTENT}, 'order_' || n, 1000.00, 'USD', 'pending', jsonb_build_object('order', 'order_' || n), {AT}, {AT}`,
		`INSERT INTO payment_requests (payment_id, idempotency_key, fingerprint, amount, currency, metadata, stripe_key, stripe_params,
		     state, leased_until, retry_at, response_status, response_body, created_at, updated_at)
		 SELECT {ID}, 'order_' || n, '\x` + strings.Repeat("00", 32) + `', 1000.00, 'USD', jsonb_build_object('order', 'order_' || n),
		     'marketflow_payment_' || {ID}, 'amount=100000&currency=usd', 'completed', {AT}, {AT}, 201,
		     convert_to('{"id":"' || {ID} || '","stripe_payment_intent_id":"' || {INTENT} || '"}', 'UTF8'), {AT}, {AT}`,
		`INSERT INTO payment_transitions (payment_id, to_status, cause, at) SELECT {ID}, 'pending', 'request', {AT}`,
		`INSERT INTO stripe_events (id, type, object_id, payload, outcome, created_at, received_at)
		 SELECT 'evt_loaded' || lpad(n::text, 16, '0'), 'payment_intent.created', {INTENT}, '{}', 'stale', {AT}, {AT}`,
	} {
		statement := strings.NewReplacer(
			"{ID}", `('01990000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid`,
			"{INTENT}", `('pi_' || lpad(n::text, 24, '0'))`,
			"{AT}", `(timestamptz '2026-01-01' + n * interval '1 millisecond')`,
		).Replace(form) + ` FROM generate_series($1::bigint, $2::bigint - 1) AS n`

		if _, err := db.Exec(ctx, statement, int64(from), int64(to)); err != nil { //nolint:gosec // millions at most
			return fmt.Errorf("loading payments: %w", err)
		}
	}

	for _, statement := range []string{"VACUUM (ANALYZE, FREEZE) payments, payment_requests, payment_transitions, stripe_events", "CHECKPOINT"} {
		if _, err := db.Exec(ctx, statement); err != nil {
			return fmt.Errorf("settling the loaded payments: %w", err)
		}
	}

	return nil
}
