package sandbox

import (
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// plan is what the rules have in store for one request: any number of waits and
// at most one fault.
type plan struct {
	waits []*rule
	fault *rule
}

// is tells whether the plan's fault has one of the actions.
func (p plan) is(actions ...Action) bool {
	return p.fault != nil && slices.Contains(actions, p.fault.Action)
}

// forRequest decides which rules act on a request. Where several faults apply,
// the oldest rule acts; all count the match.
func (s *Sandbox) forRequest(rq *request) plan {
	var decided plan

	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()

	for _, r := range s.faults.rules {
		if !r.meets(rq) || !r.due() {
			continue
		}

		switch {
		case r.Action == Latency, r.Action == LatencyAfter:
			decided.waits = append(decided.waits, r)
		case decided.fault == nil:
			decided.fault = r
		}
	}

	return decided
}

// meets tells whether a rule applies to a request.
func (r *rule) meets(rq *request) bool {
	if slices.Contains(webhookActions, r.Action) || (r.Method != "" && r.Method != rq.method) ||
		!matches(r.Path, rq.path) || (r.Key != "" && r.Key != rq.idempotencyKey) {
		return false
	}

	return len(r.Metadata) == 0 || rq.sentMetadata().matches(r.Metadata) || rq.namedMetadata().matches(r.Metadata)
}

// sentMetadata is the metadata in a request's parameters.
func (rq *request) sentMetadata() metadata {
	member := rq.params.form.find("metadata")
	if member == nil || member.nested == nil {
		return nil
	}

	sent := make(metadata, 0, len(member.nested.fields))
	for _, entry := range member.nested.fields {
		sent = append(sent, pair{Key: entry.name, Value: entry.value})
	}

	return sent
}

// namedMetadata is the metadata of the payment that the request's path names.
func (rq *request) namedMetadata() metadata {
	if _, refused := rq.route(); refused != nil || rq.objectID == "" || rq.account == nil {
		return nil
	}

	pay, ok := rq.account.books.payments.get(rq.objectID)
	if !ok {
		return nil
	}

	pay.mu.Lock()
	defer pay.mu.Unlock()

	return pay.intent.Metadata
}

// hung waits out a hang of the whole API. It tells whether there was one.
func (s *Sandbox) hung(r *http.Request) bool {
	s.faults.mu.Lock()
	over := s.faults.hang

	if over != nil {
		s.faults.caught++
	}

	s.faults.mu.Unlock()

	if over == nil {
		return false
	}

	select {
	case <-over:
	case <-r.Context().Done():
	case <-s.closing:
	}

	return true
}

// meddleBefore does what happens to a request instead of its execution. It
// returns nil where the request goes on.
func (s *Sandbox) meddleBefore(rq *request, r *http.Request) *reply {
	p := rq.plan

	switch {
	case p.is(DropBefore):
		s.faults.fire(p.fault)
		panic(http.ErrAbortHandler) // net/http closes the connection without a word
	case p.is(HangRequest):
		s.faults.fire(p.fault)

		select {
		case <-r.Context().Done():
		case <-s.closing:
		}

		panic(http.ErrAbortHandler)
	case p.is(HTMLBefore):
		s.faults.fire(p.fault)

		return &reply{status: http.StatusOK, fault: p.fault}
	case p.is(Error):
		s.faults.fire(p.fault)
		answer := rq.refuse(p.fault.refusal())

		return &answer
	default:
		return nil
	}
}

// meddleInstead is the answer that is kept under the key in the place of the
// execution's; nil where the request goes on.
func (s *account) meddleInstead(rq *request) *refusal {
	fault := rq.plan.fault

	switch {
	case rq.plan.is(Reject):
		s.faults.fire(fault)

		return fault.refusal()
	case rq.plan.is(RollForward):
		s.faults.fire(fault)
		s.rollForward(rq, fault.Delay)

		return saved500()
	default:
		return nil
	}
}

// rollForward executes a request after its answer has gone out.
func (s *account) rollForward(rq *request, delay time.Duration) {
	late := *rq
	late.plan = plan{}

	s.schedule.after(delay, func() { s.execute(&late, nil) })
}

// meddleAfter does what happens to the answer of an executed request.
func (s *Sandbox) meddleAfter(p plan, r *http.Request, answer *reply) {
	s.wait(p, LatencyAfter)

	switch {
	case p.is(Hold):
		released := s.faults.catch(p.fault)
		defer s.faults.letGo(p.fault)

		select {
		case <-released:
		case <-r.Context().Done():
		case <-s.closing:
		}
	case p.is(DropAfter):
		s.faults.fire(p.fault)
		panic(http.ErrAbortHandler)
	case p.is(ResetBody, Truncate, EmptyObject, HTML):
		s.faults.fire(p.fault)
		answer.fault = p.fault
	}
}

// holdBefore keeps a request from executing. The client may well be gone when
// it is released: Stripe, too, finishes what it has begun.
func (s *Sandbox) holdBefore(p plan) {
	s.wait(p, Latency)

	if !p.is(HoldBefore) {
		return
	}

	released := s.faults.catch(p.fault)
	defer s.faults.letGo(p.fault)

	select {
	case <-released:
	case <-s.closing:
	}
}

// wait sleeps what the latency rules say.
func (s *Sandbox) wait(p plan, when Action) {
	for _, r := range p.waits {
		if r.Action != when {
			continue
		}

		s.faults.fire(r)

		select {
		case <-time.After(logNormal(r.P50, r.P99)):
		case <-s.closing:
		}
	}
}

// logNormal draws from the log-normal distribution that has the given median
// and 99th percentile: the usual shape of a remote API's latency.
func logNormal(p50, p99 time.Duration) time.Duration {
	const z99 = 2.3263478740408408 // the standard normal's 99th percentile

	sigma := math.Log(float64(p99)/float64(p50)) / z99

	return time.Duration(float64(p50) * math.Exp(sigma*rand.NormFloat64())) //nolint:gosec // no secret
}

// refusal is the error that an Error rule answers.
func (f *Fault) refusal() *refusal {
	r := &refusal{
		status: f.Status, kind: typeInvalidRequest, code: f.Code, message: f.Message, shouldRetry: f.ShouldRetry,
	}

	switch f.Status {
	case http.StatusUnauthorized:
		r.message = "Invalid API Key provided: sk_test_****"
	case http.StatusConflict:
		r.code, r.message, r.shouldRetry = codeIdempotencyKeyInUse, "There is currently another in-progress request "+
			"using this Idempotent Key (that probably means you submitted twice, and the other request is still going "+
			"through). Please try again later.", textTrue
	case http.StatusFailedDependency:
		r.kind, r.message = typeAPI, "The request couldn't be completed due to a failure in a dependency external to Stripe."
	case http.StatusTooManyRequests:
		r.code, r.message = codeRateLimit, "Request rate limit exceeded. Learn more about rate limits here "+
			"https://stripe.com/docs/rate-limits."
	default:
		if f.Status >= http.StatusInternalServerError {
			r.kind, r.message = typeAPI, unknownError
		}
	}

	r.kind, r.code = orDefault(f.Type, r.kind), orDefault(f.Code, r.code)
	r.message, r.shouldRetry = orDefault(f.Message, r.message), orDefault(f.ShouldRetry, r.shouldRetry)

	return r
}

const unknownError = "An unknown error occurred"

// saved500 is the answer that hides an effect.
func saved500() *refusal {
	return &refusal{
		status: http.StatusInternalServerError, kind: typeAPI, message: unknownError, executed: true,
	}
}

const htmlPage = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>" +
	"</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"

// spoil writes an answer the way the fault wants it.
func (s *Sandbox) spoil(w http.ResponseWriter, fault *rule, body []byte) {
	half := len(body) / 2 //nolint:mnd // any cut in mid-body will do

	switch fault.Action {
	case EmptyObject:
		s.send(w, http.StatusOK, []byte("{}\n"))
	case Truncate:
		s.send(w, http.StatusOK, body[:half])
	case HTML, HTMLBefore:
		header := w.Header()
		header.Set("Content-Type", "text/html")
		header.Del("Request-Id") // the proxy never saw one

		status := fault.Status
		if status == 0 {
			status = http.StatusBadGateway
		}

		s.send(w, status, []byte(htmlPage))
	default:
		s.resetBody(w, body, half)
	}
}

// resetBody sends half of an answer and then an RST, as a crashing peer does.
func (s *Sandbox) resetBody(w http.ResponseWriter, body []byte, half int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)

	control := http.NewResponseController(w)

	if _, err := w.Write(body[:half]); err != nil || control.Flush() != nil {
		panic(http.ErrAbortHandler)
	}

	connection, _, err := control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}

	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a close with data or linger 0 is an RST
	}

	_ = connection.Close()
}
