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

// claimPayments is ClaimPaymentOrFind for many.
func (s *Store) claimPayments(
	ctx context.Context, claims []sqlc.ClaimPaymentOrFindParams,
) ([]*sqlc.ClaimPaymentOrFindRow, error) {
	params := claimsToDB(claims)

	rows, err := write(ctx, s, "claiming payments", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ClaimPaymentsRow, error) {
		return q.ClaimPayments(ctx, params)
	})
	if err != nil {
		return nil, err
	}

	written := make(map[uuid.UUID]time.Time, len(rows))
	for _, row := range rows {
		written[row.PaymentID] = row.CreatedAt
	}

	answers := make([]*sqlc.ClaimPaymentOrFindRow, len(claims))

	for i, c := range claims {
		if createdAt, ok := written[c.PaymentID]; ok {
			answers[i] = newClaimRow(c, createdAt)
		}
	}

	return answers, nil
}

func claimsToDB(claims []sqlc.ClaimPaymentOrFindParams) sqlc.ClaimPaymentsParams {
	var params sqlc.ClaimPaymentsParams

	for _, c := range claims {
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

// completePayments is CompletePaymentOrFind for many, each with a response.
func (s *Store) completePayments(
	ctx context.Context, completions []sqlc.CompletePaymentOrFindParams,
) ([]*sqlc.CompletePaymentOrFindRow, error) {
	params := completionsToDB(completions)

	rows, err := write(ctx, s, "completing payments",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.CompletePaymentsRow, error) {
			return q.CompletePayments(ctx, params)
		})
	if err != nil {
		return nil, err
	}

	byID := make(map[uuid.UUID]*sqlc.CompletePaymentOrFindRow, len(rows))
	for _, row := range rows {
		byID[row.PaymentRequest.PaymentID] = new(completedRow(row.PaymentRequest, row.AgeSeconds, row.Parked))
	}

	answers := make([]*sqlc.CompletePaymentOrFindRow, 0, len(completions))
	for _, c := range completions {
		answers = append(answers, byID[c.PaymentID])
	}

	return answers, nil
}

func completionsToDB(completions []sqlc.CompletePaymentOrFindParams) sqlc.CompletePaymentsParams {
	var params sqlc.CompletePaymentsParams

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

// namesOfClaim: of two claims with one key, the second finds the first.
func namesOfClaim(c sqlc.ClaimPaymentOrFindParams) []string { return []string{deref(c.IdempotencyKey)} }

// namesOfCompletion: what is written about one payment or one intent is written
// one after the other.
func namesOfCompletion(c sqlc.CompletePaymentOrFindParams) []string {
	return []string{c.PaymentID.String(), c.IntentID}
}
