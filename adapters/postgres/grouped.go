package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/ports"
)

// maxGroupedEvent bounds what an event in a group weighs, in bytes; Stripe's are
// some kilobytes. A larger one goes alone.
const maxGroupedEvent = 32 << 10

// noConnection: whoever tries alone will not get one either.
func noConnection(err error) bool {
	_, ok := errors.AsType[*acquireError](err)

	return ok
}

// namesOfEvent: an event that comes twice, and two that are about one payment,
// are applied one after the other.
func namesOfEvent(e sqlc.ApplyEventParams) []string {
	names := []string{"event " + e.ID, "", ""}
	if e.About {
		names[1] = "intent " + e.ObjectID
	}

	if e.ClaimedPaymentID.Valid {
		names[2] = "payment " + e.ClaimedPaymentID.UUID.String()
	}

	return names
}

// applyEvents is ApplyEvent for many.
func (s *Store) applyEvents(ctx context.Context, events []sqlc.ApplyEventParams) ([]*sqlc.ApplyEventRow, error) {
	params := eventsToDB(events)

	rows, err := query(ctx, s, "applying events", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ApplyEventsRow, error) {
		return q.ApplyEvents(ctx, params)
	})
	if err != nil {
		return nil, err
	}

	byID := make(map[string]*sqlc.ApplyEventRow, len(rows))
	for _, row := range rows {
		byID[row.ID] = &sqlc.ApplyEventRow{
			Outcome:         row.Outcome,
			PaymentID:       row.PaymentID,
			FromStatus:      row.FromStatus,
			Currency:        row.Currency,
			Amount:          row.Amount,
			OriginRequestID: row.OriginRequestID,
			OriginTrace:     row.OriginTrace,
		}
	}

	answers := make([]*sqlc.ApplyEventRow, 0, len(events))
	for _, e := range events {
		answers = append(answers, byID[e.ID])
	}

	return answers, nil
}

// eventsToDB turns events into a column for each of their fields. What an event
// does not tell is the zero value, as arrays of texts hold no NULL here.
func eventsToDB(events []sqlc.ApplyEventParams) sqlc.ApplyEventsParams {
	var params sqlc.ApplyEventsParams

	for _, e := range events {
		params.Ids = append(params.Ids, e.ID)
		params.Types = append(params.Types, e.Type)
		params.ObjectIds = append(params.ObjectIds, e.ObjectID)
		params.Abouts = append(params.Abouts, e.About)
		params.ClaimedPaymentIds = append(params.ClaimedPaymentIds, e.ClaimedPaymentID.UUID)
		params.Amounts = append(params.Amounts, e.Amount)
		params.Currencies = append(params.Currencies, deref(e.Currency))
		params.ToStatuses = append(params.ToStatuses, e.ToStatus)
		params.FromStatuses = append(params.FromStatuses, "{"+strings.Join(e.FromStatuses, ",")+"}")
		params.Payloads = append(params.Payloads, e.Payload)
		params.CreatedAts = append(params.CreatedAts, deref(e.CreatedAt))
	}

	return params
}

// applyTogether applies an event with whatever else arrives, and tells whether
// it could.
func (s *Store) applyTogether(ctx context.Context, e ports.Event) (sqlc.ApplyEventRow, bool, error) {
	if len(e.Raw) > maxGroupedEvent {
		return sqlc.ApplyEventRow{}, false, nil
	}

	row, err := s.events.do(ctx, eventToDB(e))
	if row == nil {
		return sqlc.ApplyEventRow{}, false, err
	}

	return *row, true, nil
}
