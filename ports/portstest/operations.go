package portstest

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Operations is the contract of ports.Operations. Each call of newBed gives an empty
// store.
func Operations(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Begin/a first one is held":                      beginHolds,
		"Begin/found while somebody holds it":            beginFindsHeld,
		"Begin/taken over as it was after the lease":     beginTakesOver,
		"Begin/another order never takes over":           beginWithAnotherOrder,
		"Begin/one lease token is one call":              beginRepeated,
		"Begin/without keys they never meet":             beginWithoutKey,
		"Begin/finished is found for ever":               beginFinished,
		"Begin/a person's is not taken over":             beginGivenUp,
		"Begin/one holder of 64 callers":                 beginByMany,
		"Begin/keys differ by every character":           beginKeys,
		"Begin/metadata as sent":                         beginMetadata,
		"Begin/every amount is exact":                    beginAmounts,
		"Begin/its age is the store's":                   beginAge,
		"Begin/its age is its intent's":                  beginOfOldIntent,
		"Find/none is NotFound":                          findNotFound,
		"Take/what nobody works on":                      takeUnfinished,
		"Take/the longest waiting first":                 takeLongestWaiting,
		"Take/many callers, disjoint":                    takeByMany,
		"Extend/by the holder":                           extendByHolder,
		"Extend/by nobody else":                          extendByOthers,
		"Reject/opened again by the same order":          rejectAndReopen,
		"Reject/recovery leaves it alone":                rejectedIsNotTaken,
		"Reject/by nobody else":                          rejectByOthers,
		"Reject/what stands is returned":                 rejectFinished,
		"Reject/an existing payment contradicts":         rejectAfterPayment,
		"Reject/an intent after it contradicts":          finishAfterReject,
		"Reject/repeated":                                rejectRepeated,
		"Reject/no operation is NotFound":                rejectWithoutOperation,
		"Reopen/one holder of 64 callers":                reopenByMany,
		"Reopen/one lease token is one call":             reopenRepeated,
		"Reopen/only what is rejected":                   reopenOthers,
		"Reopen/no operation is NotFound":                reopenWithoutOperation,
		"In doubt/unavailable is surely not written":     writesTellTheTruth,
		"In doubt/who shares a commit shares its doubt":  groupsTellTheTruth,
		"In doubt/an operation goes on under its lease":  beginInDoubtIsHeld,
		"Release/tried again when due":                   releaseByHolder,
		"Release/by nobody else":                         releaseByOthers,
		"Release/what was not sent does not count":       releaseUnsent,
		"Release/whatever the cause says":                releaseAnyCause,
		"GiveUp/hands it to a person":                    giveUp,
		"GiveUp/a finished one is left alone":            giveUpFinished,
		"Finish/payment, history and response":           finishWritesAll,
		"Finish/the first response stands":               finishTwice,
		"Finish/many at once, one payment":               finishByMany,
		"Finish/the response's very bytes":               finishKeepsBytes,
		"Finish/without a response it stays open":        finishWithoutResponse,
		"Finish/after a person got it":                   finishAfterGiveUp,
		"Finish/another intent contradicts":              finishWithAnotherIntent,
		"Finish/another intent contradicts an open one":  finishOpenWithAnotherIntent,
		"Finish/many intents at once, one wins":          finishWithManyIntents,
		"Finish/another payment's intent contradicts":    finishWithTakenIntent,
		"Finish/one intent, two payments at once":        finishTwoWithOneIntent,
		"Finish/no operation is NotFound":                finishWithoutOperation,
		"FinishRejected/freezes":                         finishRejectedFreezes,
		"FinishRejected/what stands is returned":         finishRejectedAfterFinish,
		"FinishRejected/after a person got it":           finishRejectedAfterGiveUp,
		"FinishRejected/an intent after it contradicts":  finishAfterFinishRejected,
		"FinishRejected/an existing payment contradicts": finishRejectedAfterPayment,
		"FinishRejected/against Finish, one wins":        finishRejectedAgainstFinish,
		"FinishRejected/no operation is NotFound":        finishRejectedWithoutOperation,
	})
}

// newOperation asks for 123.45 USD under key.
func newOperation(tb testing.TB, key operation.Key) ports.NewOperation {
	tb.Helper()

	id, err := uuid.NewV7()
	require.NoError(tb, err)

	return ports.NewOperation{
		PaymentID: id,
		Key:       key,
		Order:     payment.Order{Amount: amount(tb, 123_45, "USD"), Metadata: payment.Metadata{"order": "42"}},
		Request: ports.IntentRequest{
			IdempotencyKey: "payment-" + id.String(),
			Params:         "amount=12345&currency=usd&metadata[payment_id]=" + id.String(),
		},
		Origin: ports.Origin{
			RequestID:   "request-" + id.String(),
			TraceParent: fmt.Sprintf("00-%x-%x-01", id[:], id[:8]),
		},
		Lease: newLease(),
	}
}

func newLease() ports.Lease { return ports.Lease{Token: uuid.New(), For: lease} }

// mustBegin begins an operation and requires that the caller holds it.
func (b StoreBed) mustBegin(tb testing.TB, c ports.NewOperation) ports.Operation {
	tb.Helper()

	op, err := b.Begin(tb.Context(), c)
	require.NoError(tb, err)
	require.True(tb, op.Held())

	return op
}

// operationNow reads the operation as somebody sees it who does not hold it.
func (b StoreBed) operationNow(tb testing.TB, id uuid.UUID) ports.Operation {
	tb.Helper()

	op, err := b.FindByPayment(tb.Context(), id)
	require.NoError(tb, err)

	return op
}

// completionOf completes op with an intent of its own.
func completionOf(op ports.Operation) ports.Completion {
	return completionWith(op, intentOf(op.PaymentID))
}

func completionWith(op ports.Operation, intentID string) ports.Completion {
	return ports.Completion{
		Payment: payment.Payment{
			ID:        op.PaymentID,
			IntentID:  intentID,
			Key:       op.Key,
			Amount:    op.Order.Amount,
			Metadata:  op.Order.Metadata,
			Status:    payment.Pending,
			CreatedAt: op.CreatedAt,
		},
		Response: created(intentID),
		Cause:    "request",
	}
}

func intentOf(id uuid.UUID) string { return "pi_" + id.String() }

func created(content string) *ports.FrozenResponse {
	return &ports.FrozenResponse{Status: http.StatusCreated, Body: []byte(`{"id":"` + content + "\"}\n")}
}

func rejection() ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusBadGateway, Body: []byte(`{"title":"Rejected"}`)}
}

// mustFinish makes a payment of an operation.
func (b StoreBed) mustFinish(tb testing.TB, c ports.Completion) ports.Finished {
	tb.Helper()

	done, err := b.Finish(tb.Context(), c)
	require.NoError(tb, err)

	return done
}

// mustReject begins an operation and rejects it because of the deployment.
func (b StoreBed) mustReject(tb testing.TB, c ports.NewOperation) ports.Operation {
	tb.Helper()

	op, err := b.Reject(tb.Context(), b.mustBegin(tb, c), errRepairable)
	require.NoError(tb, err)
	require.Equal(tb, operation.Rejected, op.State)

	return op
}

var errRepairable = errors.New("the account may not charge yet")

func requireStateOf(tb testing.TB, b StoreBed, c ports.Operation, state operation.State) {
	tb.Helper()
	require.Equal(tb, state, b.operationNow(tb, c.PaymentID).State)
}

// requireHeldByOther requires that somebody else holds the operation of order_1: neither
// Begin nor Take gets it.
func (b StoreBed) requireHeldByOther(tb testing.TB) {
	tb.Helper()

	found, err := b.Begin(tb.Context(), newOperation(tb, "order_1"))
	require.NoError(tb, err)
	require.False(tb, found.Held())
	require.Equal(tb, operation.Pending, found.State)

	taken, err := b.Take(tb.Context(), 1, newLease())
	require.NoError(tb, err)
	require.Empty(tb, taken)
}

// requireSameOperation compares everything but Age, which grows by itself.
func requireSameOperation(tb testing.TB, want, got ports.Operation) {
	tb.Helper()
	requireResponse(tb, want.Response, got.Response)

	want.Age, want.Response.Body = 0, nil
	got.Age, got.Response.Body = 0, nil
	require.Equal(tb, want, got)
}

// requireResponse treats a nil body and an empty one as equal.
func requireResponse(tb testing.TB, want, got ports.FrozenResponse) {
	tb.Helper()
	require.Equal(tb, want.Status, got.Status)
	require.Equal(tb, string(want.Body), string(got.Body))
}

func paymentIDs(ops []ports.Operation) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(ops))
	for _, op := range ops {
		ids = append(ids, op.PaymentID)
	}

	return ids
}
