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

// Reason names why an attempt was not simply done. There are few, so that a
// metric can carry them.
type Reason string

// The reasons. A done attempt has none.
const (
	ReasonTimeout      Reason = "timeout"           // no answer within the attempt's time
	ReasonDeadline     Reason = "deadline"          // no answer within the caller's time
	ReasonCancelled    Reason = "cancelled"         // the caller gave up
	ReasonStalled      Reason = "stalled"           // nobody was being answered
	ReasonConnection   Reason = "connection"        // not reached, or broken off
	ReasonUndecodable  Reason = "undecodable"       // an answer that is not Stripe's
	ReasonMismatch     Reason = "mismatch"          // another intent than the one asked for
	ReasonIdempotency  Reason = "idempotency_error" // the key belongs to another request
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

// outcome is what an attempt proves.
type outcome string

const (
	done               outcome = "done"
	rejected           outcome = "rejected"
	deploymentRejected outcome = "deployment_rejected"
	unknown            outcome = "unknown"
	notSent            outcome = "not_sent"
)

// verdict is what to make of an attempt.
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
	// Status is the HTTP status; 0 where there was no answer.
	Status int
	// RequestID is Stripe's, for its support; empty where there was no answer.
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

// Unwrap returns what the connection or the context said.
func (e *UnknownError) Unwrap() error { return e.cause }

// wrap gives an unknown outcome its error; the others have theirs.
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
	cause  error // nil where the gate shed the call
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

// Unwrap returns what the connection or the context said.
func (e *notSentError) Unwrap() error { return e.cause }

func shed(reason Reason) *notSentError { return &notSentError{reason: reason} }

// failure is an attempt that brought no object.
type failure struct {
	reason Reason
	status int
	// rejection is Stripe's error body; nil where nothing decodable came.
	rejection *stripego.Error
	// shouldRetry is Stripe's advice: "true", "false" or nothing
	// (https://docs.stripe.com/error-low-level#should-retry).
	shouldRetry string
	// replayed: Stripe repeats what it keeps under the key.
	replayed bool
	// unsent: there was no connection, so that nothing has left.
	unsent bool
	// cause is safe to log.
	cause error
}

var (
	errUndecodable = errors.New("the answer does not decode")
	errMismatch    = errors.New("the answer is about another intent than the one asked for")
)

// explain finds out why an attempt brought nothing; nil if it did bring an
// object. ended is why the attempt's context ended, nil if it has not.
//
// The text of stripe-go's errors is left behind: it quotes bodies, which may
// hold a client_secret.
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
	case errors.Is(seen.broken, errTooLong):
		f.reason = ReasonUndecodable
		f.cause = errTooLong
	case seen.status == 0 || seen.broken != nil:
		f.reason = reasonOfSilence(ended)
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

func reasonOfSilence(ended error) Reason {
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

// judgeCreate sorts a create's answer. first says that the request has never been
// sent before this attempt.
func judgeCreate(want asked, got *intentObject, failed *failure, first bool) verdict {
	switch {
	case failed == nil && !got.isPossible():
		return verdict{outcome: unknown, reason: ReasonUndecodable, again: true, err: errUndecodable}
	case failed == nil && !got.matches(want):
		return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
	case failed == nil:
		return verdict{outcome: done}
	}

	switch outcome, err := failed.rejects(first); outcome {
	case rejected, deploymentRejected:
		return verdict{outcome: outcome, reason: failed.reason, err: err}
	default:
		return failed.verdict()
	}
}

func (f *failure) verdict() verdict {
	if f.unsent {
		return verdict{
			outcome: notSent, reason: f.reason, again: f.worthAnother(),
			err: &notSentError{reason: f.reason, cause: f.cause},
		}
	}

	return verdict{outcome: unknown, reason: f.reason, again: f.worthAnother(), err: f.cause}
}

// worthAnother: may the same request, sent again, bring more? Stripe's advice
// comes first, unless it repeats itself already. A plain 500 is kept under its
// key and would only come back (https://docs.stripe.com/error-low-level#idempotency).
func (f *failure) worthAnother() bool {
	switch {
	case f.replayed, f.shouldRetry == "false":
		return false
	case f.shouldRetry == "true":
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
