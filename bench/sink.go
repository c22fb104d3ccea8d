package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink is an OTLP/HTTP collector that takes every span and keeps none, except
// while somebody asks how long the provider took in each trace: what the service
// adds to a create is the rest. Nothing is decoded while the load runs, on cores
// that it shares.
type sink struct {
	server *http.Server
	url    string

	mu      sync.Mutex
	keeping bool
	kept    []export
}

// export is a body as it came.
type export struct {
	form   []byte
	zipped bool
}

func startSink(ctx context.Context) (*sink, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for spans: %w", err)
	}

	s := &sink{url: "http://" + listener.Addr().String()}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Second}

	go func() { _ = s.server.Serve(listener) }() // ends with Close

	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.receive(r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	w.Header().Set("Content-Type", "application/x-protobuf")
	w.WriteHeader(http.StatusOK)
}

func (s *sink) receive(r *http.Request) error {
	s.mu.Lock()
	keeping := s.keeping
	s.mu.Unlock()

	if !keeping {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return fmt.Errorf("receiving spans: %w", err)
		}

		return nil
	}

	form, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("receiving spans: %w", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.kept = append(s.kept, export{form: form, zipped: r.Header.Get("Content-Encoding") == "gzip"})

	return nil
}

// providerTimes starts to keep exports; the function that it returns ends that
// and tells how long the provider took, by trace.
func (s *sink) providerTimes() func() (map[string]time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.keeping, s.kept = true, nil

	return func() (map[string]time.Duration, error) {
		s.mu.Lock()
		defer s.mu.Unlock()

		took := map[string]time.Duration{}

		for _, one := range s.kept {
			if err := one.note(took); err != nil {
				return nil, err
			}
		}

		s.keeping, s.kept = false, nil

		return took, nil
	}
}

// note adds up the HTTP client's spans: the calls to the provider, from the
// first byte sent to the last one read.
func (e export) note(took map[string]time.Duration) error {
	if e.zipped {
		unzipped, err := gzip.NewReader(bytes.NewReader(e.form))
		if err != nil {
			return fmt.Errorf("unzipping spans: %w", err)
		}

		if e.form, err = io.ReadAll(unzipped); err != nil {
			return fmt.Errorf("unzipping spans: %w", err)
		}
	}

	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(e.form, &request); err != nil {
		return fmt.Errorf("decoding spans: %w", err)
	}

	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				if span.GetKind() == trace.Span_SPAN_KIND_CLIENT && span.GetName() == http.MethodPost {
					took[hex.EncodeToString(span.GetTraceId())] += time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano())
				}
			}
		}
	}

	return nil
}

func (s *sink) stop() error {
	if err := s.server.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stopping the sink: %w", err)
	}

	return nil
}
