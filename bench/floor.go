package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
)

// The floors that are programs of ours. Each runs in a process of its own, as the
// service does: this program, started with -floor.
const (
	floorReads      = "reads"
	floorReplays    = "replays"
	floorUnobserved = "unobserved"
)

// replayBody is as long as what a create answers.
const replayBody = `{"id":"01990000-0000-7000-8000-000000000000","stripe_payment_intent_id":"pi_000000000000000000000000",` +
	`"client_secret":"pi_000000000000000000000000_secret_0000000000000000000000000","amount":1000.00,` +
	`"currency":"USD","status":"pending","created_at":"2026-01-15T10:30:00.123456Z"}`

// unobserved starts the service without telemetry.
func (s *suite) unobserved(ctx context.Context) *service {
	return s.serveBy(ctx, s.main.url, []string{must(os.Executable()), "-floor", floorUnobserved},
		"OTEL_SDK_DISABLED=true", "GOGC=400", "GOMEMLIMIT=96MiB") // the last two as cmd/marketflow sets them
}

// serveFloor serves at HTTP_ADDR until ctx is done.
func serveFloor(ctx context.Context, name string) error {
	if name == floorUnobserved {
		return unobservedService(ctx)
	}

	db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("opening the pool: %w", err)
	}
	defer db.Close()

	handler := bareRead(db)
	if name == floorReplays {
		handler = bareReplay
	}

	server := &http.Server{
		Addr: os.Getenv("HTTP_ADDR"), ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != readyPath {
				handler(w, r)
			}
		}),
	}

	defer context.AfterFunc(ctx, func() { _ = server.Close() })()

	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}

	return nil
}

// bareReplay reads a body and answers fixed bytes.
func bareReplay(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, replayBody) // fails only where the client has gone
}

const readOne = `SELECT id, stripe_payment_intent_id, idempotency_key, amount, currency, status, metadata, created_at, updated_at,
	tenant, capture_method, intent_status, amount_capturable, amount_captured, capture_before, declined, version
FROM payments
WHERE id = $1`

// bareRead reads a payment and renders it as the service does.
func bareRead(db *pgxpool.Pool) http.HandlerFunc {
	type payment struct {
		ID        string          `json:"id"`
		IntentID  string          `json:"stripe_payment_intent_id"`
		Key       *string         `json:"idempotency_key"`
		Amount    pgtype.Numeric  `json:"amount"`
		Currency  string          `json:"currency"`
		Status    string          `json:"status"`
		Metadata  json.RawMessage `json:"metadata"`
		CreatedAt time.Time       `json:"created_at"`
		UpdatedAt time.Time       `json:"updated_at"`

		Tenant        int32          `json:"-"`
		CaptureMethod string         `json:"capture_method"`
		IntentStatus  *string        `json:"intent_status"`
		Capturable    pgtype.Numeric `json:"amount_capturable"`
		Captured      pgtype.Numeric `json:"amount_captured"`
		CaptureBefore *time.Time     `json:"capture_before"`
		Declined      bool           `json:"-"`
		Version       int64          `json:"version"`
	}

	return func(w http.ResponseWriter, r *http.Request) {
		var p payment

		err := db.QueryRow(r.Context(), readOne, strings.TrimPrefix(r.URL.Path, "/payments/")).
			Scan(&p.ID, &p.IntentID, &p.Key, &p.Amount, &p.Currency, &p.Status, &p.Metadata, &p.CreatedAt, &p.UpdatedAt,
				&p.Tenant, &p.CaptureMethod, &p.IntentStatus, &p.Capturable, &p.Captured, &p.CaptureBefore, &p.Declined, &p.Version)

		form, encodeErr := json.Marshal(p)
		if err := errors.Join(err, encodeErr); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)

			return
		}

		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(form)
	}
}

// unobservedService is `marketflow serve` with observers that do
// nothing. What stays is a counter of the caches' hits, those of calls to
// Stripe, which are not weighed, and /metrics itself.
func unobservedService(ctx context.Context) error {
	settings, err := config.Load()
	if err != nil {
		return err
	}

	service, err := bootstrap.Start(ctx, settings, "unobserved",
		bootstrap.With[bootstrap.Observer](silent{}), bootstrap.With[edge.Observer](silent{}))
	if err != nil {
		return err
	}

	return service.Wait(ctx)
}
