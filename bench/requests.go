package main

import (
	"crypto/hmac"
	"crypto/sha256"
	_ "embed" // the event's form
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
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

// paymentID is the n-th bulk-loaded payment's, rising like a UUIDv7's.
func paymentID(n uint64) string { return fmt.Sprintf("01990000-0000-7000-8000-%012x", n) }

// intentID is the n-th bulk-loaded payment's, as long as Stripe's.
func intentID(n uint64) string { return fmt.Sprintf("pi_%024d", n) }

// event is the body that says that payment n has succeeded.
func event(id string, n uint64, at time.Time) string {
	return strings.NewReplacer("{EVENT}", id, "{INTENT}", intentID(n), "{PAYMENT}", paymentID(n),
		"{CREATED}", strconv.FormatInt(at.Unix(), 10)).Replace(eventForm)
}

// webhooks are distinct signed events, each for a payment of its own.
func webhooks(run string) requests {
	return func(buf []byte, n uint64) []byte {
		now := time.Now()
		body := event(fmt.Sprintf("evt_%s%016d", run, n), n, now)
		at := strconv.FormatInt(now.Unix(), 10)

		mac := hmac.New(sha256.New, []byte(webhookSecret))
		mac.Write([]byte(at + "." + body))

		signature := "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))

		return post(buf, "/webhooks/stripe", "Stripe-Signature: "+signature+"\r\n", body)
	}
}

// creates are payments with a key each.
func creates(run uint64) requests {
	return createsWith(run, func(uint64) string { return "" })
}

// tracedCreates are payments in a trace of their own, whose id is traceOf(run, n).
func tracedCreates(run uint64) requests {
	return createsWith(run, func(n uint64) string {
		return fmt.Sprintf("traceparent: 00-%s-%016x-01\r\n", traceOf(run, n), n+1)
	})
}

func createsWith(run uint64, header func(n uint64) string) requests {
	return func(buf []byte, n uint64) []byte {
		body := fmt.Sprintf(`{"amount":1000.00,"currency":"USD","idempotency_key":"order_%x_%d",`+
			`"metadata":{"order":"order_%d"}}`, run, n, n)

		return post(buf, "/payments", header(n), body)
	}
}

func traceOf(run, n uint64) string { return fmt.Sprintf("%016x%016x", run, n+1) }

// replays repeat the requests of creates with numbers below keys.
func replays(run, keys uint64) requests {
	form := creates(run)

	return func(buf []byte, n uint64) []byte { return form(buf, n%keys) }
}

// reads are of payments below count, in no order.
func reads(count uint64) requests {
	return func(buf []byte, _ uint64) []byte {
		n := rand.Uint64N(count)

		return fmt.Appendf(buf, "GET /payments/%s HTTP/1.1\r\nHost: bench\r\n\r\n", paymentID(n))
	}
}

// mixed is 70 reads, 20 creates and 10 webhooks of a hundred.
func mixed(read, create, webhook requests) requests {
	return func(buf []byte, n uint64) []byte {
		switch share := n % 10; {
		case share < 7:
			return read(buf, n)
		case share < 9:
			return create(buf, n)
		default:
			return webhook(buf, n)
		}
	}
}

func post(buf []byte, path, header, body string) []byte {
	return fmt.Appendf(buf, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		path, header, len(body), body)
}

func isOK(status int) bool { return status >= http.StatusOK && status < http.StatusMultipleChoices }
