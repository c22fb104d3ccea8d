package main

import (
	"crypto/hmac"
	"crypto/sha256"
	_ "embed" // the event's form
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	webhookSecret = "whsec_BenchBenchBenchBenchBenchBenchBench"
	secretKey     = "sk_test_51BenchBenchBenchBench"
)

// eventForm is a payment_intent.succeeded as the sandbox sends it, with places
// for what differs from one to the next.
//
//go:embed event.json
var eventForm string

// stream is an endless series of requests.
type stream struct {
	run  uint64        // keeps one stream's keys and traces apart from another's
	keys uint64        // how many there are, where requests repeat them
	next atomic.Uint64 // number
	form func(buf []byte, n uint64) []byte
}

// trace is the id of the n-th request's trace.
func (s *stream) trace(n uint64) string { return fmt.Sprintf("%016x%016x", s.run, n+1) }

// paymentID is the n-th bulk-loaded payment's, rising like a UUIDv7's.
func paymentID(n uint64) string { return fmt.Sprintf("01990000-0000-7000-8000-%012x", n) }

// event is the body that says that payment n has succeeded.
func event(id string, n uint64, at time.Time) string {
	return strings.NewReplacer("{EVENT}", id, "{INTENT}", fmt.Sprintf("pi_%024d", n), "{PAYMENT}", paymentID(n),
		"{CREATED}", strconv.FormatInt(at.Unix(), 10)).Replace(eventForm)
}

// newWebhooks are distinct signed events, each for a payment of its own.
func newWebhooks(run string) *stream {
	return &stream{form: func(buf []byte, n uint64) []byte {
		now := time.Now()
		body := event(fmt.Sprintf("evt_%s%016d", run, n), n, now)
		at := strconv.FormatInt(now.Unix(), 10)

		mac := hmac.New(sha256.New, []byte(webhookSecret))
		mac.Write([]byte(at + "." + body))

		signature := "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))

		return post(buf, "/webhooks/stripe", "Stripe-Signature: "+signature+"\r\n", body)
	}}
}

// newCreates are payments with a key each, and where traced, in a trace each.
func newCreates(traced bool) *stream {
	s := &stream{run: rand.Uint64() | 1}
	s.form = func(buf []byte, n uint64) []byte {
		header := ""
		if traced {
			header = fmt.Sprintf("traceparent: 00-%s-%016x-01\r\n", s.trace(n), n+1)
		}

		return post(buf, "/payments", header, fmt.Sprintf(
			`{"amount":1000.00,"currency":"USD","idempotency_key":"order_%x_%d","metadata":{"order":"order_%d"}}`, s.run, n, n))
	}

	return s
}

// newReplays are creates with so many keys, over and over.
func newReplays(keys uint64) *stream {
	creates := newCreates(false)

	return &stream{keys: keys, form: func(buf []byte, n uint64) []byte { return creates.form(buf, n%keys) }}
}

// newReads are of payments below count, in no order.
func newReads(count uint64) *stream {
	return &stream{form: func(buf []byte, _ uint64) []byte {
		return fmt.Appendf(buf, "GET /payments/%s HTTP/1.1\r\nHost: bench\r\n\r\n", paymentID(rand.Uint64N(count)))
	}}
}

// newPaid are payments that the backend confirms with a card as it makes them.
func newPaid() *stream {
	s := &stream{run: rand.Uint64() | 1}
	s.form = func(buf []byte, n uint64) []byte {
		return post(buf, "/payments", "", fmt.Sprintf(`{"amount":1000.00,"currency":"USD","idempotency_key":"paid_%x_%d",`+
			`"payment_method":"pm_card_visa","confirm":true,"description":"order %d"}`, s.run, n, n))
	}

	return s
}

// newMixed is, of a hundred, 60 reads, 10 first pages, 10 creates, 10 that are paid at once, and
// 10 webhooks.
func newMixed(read, page, create, paid, webhook *stream) *stream {
	return &stream{form: func(buf []byte, n uint64) []byte {
		switch n % 10 {
		case 0:
			return page.form(buf, n)
		case 1:
			return create.form(buf, n)
		case 2:
			return paid.form(buf, n)
		case 3:
			return webhook.form(buf, webhook.next.Add(1)-1)
		default:
			return read.form(buf, n)
		}
	}}
}

func post(buf []byte, path, header, body string) []byte {
	return fmt.Appendf(buf, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		path, header, len(body), body)
}
