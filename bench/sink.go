package main

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink is an OTLP/HTTP collector that takes every span and keeps none, except
// how long the provider took in each trace while somebody asks for that: what
// the service adds to a create is the rest.
type sink struct {
	server *http.Server
	url    string

	reading atomic.Bool
	mu      sync.Mutex
	took    map[string]time.Duration
}

func startSink(ctx context.Context) (*sink, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for spans: %w", err)
	}

	s := &sink{url: "http://" + listener.Addr().String(), took: map[string]time.Duration{}}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Second}

	go func() { _ = s.server.Serve(listener) }() // ends with Close

	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	if s.reading.Load() {
		err = s.read(r)
	} else {
		_, err = io.Copy(io.Discard, r.Body)
	}

	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusOK)
}

func (s *sink) read(r *http.Request) error {
	body := io.Reader(r.Body)

	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return fmt.Errorf("unzipping spans: %w", err)
		}

		body = unzipped
	}

	form, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("reading spans: %w", err)
	}

	var export collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(form, &export); err != nil {
		return fmt.Errorf("decoding spans: %w", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.note(span)
			}
		}
	}

	return nil
}

// note keeps the HTTP client's spans: the calls to the provider, from the first
// byte sent to the last one read.
func (s *sink) note(span *trace.Span) {
	if span.GetKind() != trace.Span_SPAN_KIND_CLIENT || span.GetName() != http.MethodPost {
		return
	}

	took := time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano())
	s.took[hex.EncodeToString(span.GetTraceId())] += took
}

// providerTimes starts to note them; the function that it returns ends that and
// tells them by trace.
func (s *sink) providerTimes() func() map[string]time.Duration {
	s.mu.Lock()
	s.took = map[string]time.Duration{}
	s.mu.Unlock()
	s.reading.Store(true)

	return func() map[string]time.Duration {
		s.reading.Store(false)
		s.mu.Lock()
		defer s.mu.Unlock()

		return s.took
	}
}

func (s *sink) stop() error {
	if err := s.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stopping the sink: %w", err)
	}

	return nil
}
