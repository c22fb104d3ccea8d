package http

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// Renderer implements ports.Renderer: it writes the answers that are frozen with an
// operation. What a resource freezes stands in the resource's file.
type Renderer struct{}

var _ ports.Renderer = Renderer{}

// Rejected implements ports.Renderer.
func (Renderer) Rejected(f *fault.Error, requestID string) ports.FrozenResponse {
	doc := problemOf(f, requestID)

	return ports.FrozenResponse{Status: doc.Status, Body: encode(doc)}
}

// answer is what a handler returns: a body to encode, or bytes that were rendered
// before. sent: the handler has sent it all.
type answer struct {
	status int
	body   any
	frozen []byte
	sent   bool
}

// handler answers a request, or returns a fault. Headers it sets itself.
type handler func(w http.ResponseWriter, r *http.Request) (answer, error)

// ServeHTTP implements http.Handler. A fault becomes a problem document.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := h(w, r)
	if err == nil && a.sent {
		return
	}

	ex := exchangeOf(r.Context())

	if ex.span.IsRecording() {
		// Below the request's own span: a webhook's starts in its handler.
		_, span := ex.tracer.Start(trace.ContextWithSpan(r.Context(), ex.span), "http.render")
		defer span.End()
	}

	if err != nil {
		ex.err = err // for the log line
		f := fault.From(err)

		if f.RetryAfter > 0 {
			// Whole seconds (RFC 9110 section 10.2.3).
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
		}

		doc := problemOf(f, ex.request.ID)
		a = answer{status: doc.Status, frozen: encode(doc)}
	}

	contentType := jsonType

	switch {
	case a.status == http.StatusNoContent:
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(a.status) // RFC 9110 section 15.3.5: no body, and no length of one

		return
	case a.frozen == nil:
		a.frozen = encode(a.body)
	case a.status >= http.StatusBadRequest:
		contentType = problemType
	}

	write(w, a.status, contentType, a.frozen)
}

// fail answers outside a handler.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	handler(func(http.ResponseWriter, *http.Request) (answer, error) { return answer{}, err }).ServeHTTP(w, r)
}

// encode never fails: our bodies are made of strings, numbers and times.
func encode(body any) []byte {
	form, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}

	return form
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // where the client has gone nobody is left to tell
}
