package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const pageSize = 20

// newPages are requests for one page of a list.
func newPages(query string) *stream {
	request := fmt.Sprintf("GET /payments?limit=%d&%s HTTP/1.1\r\nHost: bench\r\n\r\n", pageSize, query)

	return &stream{form: func(buf []byte, _ uint64) []byte { return append(buf, request...) }}
}

// deepPage is a page of payments from before a time, by the cursor of the page before it.
func deepPage(ctx context.Context, of *service, before time.Time) *stream {
	var page struct {
		Cursor string `json:"next_cursor"`
	}

	query := "created[lt]=" + before.Format(time.RFC3339Nano)
	body := must(fetch(ctx, http.MethodGet, fmt.Sprintf("http://%s/payments?limit=%d&%s", of.addr, pageSize, query), ""))
	check(json.Unmarshal([]byte(body), &page))

	return newPages(query + "&cursor=" + page.Cursor)
}

// whileCreating runs a workload while payments are created at a constant rate, and reports how
// long those took.
func (s *suite) whileCreating(ctx context.Context, of *service, do func()) {
	const rate = 100

	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)

	var seconds []sample

	creates := &load{
		row:  row{title: "creates beside these lists", connections: 8, rate: rate, stream: newCreates(false)},
		addr: of.addr, lasts: time.Second,
	}

	go func() {
		for ctx.Err() == nil {
			one, _, err := creates.run(ctx)
			if err != nil && ctx.Err() == nil {
				ended <- err

				return
			}

			if ctx.Err() == nil {
				seconds = append(seconds, one)
			}
		}

		ended <- nil
	}()

	do()
	stop()
	check(<-ended)

	s.report.results = append(s.report.results, result{row: creates.row, subject: medians(seconds)})
}

// lists holds page 100,000 against page 1 of two million payments (a tenth of that in the
// quick run) while payments are created. As Stripe's, their times are whole seconds; a
// hundred have the same.
func (s *suite) lists(ctx context.Context) {
	const inOneSecond = 100

	payments := s.listed
	after := payments - payments/20
	of := s.serveNew(ctx, "bench_lists", 0)
	at := fmt.Sprintf("(timestamptz '2026-01-01 00:00:00+00' + n / %d * interval '1 second')", inOneSecond)

	s.sayf("loading %d payments to list", payments)
	check(loadTable(ctx, of.db, "payments", strings.ReplaceAll(loaded()["payments"], "{AT}", at), payments))

	s.pages(ctx, of, payments, after, loadedAt(0).Add(time.Duration(payments-after)/inOneSecond*time.Second))
}

// pages holds the page after so many payments, which are the ones before that time, against
// the first one.
func (s *suite) pages(ctx context.Context, of *service, payments, after uint64, before time.Time) {
	first := row{title: fmt.Sprintf("page 1 of %d payments", payments), connections: 2, stream: newPages("")}
	deep := first
	deep.title = fmt.Sprintf("page %d of %d payments", after/pageSize, payments)
	deep.stream, deep.floor, deep.aim = deepPage(ctx, of, before), "page 1", 0.67

	s.whileCreating(ctx, of, func() {
		s.duel(deep, s.under(ctx, deep, of), s.under(ctx, first, of))
		s.alone(first, s.under(ctx, first, of))

		// The oldest of all is looked for.
		sparse := row{title: "one short page of a rare filter", connections: 1, stream: newPages("intent_status=canceled")}
		s.alone(sparse, s.under(ctx, sparse, of))
	})
}

// metadata holds a service that indexes the metadata of its payments against one that does
// not, on the same database.
func (s *suite) metadata(ctx context.Context) {
	s.withMetadata(ctx, s.main, s.events, "")
}

func (s *suite) withMetadata(ctx context.Context, of *service, events *stream, title string) {
	indexed := s.serve(ctx, of.url, "METADATA_INDEX=order")

	for _, r := range []row{
		{title: "creates with indexed metadata", connections: 16, stream: newCreates(false)},
		{title: "webhooks with indexed metadata", connections: 16, stream: events},
	} {
		r.title, r.floor, r.aim = r.title+title, "not indexed", 0.9
		s.duel(r, s.under(ctx, r, indexed), s.under(ctx, r, of))
	}
}
