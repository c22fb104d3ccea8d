package stripe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	stripego "github.com/stripe/stripe-go/v76"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	eventsPath = "/v1/events"
	// pageSize is the most that Stripe lists at once (https://docs.stripe.com/api/pagination).
	pageSize = "100"
)

// Intent implements ports.Provider.
func (g *Gateway) Intent(ctx context.Context, id string) (ports.Intent, error) {
	if !isIntentID(id) { // it could lead to another path, whose 404 proves nothing
		return ports.Intent{}, fault.New(fault.NotFound, "no payment intent can have this id")
	}

	got, err := g.intent(ctx, id, "")
	if err != nil {
		return ports.Intent{}, err
	}

	// Only the charge says how was paid and when a hold lapses, and the intent has it only if
	// asked for (https://docs.stripe.com/api/expanding_objects). A hold is not known without it.
	held, paid := got.Status == string(payment.IntentRequiresCapture), got.Status == string(payment.IntentSucceeded)
	if (held || paid) && got.LatestCharge.Kind() == '"' {
		whole, err := g.intent(ctx, id, "?expand[]=latest_charge")

		switch {
		case err == nil:
			got = whole
		case held:
			return ports.Intent{}, err
		}
	}

	return got.intent(), nil
}

func (g *Gateway) intent(ctx context.Context, id, query string) (intentObject, error) {
	judge := func(got *intentObject, failed *failure) verdict {
		if failed == nil && got.ID != id {
			return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
		}

		return judgeRead(failed)
	}

	return read(ctx, g, "get_intent", intentsPath+"/"+id+query, maxObject, judge)
}

// read asks for path; maxAnswer bounds the answer, and judge says what it proves.
func read[T any](
	ctx context.Context, g *Gateway, operation, path string, maxAnswer int64, judge func(got *T, failed *failure) verdict,
) (T, error) {
	var got T

	err := g.call(ctx, &call{
		operation: operation,
		kind:      reads,
		maxAnswer: maxAnswer,
		method:    http.MethodGet,
		path:      path,
		answer:    emptied(&got),
		judge:     func(failed *failure, _ bool) verdict { return judge(&got, failed) },
	})

	return got, err
}

// judgeRead decides what the answer to a read proves. Reading again does no harm, so
// even a 500 is repeated.
func judgeRead(failed *failure) verdict {
	switch {
	case failed == nil:
		return verdict{outcome: done}
	case failed.rejection != nil && failed.rejection.Code == stripego.ErrorCodeResourceMissing:
		return verdict{
			outcome: rejected, reason: ReasonNotFound,
			err: fault.Wrap(fault.NotFound, failed.cause, "the payment provider has no such object"),
		}
	default:
		v := failed.verdict()
		v.again = v.again || failed.reason == ReasonStatus5xx

		return v
	}
}

// Intents implements ports.Provider.
func (g *Gateway) Intents(ctx context.Context, from, to time.Time) iter.Seq2[ports.Intent, error] {
	query := createdBetween(from, to)

	return func(yield func(ports.Intent, error) bool) {
		for object, err := range g.list(ctx, "list_intents", intentsPath, query, judgePage) {
			if err != nil {
				yield(ports.Intent{}, err)

				return
			}

			var o intentObject
			if err := decode(object, &o); err != nil {
				yield(ports.Intent{}, fmt.Errorf("decode a listed intent: %w", err))

				return
			}

			if !isIntentID(o.ID) { // one bad object must not hide those after it
				g.log.Warn("stripe listed an intent with an impossible id; it is skipped",
					zap.String("payment_id", o.paymentID().String()))

				continue
			}

			if !yield(o.intent(), nil) {
				return
			}
		}
	}
}

// Events implements ports.Provider. It asks only for the events that we
// handle. An event that does not parse is yielded as an error, and the reading goes
// on: one bad event must not hide those after it.
func (g *Gateway) Events(ctx context.Context, from, to time.Time) iter.Seq2[ports.Event, error] {
	query := createdBetween(from, to)
	query["types[]"] = handled()

	return func(yield func(ports.Event, error) bool) {
		for object, err := range g.list(ctx, "list_events", eventsPath, query, judgePage) {
			if err != nil {
				yield(ports.Event{}, err)

				return
			}

			if !yield(parseEvent(object)) {
				return
			}
		}
	}
}

// createdBetween asks for what was created between two times, both included.
func createdBetween(from, to time.Time) url.Values {
	return url.Values{"created[gte]": {unix(from)}, "created[lte]": {unix(to)}}
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), decimal) }

// page is one answer of a list (https://docs.stripe.com/api/pagination).
type page struct {
	Data    []json.RawMessage `json:"data"`
	HasMore bool              `json:"has_more"`
}

func judgePage(_ *page, failed *failure) verdict { return judgeRead(failed) }

// errNoList says that nobody can read the list with this key at this API.
var errNoList = errors.New("the list cannot be read")

// judgeOptionalPage is judgePage for a list that a key or a stand-in for Stripe may lack.
func judgeOptionalPage(_ *page, failed *failure) verdict {
	if failed != nil && isMissing(failed.status) {
		return verdict{outcome: rejected, reason: failed.reason, err: errNoList}
	}

	return judgeRead(failed)
}

var errEndless = errors.New("stripe's list does not advance")

// list reads a list page by page and yields its objects as they are. An error ends
// it.
func (g *Gateway) list(
	ctx context.Context, operation, path string, query url.Values, judge func(*page, *failure) verdict,
) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		query := maps.Clone(query) // a second range starts again
		query.Set("limit", pageSize)

		for {
			got, err := read(ctx, g, operation, path+"?"+query.Encode(), maxList, judge)
			if err != nil {
				yield(nil, err)

				return
			}

			for _, object := range got.Data {
				if !yield(object, nil) {
					return
				}
			}

			if !got.HasMore {
				return
			}

			if err := advance(query, got.Data); err != nil {
				yield(nil, err)

				return
			}
		}
	}
}

// advance makes query ask for what comes after a page's last object.
func advance(query url.Values, objects []json.RawMessage) error {
	var last struct {
		ID string `json:"id"`
	}

	if n := len(objects); n > 0 {
		if err := decode(objects[n-1], &last); err != nil {
			return fmt.Errorf("decode a listed object: %w", err)
		}
	}

	if last.ID == "" || len(last.ID) > maxID || last.ID == query.Get("starting_after") {
		return errEndless
	}

	query.Set("starting_after", last.ID)

	return nil
}
