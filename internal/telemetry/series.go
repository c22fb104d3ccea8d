package telemetry

import "sync"

// series resolves labels to a metric once and remembers it, and knows at most
// so many: what comes later is counted as other. So a label that turns out to
// have no end, because of a mistake or an attack, costs a bounded amount of
// memory here and at Prometheus.
type series[K comparable, V any] struct {
	resolve func(K) V
	most    int
	other   K

	mu    sync.RWMutex
	known map[K]V
}

func newSeries[K comparable, V any](most int, other K, resolve func(K) V) *series[K, V] {
	return &series[K, V]{resolve: resolve, most: most, other: other, known: make(map[K]V)}
}

func (s *series[K, V]) get(key K) V {
	s.mu.RLock()
	metric, ok := s.known[key]
	s.mu.RUnlock()

	if ok {
		return metric
	}

	return s.add(key)
}

func (s *series[K, V]) add(key K) V {
	s.mu.Lock()
	defer s.mu.Unlock()

	if len(s.known) >= s.most {
		key = s.other
	}

	if metric, ok := s.known[key]; ok {
		return metric
	}

	metric := s.resolve(key)
	s.known[key] = metric

	return metric
}
