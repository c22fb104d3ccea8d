package sandbox

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// webhooks delivers events: concurrently, in no order, and again until the
// receiver says 2xx. Nothing here holds a lock while a request is under way.
type webhooks struct {
	account *account
	client  *http.Client
	ctx     context.Context //nolint:containedctx // lives as long as the sandbox; Close cancels it
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.RWMutex
	receivers []*receiver

	// gate is for closing alone: it is taken with a receiver locked, and mu
	// the other way round.
	gate   sync.RWMutex
	closed bool
}

// receiver is a registered webhook endpoint. It has a queue of its own, so that
// a slow one holds up nobody else.
type receiver struct {
	id string

	mu       sync.Mutex
	settings *webhookEndpoint
	removed  bool
	queue    []*delivery
	active   int
}

// now is the receiver's current version, and whether it is still registered.
func (r *receiver) now() (settings *webhookEndpoint, registered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.settings, !r.removed
}

// delivery is the sending of one event to one receiver, with all its attempts.
type delivery struct {
	event *event
	to    *receiver

	mu          sync.Mutex
	attempts    []Attempt
	deliveredAt time.Time
	nextAt      time.Time
}

func newWebhooks(s *account) *webhooks {
	ctx, cancel := context.WithCancel(context.Background())

	return &webhooks{
		account: s, ctx: ctx, cancel: cancel,
		client: &http.Client{
			Timeout: s.options.WebhookTimeout,
			Transport: &http.Transport{
				MaxIdleConnsPerHost: s.options.WebhookConcurrency,
				IdleConnTimeout:     time.Minute,
			},
			// Stripe counts a redirect as a failure.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (h *webhooks) close() {
	h.gate.Lock()
	h.closed = true
	h.gate.Unlock()

	h.cancel()
	h.running.Wait()
	h.client.CloseIdleConnections()
}

// register adds a receiver, or changes the one with its id.
func (h *webhooks) register(settings *webhookEndpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()

	for _, r := range h.receivers {
		if r.id == settings.ID {
			r.mu.Lock()
			r.settings = settings
			r.mu.Unlock()

			return
		}
	}

	// Copied, so that a reader may keep the slice it has.
	h.receivers = append(slices.Clip(h.receivers), &receiver{id: settings.ID, settings: settings})
}

// remove forgets a receiver; what is still to be sent to it is dropped.
func (h *webhooks) remove(r *receiver) {
	h.mu.Lock()
	defer h.mu.Unlock()

	r.mu.Lock()
	defer r.mu.Unlock()

	r.removed, r.queue = true, nil
	h.receivers = slices.DeleteFunc(slices.Clone(h.receivers), func(each *receiver) bool { return each == r })
}

func (h *webhooks) list() []*receiver {
	h.mu.RLock()
	defer h.mu.RUnlock()

	return h.receivers
}

// expect writes down who is to get an event: those who subscribed to its type.
func (h *webhooks) expect(e *event) {
	for r := range h.account.receivers() {
		if settings, _ := r.now(); settings.wants(e) {
			e.deliverTo(r)
		}
	}
}

// deliverTo returns the event's delivery to a receiver, made where there is none.
func (e *event) deliverTo(r *receiver) *delivery {
	e.mu.Lock()
	defer e.mu.Unlock()

	for _, d := range e.deliveries {
		if d.to == r {
			return d
		}
	}

	made := &delivery{event: e, to: r}
	e.deliveries = append(e.deliveries, made)
	e.pending.Add(1)

	return made
}

// receivers are the endpoints that an account's events may go to: its own and,
// where it is connected to a platform, those of the platform that ask for it. An
// endpoint of the platform's live mode hears of test mode as well (Stripe,
// "Connect webhooks").
func (s *account) receivers() iter.Seq[*receiver] {
	return func(yield func(*receiver) bool) {
		for _, r := range s.webhooks.list() {
			if settings, _ := r.now(); !settings.Connect && !yield(r) {
				return
			}
		}

		if s.platform == nil {
			return
		}

		of := []*account{s.platform}
		if !s.live {
			of = append(of, s.account(s.platform.id, true))
		}

		for _, platform := range of {
			for _, r := range platform.webhooks.list() {
				if settings, _ := r.now(); settings.Connect && !yield(r) {
					return
				}
			}
		}
	}
}

// hasReceiver tells whether one of the endpoints is as asked.
func (s *account) hasReceiver(is func(*webhookEndpoint) bool) bool {
	for r := range s.receivers() {
		if settings, _ := r.now(); !settings.Disabled && is(settings) {
			return true
		}
	}

	return false
}

// send starts a new event's deliveries, as far as no fault prevents it.
func (h *webhooks) send(e *event) {
	if !h.meddle(e) {
		h.sendNow(e)
	}
}

// sendNow starts an event's deliveries.
func (h *webhooks) sendNow(e *event) {
	for _, d := range e.sendings() {
		h.push(d)
	}
}

// push queues a delivery at its receiver and sees that somebody works there.
func (h *webhooks) push(d *delivery) {
	r := d.to

	r.mu.Lock()
	defer r.mu.Unlock()

	r.queue = append(r.queue, d)

	if r.active < h.account.options.WebhookConcurrency && h.goUnlessClosed(func() { h.work(r) }) {
		r.active++
	}
}

// goUnlessClosed runs a job that close waits for.
func (h *webhooks) goUnlessClosed(run func()) bool {
	h.gate.RLock()
	defer h.gate.RUnlock()

	if !h.closed {
		h.running.Go(run)
	}

	return !h.closed
}

// work delivers until the receiver's queue is empty.
func (h *webhooks) work(r *receiver) {
	for d := r.next(); d != nil; d = r.next() {
		h.attempt(d)
	}
}

func (r *receiver) next() *delivery {
	r.mu.Lock()
	defer r.mu.Unlock()

	if len(r.queue) == 0 {
		r.active--

		return nil
	}

	d := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]

	return d
}

// attempt posts once and plans the next attempt where that failed.
func (h *webhooks) attempt(d *delivery) {
	settings, registered := d.to.now()
	if h.ctx.Err() != nil || !registered || settings.Disabled {
		return
	}

	status, err := h.post(d, settings)
	if h.ctx.Err() != nil {
		return
	}

	retry, again := d.record(h.account.Sandbox, status, err)
	h.account.saveDelivery(d)

	if again {
		h.account.schedule.at(retry, func() { h.push(d) })
	}
}

// record writes an attempt down. It tells whether and when to try again.
func (d *delivery) record(s *Sandbox, status int, err error) (retry time.Time, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()

	now := s.clock.now()
	made := Attempt{At: now, Status: status}

	if err != nil {
		made.Error = err.Error()
	}

	d.attempts, d.nextAt = append(d.attempts, made), time.Time{}

	if err == nil && status >= http.StatusOK && status < http.StatusMultipleChoices {
		if d.deliveredAt.IsZero() {
			d.deliveredAt = now
			d.event.pending.Add(-1)
		}

		return time.Time{}, false
	}

	s.log.Info("webhook not accepted", "event", d.event.id, "type", d.event.kind, "endpoint", d.to.id, "status", status,
		"attempt", len(d.attempts), "error", made.Error)

	retry = now.Add(s.options.backoff(len(d.attempts)))
	if retry.Unix()-d.event.created > int64(s.options.WebhookGiveUp/time.Second) || !d.deliveredAt.IsZero() {
		return time.Time{}, false
	}

	d.nextAt = retry

	return retry, true
}

// post sends one attempt.
func (h *webhooks) post(d *delivery, to *webhookEndpoint) (status int, err error) {
	body, signature := forge(h.account.faults.forAttempt(d.event), d.event, to, h.account.options.Now())

	request, err := http.NewRequestWithContext(h.ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("making the webhook request: %w", err)
	}

	setDeliveryHeaders(request.Header, signature)

	// Where endpoints may be is checked when they are made. Whether gosec finds its
	// way here depends on how much other code there is.
	response, err := h.client.Do(request) //nolint:gosec,nolintlint // see above
	if err != nil {
		return 0, fmt.Errorf("posting the webhook: %w", err)
	}

	// Read to the end, within reason, so that the connection is used again.
	// What the body says, or that it breaks off, does not matter.
	_, _ = io.CopyN(io.Discard, response.Body, maxBody)
	_ = response.Body.Close()

	return response.StatusCode, nil
}

// Sign returns a Stripe-Signature header for a body: t=…,v1=…, the HMAC-SHA256
// of "t.body" under each secret in turn (Stripe, "Verify webhook signatures
// manually"). Two secrets are what a receiver sees while one is rolled over.
func Sign(body []byte, secret string, at time.Time, more ...string) string {
	stamp := strconv.FormatInt(at.Unix(), 10)

	var header strings.Builder

	header.WriteString("t=" + stamp)

	for _, key := range append([]string{secret}, more...) {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(stamp))
		mac.Write([]byte{'.'})
		mac.Write(body)
		header.WriteString(",v1=" + hex.EncodeToString(mac.Sum(nil)))
	}

	return header.String()
}
