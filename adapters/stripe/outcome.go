package stripe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	stripego "github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/ports"
)

// Reason says why an attempt was not done. There are few, so that a reason can be
// a metric's label.
type Reason string

// The reasons. A done attempt has none.
const (
	ReasonTimeout      Reason = "timeout"           // no answer within the attempt's time
	ReasonDeadline     Reason = "deadline"          // no answer within the caller's time
	ReasonCancelled    Reason = "cancelled"         // the caller gave up
	ReasonStalled      Reason = "stalled"           // Stripe answered no call at all
	ReasonConnection   Reason = "connection"        // there was none, or it broke
	ReasonUndecodable  Reason = "undecodable"       // an answer that is not Stripe's
	ReasonMismatch     Reason = "mismatch"          // another intent than the one asked for
	ReasonIdempotency  Reason = "idempotency_error" // Stripe knows the key from another request
	ReasonLockTimeout  Reason = "lock_timeout"      // Stripe holds a lock on the object
	ReasonNotFound     Reason = "not_found"         // a read: there is no such object
	ReasonBadRequest   Reason = "status_400"
	ReasonUnauthorized Reason = "status_401"
	ReasonPayment      Reason = "status_402"
	ReasonForbidden    Reason = "status_403"
	ReasonUnknownPath  Reason = "status_404"
	ReasonConflict     Reason = "status_409"
	ReasonDependency   Reason = "status_424"
	ReasonRateLimit    Reason = "status_429"
	ReasonStatus3xx    Reason = "status_3xx"
	ReasonStatus4xx    Reason = "status_4xx" // any other
	ReasonStatus5xx    Reason = "status_5xx"

	ReasonBreakerOpen Reason = "breaker_open" // shed: Stripe counts as dead
	ReasonNoSlot      Reason = "no_slot"      // shed: too many calls wait
	ReasonThrottled   Reason = "throttled"    // shed: Stripe asked for fewer calls
)

// outcome is what an attempt proves; README.md says how.
type outcome string

const (
	done               outcome = "done"
	declined           outcome = "declined"
	rejected           outcome = "rejected"
	deploymentRejected outcome = "deployment_rejected"
	unknown            outcome = "unknown"
	notSent            outcome = "not_sent"
)

// verdict is an attempt's outcome, and whether to send the request again.
type verdict struct {
	outcome outcome
	reason  Reason
	// again: another attempt may learn more.
	again bool
	err   error
}

// UnknownError says that Stripe may or may not have acted, or may still act. Its
// text holds neither secrets nor bodies.
type UnknownError struct {
	Operation string
	Reason    Reason
	// Status is the HTTP status; 0 if there was no answer.
	Status int
	// RequestID is what Stripe's support asks for; empty if there was no answer.
	RequestID string
	// Attempt is the number of the last attempt.
	Attempt int
	cause   error
}

// Error implements error.
func (e *UnknownError) Error() string {
	var text strings.Builder

	fmt.Fprintf(&text, "stripe %s: outcome unknown (%s) at attempt %d", e.Operation, e.Reason, e.Attempt)

	if e.RequestID != "" {
		text.WriteString(", " + e.RequestID)
	}

	if e.cause != nil {
		text.WriteString(": " + e.cause.Error())
	}

	return text.String()
}

// Unwrap returns the cause, a context's error for one.
func (e *UnknownError) Unwrap() error { return e.cause }

// wrap returns the error of an unknown outcome; the others have one already.
func (v verdict) wrap(operation string, seen *exchange) error {
	if v.outcome != unknown {
		return v.err
	}

	return &UnknownError{
		Operation: operation,
		Reason:    v.reason,
		Status:    seen.status,
		RequestID: seen.requestID,
		Attempt:   seen.number,
		cause:     v.err,
	}
}

// notSentError says that nothing was sent, and why.
type notSentError struct {
	reason Reason
	cause  error // nil if the gate shed the call
}

// Error implements error.
func (e *notSentError) Error() string {
	if e.cause == nil {
		return "stripe: not sent (" + string(e.reason) + ")"
	}

	return "stripe: not sent (" + string(e.reason) + "): " + e.cause.Error()
}

// Is makes it ports.ErrUnavailable.
func (e *notSentError) Is(target error) bool { return target == ports.ErrUnavailable }

// Unwrap returns the cause, a context's error for one.
func (e *notSentError) Unwrap() error { return e.cause }

func shed(reason Reason) *notSentError { return &notSentError{reason: reason} }

// failure is an attempt that returned no object.
type failure struct {
	reason Reason
	status int
	// rejection is Stripe's error; nil if the answer holds none.
	rejection *stripego.Error
	// intent is the one that a declined attempt was about; nil if the answer has none.
	intent *intentObject
	// shouldRetry is Stripe's advice: "true", "false" or nothing
	// (https://docs.stripe.com/error-low-level#should-retry).
	shouldRetry string
	// replayed: Stripe repeats the answer that it keeps under the key.
	replayed bool
	// unsent: there was no connection, so nothing was sent.
	unsent bool
	// cause is safe to log.
	cause error
}

var (
	errUndecodable = errors.New("the answer cannot be decoded")
	errMismatch    = errors.New("the answer is about another intent than the one asked for")
)

// explain says why an attempt returned no object; nil if it did. ended is why the
// attempt's context ended, nil if it has not.
//
// The text of stripe-go's errors is dropped: it quotes bodies, which may hold a
// client_secret.
func explain(err error, seen *exchange, ended error) *failure {
	if err == nil {
		return nil
	}

	f := &failure{status: seen.status, shouldRetry: seen.shouldRetry, replayed: seen.replayed, unsent: seen.unsent()}

	rejection, decoded := errors.AsType[*stripego.Error](err)

	switch {
	case decoded && rejection.Type != "":
		f.rejection = rejection
		f.reason = reasonOfRejection(rejection)
		f.cause = fmt.Errorf("status %d %s %s: %s", seen.status, code(string(rejection.Type)), code(string(rejection.Code)),
			sentence(rejection.Msg))
		f.intent = declinedIntent(seen)
	case errors.Is(seen.broken, errTooLong):
		f.reason = ReasonUndecodable
		f.cause = errTooLong
	case seen.status == 0 || seen.broken != nil:
		f.reason = reasonOfNoAnswer(ended)
		f.cause = err
	case seen.status >= http.StatusMultipleChoices:
		f.reason = reasonOfStatus(seen.status)
		f.cause = fmt.Errorf("status %d: %w", seen.status, errUndecodable)
	default:
		f.reason = ReasonUndecodable
		f.cause = errUndecodable
	}

	return f
}

// declinedIntent is the intent in the answer to an attempt that was declined.
func declinedIntent(seen *exchange) *intentObject {
	var answer struct {
		Error struct {
			Intent intentObject `json:"payment_intent"`
		} `json:"error"`
	}

	if seen.status != http.StatusPaymentRequired || decode(seen.answer, &answer) != nil || !answer.Error.Intent.isPossible() {
		return nil
	}

	return &answer.Error.Intent
}

func reasonOfNoAnswer(ended error) Reason {
	switch {
	case ended == nil:
		return ReasonConnection
	case errors.Is(ended, errStalled):
		return ReasonStalled
	case errors.Is(ended, errAttemptTimeout):
		return ReasonTimeout
	case errors.Is(ended, context.DeadlineExceeded):
		return ReasonDeadline
	default:
		return ReasonCancelled
	}
}

func reasonOfRejection(rejection *stripego.Error) Reason {
	switch {
	case rejection.Type == stripego.ErrorTypeIdempotency:
		return ReasonIdempotency
	case rejection.Code == stripego.ErrorCodeLockTimeout:
		return ReasonLockTimeout
	default:
		return reasonOfStatus(rejection.HTTPStatusCode)
	}
}

func reasonOfStatus(status int) Reason {
	switch own := Reason("status_" + strconv.Itoa(status)); own {
	case ReasonBadRequest, ReasonUnauthorized, ReasonPayment, ReasonForbidden, ReasonUnknownPath,
		ReasonConflict, ReasonDependency, ReasonRateLimit:
		return own
	default: // the others share a reason
	}

	switch {
	case status >= http.StatusInternalServerError:
		return ReasonStatus5xx
	case status >= http.StatusBadRequest:
		return ReasonStatus4xx
	default:
		return ReasonStatus3xx
	}
}

// judgeSent decides what the answer to a call proves. first says that it was never sent
// before this attempt.
func judgeSent(want asked, got *intentObject, failed *failure, first bool) verdict {
	switch {
	case failed == nil && !got.isPossible():
		return verdict{outcome: unknown, reason: ReasonUndecodable, again: true, err: errUndecodable}
	case failed == nil && !got.matches(want):
		return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
	case failed == nil:
		return verdict{outcome: done}
	case want.confirms && failed.intent != nil && failed.intent.matches(want):
		*got = *failed.intent

		return verdict{outcome: declined, reason: failed.reason}
	}

	rejects := failed.rejectsCreate
	if want.id != "" {
		rejects = failed.rejectsChange
	}

	switch outcome, err := rejects(want, first); outcome {
	case rejected, deploymentRejected:
		return verdict{outcome: outcome, reason: failed.reason, err: err}
	default:
		return failed.verdict()
	}
}

func (f *failure) verdict() verdict {
	if f.unsent {
		return verdict{
			outcome: notSent, reason: f.reason, again: f.worthRepeating(),
			err: &notSentError{reason: f.reason, cause: f.cause},
		}
	}

	return verdict{outcome: unknown, reason: f.reason, again: f.worthRepeating(), err: f.cause}
}

// worthRepeating tells whether sending the same request again may help. Stripe's
// advice counts first, unless the answer is a replay, which would only be replayed
// again. So would a plain 500: Stripe keeps it under the key
// (https://docs.stripe.com/error-low-level#idempotency).
func (f *failure) worthRepeating() bool {
	switch {
	case f.replayed, f.shouldRetry == "false":
		return false
	case f.shouldRetry == isTrue:
		return true
	}

	switch f.reason {
	case ReasonTimeout, ReasonConnection, ReasonUndecodable, ReasonLockTimeout, ReasonConflict, ReasonRateLimit:
		return true
	case ReasonStatus5xx:
		return f.status != http.StatusInternalServerError
	default:
		return false
	}
}
