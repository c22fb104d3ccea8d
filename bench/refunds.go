package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
)

var errNotPaid = errors.New("a payment that is to be refunded was not paid")

// refunds holds refunds against creates. Each gives back one of a thousand, of many payments in turn,
// so that no two that are under way are of one payment, and a payment has two refunds or three in the
// end: each refund reads those that its payment has.
func (s *suite) refunds(ctx context.Context) {
	const connections = 16

	paid := 10_000
	if s.quick {
		paid = 3000
	}

	r := row{
		title: "refunds, no provider latency, 16", connections: connections, stream: newRefunds(s.pay(ctx, paid)),
		floor: "creates", aim: 0.83, // a refund costs at most 1.2 creates
	}
	creates := row{title: "creates", connections: connections, stream: newCreates(false)}

	s.duel(r, s.under(ctx, r, s.main), s.under(ctx, creates, s.main))
}

// pay makes payments that are paid, and returns their ids.
func (s *suite) pay(ctx context.Context, count int) []string {
	const atOnce = 32

	ids, run := make([]string, count), rand.Uint64()

	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)

	for n := range ids {
		group.Go(func() error {
			request, err := http.NewRequestWithContext(groupCtx, http.MethodPost, "http://"+s.main.addr+"/payments",
				strings.NewReader(fmt.Sprintf(`{"amount":1000.00,"currency":"USD","payment_method":"pm_card_visa",`+
					`"confirm":true,"idempotency_key":"to_refund_%x_%d"}`, run, n)))
			if err != nil {
				return fmt.Errorf("making a request: %w", err)
			}

			request.Header.Set("Content-Type", "application/json")

			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return fmt.Errorf("paying: %w", err)
			}

			defer func() { _ = response.Body.Close() }()

			var made struct{ ID, Status string }
			if err := json.NewDecoder(response.Body).Decode(&made); err != nil || made.Status != "succeeded" {
				return fmt.Errorf("%w: answered %d, status %q: %w", errNotPaid, response.StatusCode, made.Status, err)
			}

			ids[n] = made.ID

			return nil
		})
	}

	check(group.Wait())

	return ids
}

// newRefunds are refunds of 1.00 with a key each, of the payments in turn.
func newRefunds(of []string) *stream {
	s := &stream{run: rand.Uint64() | 1}
	s.form = func(buf []byte, n uint64) []byte {
		return post(buf, "/payments/"+of[n%uint64(len(of))]+"/refunds", "",
			fmt.Sprintf(`{"amount":1.00,"idempotency_key":"refund_%x_%d","metadata":{"order":"order_%d"}}`, s.run, n, n))
	}

	return s
}
