package http

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// Renderer implements ports.Renderer: what it writes is frozen with an operation.
type Renderer struct{}

var _ ports.Renderer = Renderer{}

// Created implements ports.Renderer.
func (Renderer) Created(p payment.Payment, clientSecret string) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusCreated, Body: encode(toCreatedBody(p, clientSecret))}
}

// Rejected implements ports.Renderer.
func (Renderer) Rejected(f *fault.Error, requestID string) ports.FrozenResponse {
	doc := problemOf(f, requestID)

	return ports.FrozenResponse{Status: doc.Status, Body: doc.body()}
}

// encode never fails: our bodies are made of strings, numbers and times.
func encode(body any) []byte {
	form, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}

	return form
}

// responder writes answers, each in a span of its own.
type responder struct{ tracer trace.Tracer }

// respond encodes body.
func (re responder) respond(ctx context.Context, w http.ResponseWriter, status int, body any) {
	_, span := re.tracer.Start(ctx, "http.render")
	defer span.End()

	write(w, status, jsonType, encode(body))
}

// respondFrozen writes bytes that were rendered before.
func (re responder) respondFrozen(ctx context.Context, w http.ResponseWriter, frozen ports.FrozenResponse) {
	_, span := re.tracer.Start(ctx, "http.render")
	defer span.End()

	contentType := jsonType
	if frozen.Status >= http.StatusBadRequest {
		contentType = problemType
	}

	write(w, frozen.Status, contentType, frozen.Body)
}

// fail writes a problem document.
func (re responder) fail(ctx context.Context, w http.ResponseWriter, err error) {
	_, span := re.tracer.Start(ctx, "http.render")
	defer span.End()

	f := fault.From(err)
	noteFailure(ctx, err)

	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", retryAfter(f))
	}

	doc := problemOf(f, requestID(ctx))
	write(w, doc.Status, problemType, doc.body())
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON, declared so; and where the client has gone nobody is left to tell
}
