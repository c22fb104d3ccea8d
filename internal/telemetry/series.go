package telemetry

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// other is the value of a label that is not known by name.
	other = "other"
	// maxLabels is the most labels that one of our metrics has.
	maxLabels = 3
)

// series are those of one metric: at most so many, and what comes later is counted
// as other. A label without an end, by mistake or in an attack, then costs a bounded
// amount of memory here and in Prometheus. Finding a known one allocates nothing.
type series[V any] struct {
	with         func(values ...string) V
	labels, most int

	mu    sync.RWMutex
	known map[[maxLabels]string]V
}

func newSeries[V any](labels, most int, with func(values ...string) V) *series[V] {
	return &series[V]{with: with, labels: labels, most: most, known: make(map[[maxLabels]string]V)}
}

func counters(factory promauto.Factory, most int, name, help string, labels ...string) *series[prometheus.Counter] {
	vec := factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)

	return newSeries(len(labels), most, vec.WithLabelValues)
}

func histograms(
	factory promauto.Factory, most int, name, help string, buckets []float64, labels ...string,
) *series[prometheus.Observer] {
	vec := factory.NewHistogramVec(
		prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)

	return newSeries(len(labels), most, vec.WithLabelValues)
}

// get returns the series with these values of the labels.
func (s *series[V]) get(values ...string) V {
	var key [maxLabels]string

	copy(key[:], values)

	s.mu.RLock()
	metric, ok := s.known[key]
	s.mu.RUnlock()

	if ok {
		return metric
	}

	return s.add(key)
}

func (s *series[V]) add(key [maxLabels]string) V {
	s.mu.Lock()
	defer s.mu.Unlock()

	if len(s.known) >= s.most {
		for i := range s.labels {
			key[i] = other
		}
	}

	if metric, ok := s.known[key]; ok {
		return metric
	}

	metric := s.with(key[:s.labels]...)
	s.known[key] = metric

	return metric
}

// expect makes the series of every combination now. A rate over a series that
// appears with its first event misses that event.
func (s *series[V]) expect(values ...[]string) *series[V] {
	combinations := [][]string{nil}

	for _, ofLabel := range values {
		var longer [][]string

		for _, combination := range combinations {
			for _, value := range ofLabel {
				longer = append(longer, append(slices.Clone(combination), value))
			}
		}

		combinations = longer
	}

	for _, combination := range combinations {
		s.get(combination...)
	}

	return s
}

// texts are values of a label.
func texts[T ~string](values ...T) []string {
	list := make([]string, 0, len(values))
	for _, value := range values {
		list = append(list, string(value))
	}

	return list
}
