package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
)

// maxGroupedEvent is the largest body, in bytes, of an event in a group. Stripe's
// have some kilobytes. A larger one goes alone.
const maxGroupedEvent = 32 << 10

// namesOfEvent: deliveries of one event, and events about one payment, never share
// a group.
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

// applyEvents is ApplyEvent for a group.
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

	return mapped(events, func(e sqlc.ApplyEventParams) *sqlc.ApplyEventRow { return byID[e.ID] }), nil
}

// eventsToDB turns events into one array for each field. A missing value is the
// zero value, because the arrays' Go types hold no NULL.
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

// namesOfOperation: operations with one key never share a group, so that the second
// finds the first.
func namesOfOperation(op sqlc.BeginOperationOrFindParams) []string {
	return []string{deref(op.IdempotencyKey)}
}

// beginOperations is BeginOperation for a group.
func (s *Store) beginOperations(
	ctx context.Context, ops []sqlc.BeginOperationOrFindParams,
) ([]*sqlc.BeginOperationOrFindRow, error) {
	params := operationsToDB(ops)

	rows, err := write(ctx, s, "beginning operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.BeginOperationsRow, error) {
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

	for i, op := range ops {
		if createdAt, ok := written[op.PaymentID]; ok {
			answers[i] = newOperationRow(op, createdAt)
		}
	}

	return answers, nil
}

func operationsToDB(ops []sqlc.BeginOperationOrFindParams) sqlc.BeginOperationsParams {
	var params sqlc.BeginOperationsParams

	for _, op := range ops {
		params.PaymentIds = append(params.PaymentIds, op.PaymentID)
		params.IdempotencyKeys = append(params.IdempotencyKeys, deref(op.IdempotencyKey))
		params.Fingerprints = append(params.Fingerprints, op.Fingerprint)
		params.Amounts = append(params.Amounts, op.Amount)
		params.Currencies = append(params.Currencies, op.Currency)
		params.Metadata = append(params.Metadata, string(op.Metadata))
		params.StripeKeys = append(params.StripeKeys, op.StripeKey)
		params.StripeParams = append(params.StripeParams, op.StripeParams)
		params.LeaseTokens = append(params.LeaseTokens, op.LeaseToken.UUID)
		params.Leases = append(params.Leases, op.Lease)
		params.OriginRequestIds = append(params.OriginRequestIds, op.OriginRequestID)
		params.OriginTraces = append(params.OriginTraces, op.OriginTrace)
	}

	return params
}

// namesOfCompletion: completions of one payment or one intent never share a group.
func namesOfCompletion(c sqlc.FinishOperationOrFindParams) []string {
	return []string{c.PaymentID.String(), c.IntentID}
}

// finishOperations is FinishOperation for a group. Each completion has a response.
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

	return mapped(completions, func(c sqlc.FinishOperationOrFindParams) *sqlc.FinishOperationOrFindRow {
		return byID[c.PaymentID]
	}), nil
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
