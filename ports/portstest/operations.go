package portstest

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
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
		"Begin/with its answer it is finished":           beginAnswered,
		"Begin/a person's is not taken over":             beginGivenUp,
		"Begin/one holder of 64 callers":                 beginByMany,
		"Begin/keys differ by every character":           beginKeys,
		"Begin/metadata as sent":                         beginMetadata,
		"Begin/every amount is exact":                    beginAmounts,
		"Begin/its age is the store's":                   beginAge,
		"Begin/its age is its intent's":                  beginOfOldIntent,
		"Begin/one at a time on a payment":               beginOneAtATime,
		"Begin/one at a time, of many":                   beginOneOfMany,
		"Begin/a rejected one is not in the way":         beginAfterReject,
		"Begin/a create is never in the way":             beginBesideACreate,
		"Begin/a key is of one kind and payment":         beginWithAnothersKey,
		"Begin/one lease token is one call on a payment": beginChangeRepeated,
		"Begin/how the intent stood is kept":             beginKeepsBefore,
		"Begin/one update at a time":                     beginOneUpdate,
		"Finish/a decline has its payment":               finishDeclined,
		"FinishOn/what only a client changes":            finishOnWritesDetails,
		"Find/none is NotFound":                          findNotFound,
		"Take/what nobody works on":                      takeUnfinished,
		"Take/of every kind, as it was begun":            takeEveryKind,
		"Take/the longest waiting first":                 takeLongestWaiting,
		"Take/many callers, disjoint":                    takeByMany,
		"Extend/by the holder":                           extendByHolder,
		"Extend/by nobody else":                          extendByOthers,
		"Reject/opened again by the same order":          rejectAndReopen,
		"Reject/recovery leaves it alone":                rejectedIsNotTaken,
		"Reject/by nobody else":                          rejectByOthers,
		"Reject/what stands is returned":                 rejectFinished,
		"Reject/an existing payment contradicts":         rejectAfterPayment,
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
		"Finish/after a rejection":                       finishAfterReject,
		"Finish/after another's refusal":                 finishAfterRefusalOfAnother,
		"Finish/another intent contradicts":              finishWithAnotherIntent,
		"Finish/another intent contradicts an open one":  finishOpenWithAnotherIntent,
		"Finish/many intents at once, one wins":          finishWithManyIntents,
		"Finish/another payment's intent contradicts":    finishWithTakenIntent,
		"Finish/one intent, two payments at once":        finishTwoWithOneIntent,
		"Finish/no operation is NotFound":                finishWithoutOperation,
		"Finish/takes its object's order":                finishTakesTheOrder,
		"Restore/payment, history and response":          restoreWritesAll,
		"Restore/what is there is finished":              restoreWhatIsThere,
		"Restore/what does not fit is a person's":        restoreWhatDoesNotFit,
		"Restore/another's key contradicts":              restoreWithAnothersKey,
		"Restore/many at once, one payment":              restoreByMany,
		"FinishOn/takes its object's order":              finishOnTakesTheOrder,
		"FinishOn/payment, history and response":         finishOnWritesAll,
		"FinishOn/what stands is returned":               finishOnTwice,
		"FinishOn/an error changes nothing":              finishOnUndecided,
		"FinishOn/without a change":                      finishOnWithoutChange,
		"FinishOn/after a person got it":                 finishOnAfterGiveUp,
		"FinishOn/after a rejection":                     finishOnRejectedOrder,
		"FinishOn/after it was rejected":                 finishOnRejected,
		"FinishOn/after another was refused":             finishOnRefusedForAnother,
		"FinishOn/nothing is NotFound":                   finishOnNothing,
		"FinishOn/many at once, one effect":              finishOnByMany,
		"FinishOn/against its event":                     finishOnAgainstEvents,
		"FinishOn/against FinishRejected, one wins":      finishOnAgainstFinishRejected,
		"FinishRejected/freezes":                         finishRejectedFreezes,
		"FinishRejected/what stands is returned":         finishRejectedAfterFinish,
		"FinishRejected/after a person got it":           finishRejectedAfterGiveUp,
		"FinishRejected/not over another request":        finishRejectedOfAnother,
		"FinishRejected/not over a rejected one":         finishRejectedAfterReject,
		"Take/tells of a written payment":                takeWritten,
		"Begin/tells of a written payment":               takeOverWritten,
		"FinishRejected/an intent after it contradicts":  finishAfterFinishRejected,
		"FinishRejected/an existing payment contradicts": finishRejectedAfterPayment,
		"FinishRejected/against Finish, one wins":        finishRejectedAgainstFinish,
		"FinishRejected/no operation is NotFound":        finishRejectedWithoutOperation,
	})
}

// newOperation asks for a payment of 123.45 USD under key.
func newOperation(tb testing.TB, key operation.Key) ports.NewOperation {
	tb.Helper()

	id, err := uuid.NewV7()
	require.NoError(tb, err)

	return ports.NewOperation{
		ID:     id,
		Tenant: operation.DefaultTenant,
		Kind:   operation.Create,
		Key:    key,
		Order:  operation.Order{Amount: amount(tb, 123_45, "USD"), Metadata: map[string]string{"order": "42"}},
		Call: ports.Call{
			Key:    "mf_create_" + id.String(),
			Path:   "/v1/payment_intents",
			Params: "amount=12345&currency=usd&metadata[payment_id]=" + id.String(),
		},
		Origin: ports.Origin{
			RequestID:   "request-" + id.String(),
			TraceParent: fmt.Sprintf("00-%x-%x-01", id[:], id[:8]),
		},
		Lease: newLease(),
	}
}

// newChange asks for something to be done with a payment.
func newChange(
	tb testing.TB, kind operation.Kind, p payment.Payment, key operation.Key, order operation.Order,
) ports.NewOperation {
	tb.Helper()

	c := newOperation(tb, key)
	c.Kind, c.Subject, c.Order = kind, p.ID, order
	c.Call = ports.Call{
		Key:    "mf_" + string(kind) + "_" + c.ID.String(),
		Path:   "/v1/payment_intents/" + p.IntentID + "/" + string(kind),
		Params: "metadata[marketflow_capture]=1." + c.ID.String(),
	}

	return c
}

// newCapture asks for all that p holds.
func newCapture(tb testing.TB, p payment.Payment, key operation.Key) ports.NewOperation {
	tb.Helper()

	return newChange(tb, operation.Capture, p, key, operation.Order{})
}

func newCancel(tb testing.TB, p payment.Payment, key operation.Key) ports.NewOperation {
	tb.Helper()

	return newChange(tb, operation.Cancel, p, key, operation.Order{Options: map[string]string{"reason": "duplicate"}})
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

	op, err := b.FindByID(tb.Context(), id)
	require.NoError(tb, err)

	return op
}

// completionOf completes op with an intent of its own. It is the same each time.
func completionOf(op ports.Operation) ports.Completion {
	return completionWith(op, intentOf(op.ID))
}

func completionWith(op ports.Operation, intentID string) ports.Completion {
	return ports.Completion{
		Payment: payment.Payment{
			ID:        op.ID,
			Tenant:    op.Tenant,
			IntentID:  intentID,
			Key:       op.Key,
			Amount:    op.Order.Amount,
			Metadata:  op.Order.Metadata,
			CreatedAt: op.CreatedAt,
		}.Begun(payment.Snapshot{
			Status: payment.Pending, IntentStatus: payment.IntentRequiresPaymentMethod, CaptureMethod: payment.CaptureAutomatic,
		}, op.CreatedAt),
		Fingerprint: op.Fingerprint, Order: op.Order,
		Response: created(intentID),
		Cause:    "request",
	}
}

// held is an intent of p whose money waits to be captured.
func held(p payment.Payment) payment.Snapshot {
	const lasts = 7 * 24 * time.Hour

	return payment.Snapshot{
		Amount: p.Amount, Status: payment.Pending, IntentStatus: payment.IntentRequiresCapture,
		CaptureMethod: payment.CaptureManual, Capturable: p.Amount.Money(),
		CaptureBefore: time.Now().Add(lasts).UTC().Truncate(time.Second),
	}
}

// mustHold makes a payment whose 123.45 USD are held.
func (b StoreBed) mustHold(tb testing.TB, key operation.Key) payment.Payment {
	tb.Helper()

	completion := completionOf(b.mustBegin(tb, newOperation(tb, key)))
	completion.Payment = completion.Payment.Begun(held(completion.Payment), time.Now())
	b.mustFinish(tb, completion)

	return b.paymentNow(tb, completion.Payment.ID)
}

// capturing is what a capture of that much makes of a payment. The answer shows the
// version.
func capturing(sum money.Price) ports.Decide {
	return func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		p.Status, p.IntentStatus, p.Captured = payment.Succeeded, payment.IntentSucceeded, sum.Money()
		p.Capturable, p.CaptureBefore = money.Of(0, sum.Currency()), time.Time{}

		return p, showing(p), nil
	}
}

// cancelling is what a cancel makes of a payment.
func cancelling(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
	p.Status, p.IntentStatus = payment.Cancelled, payment.IntentCanceled
	p.Capturable, p.CaptureBefore = money.Of(0, p.Amount.Currency()), time.Time{}

	return p, showing(p), nil
}

// showing is an answer that shows a payment.
func showing(p payment.Payment) ports.FrozenResponse {
	return ports.FrozenResponse{
		Status: http.StatusOK,
		Body:   fmt.Appendf(nil, `{"id":%q,"status":%q,"version":%d}`, p.ID, p.Status, p.Version),
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
	require.Equal(tb, state, b.operationNow(tb, c.ID).State)
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

// requireSameOperation compares everything but Age, which grows by itself, and Incarnation
// and Standing, which only the holder sees.
func requireSameOperation(tb testing.TB, want, got ports.Operation) {
	tb.Helper()
	requireResponse(tb, want.Response, got.Response)

	want.Age, want.Incarnation, want.Standing, want.Response.Body = 0, "", operation.Standing{}, nil
	got.Age, got.Incarnation, got.Standing, got.Response.Body = 0, "", operation.Standing{}, nil
	require.Equal(tb, want, got)
}

// requireResponse treats a nil body and an empty one as equal.
func requireResponse(tb testing.TB, want, got ports.FrozenResponse) {
	tb.Helper()
	require.Equal(tb, want.Status, got.Status)
	require.Equal(tb, string(want.Body), string(got.Body))
}

func idsOf(ops []ports.Operation) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(ops))
	for _, op := range ops {
		ids = append(ids, op.ID)
	}

	return ids
}
