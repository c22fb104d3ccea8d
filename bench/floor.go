package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The bare handlers that reads and replays are held against. They run in a
// process of their own, as the service does.
const (
	floorReads   = "reads"
	floorReplays = "replays"
)

var errFloor = errors.New("no such floor")

// serveFloor serves until its standard input ends, and prints where.
func serveFloor(ctx context.Context, name string) error {
	var handler http.Handler

	switch name {
	case floorReads:
		db, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
		if err != nil {
			return fmt.Errorf("opening the pool: %w", err)
		}
		defer db.Close()

		get, err := readStatement("GetPayment")
		if err != nil {
			return err
		}

		handler = bareRead(db, get.text)
	case floorUnobserved:
		return serveUnobserved(ctx)
	case floorReplays:
		handler = http.HandlerFunc(bareReplay)
	default:
		return fmt.Errorf("%w: %s", errFloor, name)
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}

	fmt.Println(listener.Addr())

	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}

	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()

	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}

	return nil
}

// bareReplay reads a body and answers bytes that it has, as long as a replay's.
func bareReplay(w http.ResponseWriter, r *http.Request) {
	const body = `{"id":"01990000-0000-7000-8000-000000000000","stripe_payment_intent_id":"pi_000000000000000000000000",` +
		`"client_secret":"pi_000000000000000000000000_secret_0000000000000000000000000","amount":1000.00,` +
		`"currency":"USD","status":"pending","created_at":"2026-01-15T10:30:00.123456Z"}`

	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, body) // where the client has gone nobody is left to tell
}

// bareRead runs the service's own statement and renders the row.
func bareRead(db *pgxpool.Pool, text string) http.HandlerFunc {
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
	}

	return func(w http.ResponseWriter, r *http.Request) {
		var p payment

		err := db.QueryRow(r.Context(), text, strings.TrimPrefix(r.URL.Path, "/payments/")).
			Scan(&p.ID, &p.IntentID, &p.Key, &p.Amount, &p.Currency, &p.Status, &p.Metadata, &p.CreatedAt, &p.UpdatedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			w.WriteHeader(http.StatusNotFound)

			return
		}

		form, encodeErr := json.Marshal(p)
		if err := errors.Join(err, encodeErr); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)

			return
		}

		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(form)
	}
}
