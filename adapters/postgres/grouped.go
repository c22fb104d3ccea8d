package postgres

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
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
	if e.IsIntent {
		names[1] = "intent " + e.ObjectID
	}

	if e.NamedPaymentID.Valid {
		names[2] = "payment " + e.NamedPaymentID.UUID.String()
	}

	return names
}

// applyEvents is ApplyEvent for many.
func (s *Store) applyEvents(ctx context.Context, events []sqlc.ApplyEventParams) ([]*sqlc.ApplyEventRow, error) {
	params := eventsToDB(events)

	rows, err := write(ctx, s, "applying events", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ApplyEventsRow, error) {
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
		params.AreIntents = append(params.AreIntents, e.IsIntent)
		params.NamedPaymentIds = append(params.NamedPaymentIds, e.NamedPaymentID.UUID)
		params.Amounts = append(params.Amounts, e.Amount)
		params.Currencies = append(params.Currencies, deref(e.Currency))
		params.ToStatuses = append(params.ToStatuses, e.ToStatus)
		params.FromStatuses = append(params.FromStatuses, "{"+strings.Join(e.FromStatuses, ",")+"}")
		params.Payloads = append(params.Payloads, e.Payload)
		params.CreatedAts = append(params.CreatedAts, deref(e.CreatedAt))
	}

	return params
}

// beginOperations is BeginOperationOrFind for many.
func (s *Store) beginOperations(
	ctx context.Context, ops []sqlc.BeginOperationOrFindParams,
) ([]*sqlc.BeginOperationOrFindRow, error) {
	params := operationsToDB(ops)

	rows, err := write(ctx, s, "beginning operations", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.BeginOperationsRow, error) {
		return q.BeginOperations(ctx, params)
	})
	if err != nil {
		return nil, err
	}

	written := make(map[uuid.UUID]time.Time, len(rows))
	for _, row := range rows {
		written[row.PaymentID] = row.CreatedAt
	}

	answers := make([]*sqlc.BeginOperationOrFindRow, len(ops))

	for i, c := range ops {
		if createdAt, ok := written[c.PaymentID]; ok {
			answers[i] = newOperationRow(c, createdAt)
		}
	}

	return answers, nil
}

func operationsToDB(ops []sqlc.BeginOperationOrFindParams) sqlc.BeginOperationsParams {
	var params sqlc.BeginOperationsParams

	for _, c := range ops {
		params.PaymentIds = append(params.PaymentIds, c.PaymentID)
		params.IdempotencyKeys = append(params.IdempotencyKeys, deref(c.IdempotencyKey))
		params.Fingerprints = append(params.Fingerprints, c.Fingerprint)
		params.Amounts = append(params.Amounts, c.Amount)
		params.Currencies = append(params.Currencies, c.Currency)
		params.Metadata = append(params.Metadata, string(c.Metadata))
		params.StripeKeys = append(params.StripeKeys, c.StripeKey)
		params.StripeParams = append(params.StripeParams, c.StripeParams)
		params.LeaseTokens = append(params.LeaseTokens, c.LeaseToken.UUID)
		params.Leases = append(params.Leases, c.Lease)
		params.OriginRequestIds = append(params.OriginRequestIds, c.OriginRequestID)
		params.OriginTraces = append(params.OriginTraces, c.OriginTrace)
	}

	return params
}

// finishOperations is FinishOperationOrFind for many, each with a response.
func (s *Store) finishOperations(
	ctx context.Context, completions []sqlc.FinishOperationOrFindParams,
) ([]*sqlc.FinishOperationOrFindRow, error) {
	params := completionsToDB(completions)

	rows, err := write(ctx, s, "finishing operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.FinishOperationsRow, error) {
			return q.FinishOperations(ctx, params)
		})
	if err != nil {
		return nil, err
	}

	byID := make(map[uuid.UUID]*sqlc.FinishOperationOrFindRow, len(rows))
	for _, row := range rows {
		byID[row.PaymentRequest.PaymentID] = new(finishedRow(row.PaymentRequest, row.AgeSeconds, row.Parked))
	}

	answers := make([]*sqlc.FinishOperationOrFindRow, 0, len(completions))
	for _, c := range completions {
		answers = append(answers, byID[c.PaymentID])
	}

	return answers, nil
}

func completionsToDB(completions []sqlc.FinishOperationOrFindParams) sqlc.FinishOperationsParams {
	var params sqlc.FinishOperationsParams

	for _, c := range completions {
		params.PaymentIds = append(params.PaymentIds, c.PaymentID)
		params.IntentIds = append(params.IntentIds, c.IntentID)
		params.IdempotencyKeys = append(params.IdempotencyKeys, deref(c.IdempotencyKey))
		params.Amounts = append(params.Amounts, c.Amount)
		params.Currencies = append(params.Currencies, c.Currency)
		params.Statuses = append(params.Statuses, c.Status)
		params.Metadata = append(params.Metadata, string(c.Metadata))
		params.CreatedAts = append(params.CreatedAts, c.CreatedAt)
		params.Causes = append(params.Causes, c.Cause)
		params.ResponseStatuses = append(params.ResponseStatuses, deref(c.ResponseStatus))
		params.ResponseBodies = append(params.ResponseBodies, c.ResponseBody)
	}

	return params
}

// namesOfOperation: of two operations with one key, the second finds the first.
func namesOfOperation(c sqlc.BeginOperationOrFindParams) []string {
	return []string{deref(c.IdempotencyKey)}
}

// namesOfCompletion: what is written about one payment or one intent is written
// one after the other.
func namesOfCompletion(c sqlc.FinishOperationOrFindParams) []string {
	return []string{c.PaymentID.String(), c.IntentID}
}
