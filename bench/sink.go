package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink is an OTLP/HTTP collector that takes every span and keeps none, except
// while the provider's time in each trace is measured. It decodes after the load,
// because it shares the load's cores.
type sink struct {
	mu      sync.Mutex
	keeping bool
	kept    [][]byte
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	form, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.keeping {
		s.kept = append(s.kept, form)
	}

	w.Header().Set("Content-Type", "application/x-protobuf")
}

// keep starts to keep spans, until providerTimes.
func (s *sink) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.keeping = true
}

// providerTimes is how long the provider took, by trace: the HTTP client's spans,
// which last from the first byte sent to the last one read.
func (s *sink) providerTimes() map[string]time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()

	took := map[string]time.Duration{}

	for _, form := range s.kept {
		var request collector.ExportTraceServiceRequest
		check(proto.Unmarshal(form, &request))

		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					if span.GetKind() == trace.Span_SPAN_KIND_CLIENT && span.GetName() == http.MethodPost {
						took[hex.EncodeToString(span.GetTraceId())] += time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano())
					}
				}
			}
		}
	}

	s.keeping, s.kept = false, nil

	return took
}
