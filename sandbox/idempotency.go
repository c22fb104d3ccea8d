package sandbox

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Stripe, "Idempotent requests": a key has at most 255 characters and may be
// pruned once it is 24 hours old, after which it runs as a new request.
const (
	maxIdempotencyKey = 255
	keyLifetime       = 24 * time.Hour
)

// idempotency remembers, for the whole account, what each key was used for and
// what was answered.
type idempotency struct {
	clock *clock

	mu      sync.Mutex
	records map[string]*idempotencyRecord
}

// idempotencyRecord is one key's first use.
type idempotencyRecord struct {
	key         string
	endpoint    string // the path: keys only matter for POST
	fingerprint fingerprint
	requestID   string
	created     int64 // nanoseconds of the sandbox's clock

	// finished is false while the first request runs. The rest is its answer.
	finished bool
	status   int
	body     document
}

func newIdempotency(c *clock) *idempotency {
	return &idempotency{clock: c, records: map[string]*idempotencyRecord{}}
}

func (r *idempotencyRecord) expired(now time.Time) bool {
	return now.UnixNano()-r.created >= int64(keyLifetime)
}

// claim takes a key for a request. It returns the record to finish or drop, or
// the finished record to replay, or why the key cannot be used.
func (s *idempotency) claim(rq *request) (claimed, replay *idempotencyRecord, r *refusal) {
	if len(rq.idempotencyKey) > maxIdempotencyKey {
		return nil, nil, invalid("Keys for idempotent requests can be at most "+strconv.Itoa(maxIdempotencyKey)+
			" characters long; yours is "+strconv.Itoa(len(rq.idempotencyKey))+".", "", "")
	}

	sum, now := rq.params.form.fingerprint(), s.clock.now()

	s.mu.Lock()
	defer s.mu.Unlock()

	// A page's keys are apart from its server's, whose answers are not for it.
	key := rq.idempotencyKey
	if rq.access.publishable {
		key = "publishable " + key
	}

	earlier := s.records[key]
	if earlier != nil && (!earlier.finished || !earlier.expired(now)) {
		return nil, earlier, earlier.conflict(rq, sum)
	}

	claimed = &idempotencyRecord{
		key: key, endpoint: rq.path, fingerprint: sum, requestID: rq.id, created: now.UnixNano(),
	}
	s.records[key] = claimed

	return claimed, nil, nil
}

// replay is the first use's answer once more. The caller knows it is finished.
func (r *idempotencyRecord) replay() reply {
	again := reply{status: r.status, body: r.body, replayOf: r.requestID}
	if r.status >= http.StatusBadRequest && r.status < http.StatusInternalServerError {
		again.shouldRetry = textFalse // a retry would replay it for ever
	}

	return again
}

// conflict tells why a known key cannot be replayed for a request, or nil. The
// caller holds the lock.
func (r *idempotencyRecord) conflict(rq *request, sum fingerprint) *refusal {
	switch {
	case r.endpoint != rq.path:
		return idempotencyError("Keys for idempotent requests can only be used for the same endpoint they were first " +
			"used for ('" + rq.path + "' vs '" + r.endpoint + "'). Try using a key other than '" + rq.idempotencyKey +
			"' if you meant to execute a different request.")
	case r.fingerprint != sum:
		return idempotencyError("Keys for idempotent requests can only be used with the same parameters they were " +
			"first used with. Try using a key other than '" + rq.idempotencyKey + "' if you meant to execute a different request.")
	case !r.finished:
		return &refusal{
			status: http.StatusConflict, kind: typeInvalidRequest, code: codeIdempotencyKeyInUse, shouldRetry: textTrue,
			message: "There is currently another in-progress request using this Idempotent Key (that probably means " +
				"you submitted twice, and the other request is still going through): " + rq.idempotencyKey +
				". Please try again later.",
		}
	default:
		return nil
	}
}

func idempotencyError(message string) *refusal {
	return &refusal{status: http.StatusBadRequest, kind: typeIdempotency, message: message}
}

// finish keeps the answer for replays. The body must not change any more.
func (s *idempotency) finish(record *idempotencyRecord, status int, body document) {
	s.mu.Lock()
	defer s.mu.Unlock()

	record.finished, record.status, record.body = true, status, body
}

// drop forgets a key whose request never began to execute.
func (s *idempotency) drop(record *idempotencyRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.records[record.key] == record {
		delete(s.records, record.key)
	}
}

// restore takes a record back from the state file.
func (s *idempotency) restore(key string, stored *storedKey) {
	record := &idempotencyRecord{
		key: key, endpoint: stored.Endpoint, requestID: stored.RequestID, created: stored.Created, finished: true,
		status: stored.Status, body: rawDocument(stored.Body),
	}
	copy(record.fingerprint[:], stored.Fingerprint)

	s.mu.Lock()
	defer s.mu.Unlock()

	s.records[key] = record
}

// prune forgets keys that are 24 hours old and returns them.
func (s *idempotency) prune() []string {
	now := s.clock.now()

	s.mu.Lock()
	defer s.mu.Unlock()

	var pruned []string

	for key, record := range s.records {
		if record.finished && record.expired(now) {
			delete(s.records, key)

			pruned = append(pruned, key)
		}
	}

	return pruned
}
