package http

import (
	"net/http"

	"github.com/marketflow/marketflow/app/payments"
)

// timelineBody is what happened to a payment.
type timelineBody struct {
	Data []timelineEntryBody `json:"data"`
	// Truncated: the oldest entries are left out.
	Truncated bool `json:"truncated"`
}

type timelineEntryBody struct {
	At        string         `json:"at"`
	Kind      string         `json:"kind"`
	Title     string         `json:"title"`
	Actor     *string        `json:"actor"`
	RequestID *string        `json:"request_id"`
	TraceID   *string        `json:"trace_id"`
	Data      map[string]any `json:"data"`
}

// timeline is GET /payments/{id}/timeline.
func (l *Lists) timeline(_ http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := paymentID(r)
	if err != nil {
		return answer{}, err
	}

	entries, cut, err := l.do.Timeline.Do(r.Context(), tenantOf(r), id)
	if err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusOK, body: toTimelineBody(entries, cut)}, nil
}

func toTimelineBody(entries []payments.TimelineEntry, cut bool) timelineBody {
	body := timelineBody{Data: make([]timelineEntryBody, 0, len(entries)), Truncated: cut}

	for _, e := range entries {
		body.Data = append(body.Data, timelineEntryBody{
			At: toTime(e.At), Kind: string(e.Kind), Title: e.Title, Actor: orNull(e.Actor),
			RequestID: orNull(e.RequestID), TraceID: orNull(e.TraceID), Data: e.Data,
		})
	}

	return body
}
