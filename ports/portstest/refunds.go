package portstest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Refunds is the contract of ports.Refunds, and of what the other ports say about what is
// reserved. Each call of newBed gives an empty store.
func Refunds(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Begin/reserves in its commit":                     reserveInOneCommit,
		"Begin/many callers never exceed what is left":     reserveByMany,
		"Begin/one key, many callers, one reservation":     reserveUnderOneKey,
		"Begin/a key that another operation has":           reserveUnderAnothersKey,
		"Begin/what is refused writes nothing":             reserveRefused,
		"Begin/the answer is lost":                         reserveInDoubt,
		"Begin/what was seen is past":                      reserveOfWhatIsPast,
		"FinishOn/what was seen is past":                   finishOnWhatIsPast,
		"See/a payment, and whether a key is used":         seePayment,
		"Reject/gives back, and Reopen reserves again":     rejectGivesBack,
		"Reopen/there is not that much any more":           reopenRefused,
		"FinishRejected/gives back":                        finishRejectedGivesBack,
		"FinishRejected/what was made is a contradiction":  finishRejectedAfterAll,
		"Close/gives back with the decision":               closeGivesBack,
		"GiveUp/keeps what is reserved":                    giveUpKeeps,
		"FinishOn/writes refund, sums and answer together": finishOnRefund,
		"Write/refunds and lost operations in one commit":  writeRefunds,
		"Write/another version changes nothing":            writeRefundsOfAnotherVersion,
		"LetGo/once a refund is written":                   letHintGo,
		"FinishOn/many at once":                            finishRefundsAtOnce,
		"Write/more was heard meanwhile":                   writeRefundsWithoutHearing,
		"Write/at the same time as an event":               writeRefundsAgainstEvents,
		"Refund/none is NotFound":                          refundNotFound,
		"Overdrawn/until the sums fit":                     overdrawnUntilItFits,
		"RefundsMade/of a time, that are made":             refundsMade,
		"Backlog/the oldest refund on its way":             backlogOfRefunds,
	})
}

// mustPayInFull is a payment of 123.45 USD that has succeeded.
func (b StoreBed) mustPayInFull(tb testing.TB) payment.Payment {
	tb.Helper()

	p := b.mustPay(tb, "order_1")
	require.True(tb, b.write(tb, paid(p, p.Amount.Minor()), ports.EventApplied))

	return b.paymentNow(tb, p.ID)
}

// newRefund asks for a refund.
func newRefund(tb testing.TB, p payment.Payment, key operation.Key, minor int64) ports.NewOperation {
	tb.Helper()

	order := operation.Order{Amount: amount(tb, minor, "USD")}
	c := newChange(tb, operation.Refund, p, key, order)
	c.Reserve = reserving(c.ID, key, order)

	return c
}

func reserving(id uuid.UUID, key operation.Key, order operation.Order) ports.Reserve {
	return func(f ports.FullPayment) (ports.FullPayment, error) {
		r := refund.Refund{
			ID: id, PaymentID: f.Payment.ID, Key: key, Amount: order.Amount, Status: refund.Pending, Origin: refund.FromAPI,
			Metadata: map[string]string{"ticket": "7"},
		}

		p, err := f.Payment.Reserve(f.Refunds, r, payment.RefundAsk{Amount: order.Amount})
		if err != nil {
			return f, err
		}

		f.Payment, f.Refunds = p, refund.With(f.Refunds, r)

		return f, nil
	}
}

// made is a change in which the provider has made a refund of an operation.
func made(op ports.Operation) ports.Change {
	id := op.ID

	return ports.Change{Subject: op.Subject, Full: func(f ports.FullPayment) (ports.FullPayment, ports.FrozenResponse, error) {
		r, _ := refund.Find(f.Refunds, id)
		r.ProviderID, r.Status = "re_"+id.String(), refund.Succeeded
		r = r.Changed(f.Payment.UpdatedAt)
		f.Refunds = refund.With(f.Refunds, r)

		return f.Counting(), ports.FrozenResponse{Status: 201, Body: []byte(r.ProviderID)}, nil
	}}
}

// requireTaken requires a payment's sums in minor units, and how many refunds it has.
func (b StoreBed) requireTaken(tb testing.TB, p payment.Payment, pending, refunded int64, refunds int) ports.FullPayment {
	tb.Helper()

	f, err := b.FullPayment(tb.Context(), p.ID)
	require.NoError(tb, err)
	require.Equal(tb, pending, f.Payment.RefundPending.Minor(), "pending")
	require.Equal(tb, refunded, f.Payment.Refunded.Minor(), "refunded")
	require.Len(tb, f.Refunds, refunds)

	return f
}

func reserveInOneCommit(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	wanted := newRefund(t, p, "refund_1", 100_00)
	op := b.mustBegin(t, wanted)
	require.True(t, op.Held())
	require.NotEmpty(t, op.Incarnation)

	f := b.requireTaken(t, p, 100_00, 0, 1)
	requireNewer(t, p, f.Payment)

	r := f.Refunds[0]
	require.Equal(t, op.ID, r.ID)
	require.Equal(t, p.ID, r.PaymentID)
	require.Equal(t, refund.Pending, r.Status)
	require.Equal(t, operation.Key("refund_1"), r.Key)
	require.Equal(t, map[string]string{"ticket": "7"}, r.Metadata)
	require.WithinDuration(t, time.Now(), r.CreatedAt, time.Minute)
	require.NotZero(t, r.Version)

	read, err := b.Refund(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, r, read)
}

func reserveByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 48

	p := b.mustPayInFull(t)
	outcomes := allAtOnce(t, callers, func(i int) (error, error) {
		_, err := b.either(i).Begin(t.Context(), newRefund(t, p, operation.Key(uuid.NewString()), 20_00))

		return err, nil
	})

	refused := count(outcomes, func(err error) bool { return err != nil })
	require.Equal(t, callers-6, refused)

	for _, err := range outcomes {
		if err != nil {
			require.Equal(t, fault.AmountExceeded, fault.KindOf(err), "%v", err)
		}
	}

	b.requireTaken(t, p, 120_00, 0, 6)
}

func reserveUnderOneKey(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	wanted := newRefund(t, p, "refund_1", 100_00)
	ops := allAtOnce(t, 48, func(i int) (ports.Operation, error) {
		mine := wanted
		mine.Lease = newLease()

		return b.either(i).Begin(t.Context(), mine)
	})

	require.Equal(t, 1, count(ops, ports.Operation.Held), "exactly one holder")
	b.requireTaken(t, p, 100_00, 0, 1)
}

func reserveUnderAnothersKey(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	found, err := b.Begin(t.Context(), newRefund(t, p, "order_1", 1_00))
	require.NoError(t, err)
	require.Equal(t, p.ID, found.ID, "the create has it")
	require.False(t, found.Held())
	b.requireTaken(t, p, 0, 0, 0)
}

func reserveRefused(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	wanted := newRefund(t, p, "refund_1", 123_46)
	_, err := b.Begin(t.Context(), wanted)
	require.Equal(t, fault.AmountExceeded, fault.KindOf(err), "%v", err)
	b.requireNoOperation(t, wanted.ID)
	require.Equal(t, p, b.paymentNow(t, p.ID))

	gone := p
	gone.ID = uuid.New()
	_, err = b.Begin(t.Context(), newRefund(t, gone, "refund_2", 1_00))
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
}

// What somebody else has reserved since is not overlooked, and a payment that is as it was seen need
// not be asked about twice.
func reserveOfWhatIsPast(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	seen, used, err := b.See(t.Context(), p.ID, uuid.New())
	require.NoError(t, err)
	require.False(t, used)

	first := newRefund(t, p, "refund_1", 100_00)
	first.Seen = &seen
	asked := 0
	reserve := first.Reserve
	first.Reserve = func(f ports.FullPayment) (ports.FullPayment, error) {
		asked++

		return reserve(f)
	}

	op := b.mustBegin(t, first)
	require.Equal(t, 1, asked)

	f := b.requireTaken(t, p, 100_00, 0, 1)
	require.Equal(t, f.Payment, op.Seen.Payment)
	require.Equal(t, f.Refunds[0].Version, op.Seen.Refunds[0].Version)
	require.Equal(t, f.Refunds[0].CreatedAt, op.Seen.Refunds[0].CreatedAt)

	for key, wanted := range map[operation.Key]int64{"refund_2": 23_46, "refund_3": 23_45} {
		late := newRefund(t, p, key, wanted)
		late.Seen = &seen

		_, err = b.Begin(t.Context(), late)
		require.Equal(t, wanted > 23_45, fault.KindOf(err) == fault.AmountExceeded && err != nil, "%v", err)
	}

	b.requireTaken(t, p, 123_45, 0, 2)
}

func finishOnWhatIsPast(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	one, other := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00)), b.mustBegin(t, newRefund(t, p, "refund_2", 20_00))

	for _, op := range []ports.Operation{one, other} { // both have changed it since the first was begun
		change := made(op)
		change.Seen, change.Asked = op.Seen, op.Fingerprint

		for range 2 { // once more: the answer stays
			finished, err := b.FinishOn(t.Context(), op.ID, "by the request", change)
			require.NoError(t, err)
			require.Equal(t, "re_"+op.ID.String(), string(finished.Operation.Response.Body))
		}
	}

	f := b.requireTaken(t, p, 0, 120_00, 2)
	require.Greater(t, f.Payment.Version, other.Seen.Payment.Version)
}

func seePayment(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))

	seen, used, err := b.See(t.Context(), p.ID, op.ID)
	require.NoError(t, err)
	require.True(t, used)
	require.WithinDuration(t, time.Now(), seen.Now(), time.Minute)

	f, err := b.FullPayment(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, f.Payment, seen.Payment)
	require.Equal(t, f.Refunds, seen.Refunds)
	require.Empty(t, seen.Disputes)

	_, used, err = b.See(t.Context(), uuid.New(), op.ID)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
	require.True(t, used)
}

// Whatever becomes of the first attempt, repeating it reserves once.
func reserveInDoubt(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)

	for answers := range 6 {
		wanted := newRefund(t, p, operation.Key(uuid.NewString()), 10_00)
		mend := b.Sever(t, answers)
		_, err := b.Severed.Begin(t.Context(), wanted)

		mend()

		if err != nil {
			require.Contains(t, []fault.Kind{fault.Unknown, fault.Unavailable}, fault.KindOf(err), "%v", err)
		}

		op, err := b.Begin(t.Context(), wanted)
		require.NoError(t, err)
		require.True(t, op.Held())
		b.requireTaken(t, p, int64(answers+1)*10_00, 0, answers+1)
	}
}

func rejectGivesBack(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	wanted := newRefund(t, p, "refund_1", 100_00)
	op := b.mustBegin(t, wanted)

	rejected, err := b.Reject(t.Context(), op, errors.New("no"))
	require.NoError(t, err)
	require.Equal(t, operation.Rejected, rejected.State)
	b.requireTaken(t, p, 0, 0, 0)

	token := newLease()
	for range 2 { // the second is the first once more
		again, err := b.Reopen(t.Context(), op.ID, token, reserving(op.ID, op.Key, op.Order))
		require.NoError(t, err)
		require.True(t, again.Held())
		b.requireTaken(t, p, 100_00, 0, 1)
	}
}

func reopenRefused(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))
	_, err := b.Reject(t.Context(), op, errors.New("no"))
	require.NoError(t, err)
	b.mustBegin(t, newRefund(t, p, "refund_2", 100_00))

	_, err = b.Reopen(t.Context(), op.ID, newLease(), reserving(op.ID, op.Key, op.Order))
	require.Equal(t, fault.AmountExceeded, fault.KindOf(err), "%v", err)
	require.Equal(t, operation.Rejected, b.operationNow(t, op.ID).State)
	b.requireTaken(t, p, 100_00, 0, 1)
}

func finishRejectedGivesBack(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))

	for range 2 {
		done, err := b.FinishRejected(t.Context(), op, rejection())
		require.NoError(t, err)
		require.Equal(t, rejection(), done.Response)
		b.requireTaken(t, p, 0, 0, 0)
	}
}

func finishRejectedAfterAll(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))

	f := b.requireTaken(t, p, 100_00, 0, 1)
	f.Refunds[0].ProviderID, f.Refunds[0].Status = "re_1", refund.Succeeded
	written, err := b.Write(t.Context(), f.Counting(), nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	require.True(t, written)

	_, err = b.FinishRejected(t.Context(), op, rejection())
	require.ErrorIs(t, err, ports.ErrContradiction)
	_, err = b.Reject(t.Context(), op, errors.New("no"))
	require.ErrorIs(t, err, ports.ErrContradiction)
	b.requireTaken(t, p, 0, 100_00, 1)
	require.Equal(t, operation.Pending, b.operationNow(t, op.ID).State)
}

func closeGivesBack(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))
	b.Elapse(t, 2*lease)

	entry := accepting(t, p)

	for range 2 {
		_, err := b.Close(t.Context(), op.ID, operation.NeedsAttention, rejection(), entry)
		require.NoError(t, err)
		b.requireTaken(t, p, 0, 0, 0)
	}
}

func giveUpKeeps(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))
	b.requireTaken(t, p, 100_00, 0, 1)
}

func finishOnRefund(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))

	for range 2 {
		done, err := b.FinishOn(t.Context(), op.ID, "request", made(op))
		require.NoError(t, err)
		require.Equal(t, "re_"+op.ID.String(), string(done.Operation.Response.Body))

		f := b.requireTaken(t, p, 0, 100_00, 1)
		require.Equal(t, f.Payment.UpdatedAt, f.Refunds[0].UpdatedAt)
		require.Equal(t, "re_"+op.ID.String(), f.Refunds[0].ProviderID)
	}
}

func writeRefunds(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	lost := newRefund(t, p, "refund_1", 100_00)
	lost.Reserve, lost.Lease = nil, ports.Lease{}
	lost.Response = &ports.FrozenResponse{Status: 201, Body: []byte("made")}
	lost.CreatedAt = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)

	ours := refund.Refund{
		ID: lost.ID, PaymentID: p.ID, ProviderID: "re_1", Amount: amount(t, 100_00, "USD"), Status: refund.Succeeded,
		Origin: refund.FromAPI, Key: "refund_1", CreatedAt: lost.CreatedAt,
	}
	theirs := refund.Refund{
		ID: uuid.New(), PaymentID: p.ID, ProviderID: "re_2", Amount: amount(t, 50_00, "USD"), Status: refund.Succeeded,
		Origin: refund.FromStripe, Reason: "fraudulent", Reference: refund.Reference{Type: "arn", Value: "123"},
		CreatedAt: lost.CreatedAt.Add(time.Second),
	}
	f := ports.FullPayment{Payment: p, Refunds: []refund.Refund{ours, theirs}}.Counting()

	written, err := b.Write(t.Context(), f, []ports.NewOperation{lost}, ports.EventApplied, "hint")
	require.NoError(t, err)
	require.True(t, written)

	read := b.requireTaken(t, p, 0, 150_00, 2)
	require.Equal(t, int64(150_00-123_45), read.Payment.Overdrawn.Minor())
	require.True(t, read.Refunds[0].SameAs(ours))
	require.True(t, read.Refunds[1].SameAs(theirs))
	require.Equal(t, *lost.Response, b.operationNow(t, lost.ID).Response)

	// One of them fails.
	read.Refunds[1].Status, read.Refunds[1].FailureReason = refund.Failed, "unknown"
	written, err = b.Write(t.Context(), read.Counting(), nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	require.True(t, written)

	after := b.requireTaken(t, p, 0, 100_00, 2)
	require.Zero(t, after.Payment.Overdrawn.Minor())
	require.Greater(t, after.Refunds[1].Version, read.Refunds[1].Version)
	require.Equal(t, read.Refunds[0], after.Refunds[0], "it stays as it is")
}

func writeRefundsOfAnotherVersion(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	loaded := b.requireTaken(t, p, 0, 0, 0)
	b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))

	written, err := b.Write(t.Context(), loaded.Counting(), nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	require.False(t, written)
	b.requireTaken(t, p, 100_00, 0, 1)
}

// givenBack is an event that so much of a payment was given back.
func givenBack(tb testing.TB, p payment.Payment, minor int64) ports.Event {
	tb.Helper()

	e := eventOf(tb, p, "")
	e.Type, e.IsIntent, e.AboutMoney = "charge.refunded", false, true
	e.Money = payment.MoneyTold{Marked: true, GivenBack: money.Of(minor, p.Amount.Currency())}

	return e
}

// Refunds were read before an event about them was stored, whatever became of the event. The payment
// stays as it is.
func writeRefundsWithoutHearing(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))
	_, err := b.FinishOn(t.Context(), op.ID, "request", made(op))
	require.NoError(t, err)

	for minor, outcome := range map[int64]ports.EventOutcome{100_00: ports.EventStale, 110_00: ports.EventHint} {
		loaded := b.requireTaken(t, p, 0, 100_00, 1)
		e := givenBack(t, p, minor)
		require.Equal(t, outcome, b.mustApply(t, e).Outcome)
		require.Equal(t, loaded.Payment, b.paymentNow(t, p.ID))

		written, err := b.Write(t.Context(), loaded, nil, ports.EventApplied, "hint")
		require.NoError(t, err)
		require.False(t, written)

		gone, err := b.LetGo(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, outcome != ports.EventHint, gone, "our records do not say what it tells")
		b.requireStored(t, e, outcome, "")

		require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)

		loaded = b.requireTaken(t, p, 0, 100_00, 1)
		b.mustApply(t, eventOf(t, p, payment.Succeeded)) // it tells nothing of refunds

		written, err = b.Write(t.Context(), loaded, nil, ports.EventApplied, "hint")
		require.NoError(t, err)
		require.True(t, written)
		require.Empty(t, b.hints(t, 10))
	}
}

// Two refunds of each of several payments, and each finished by two.
func finishRefundsAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, refundsOfEach, times = 6, 2, 2

	ops := make([]ports.Operation, 0, payments*refundsOfEach)

	for n := range payments {
		p := b.mustPay(t, "")
		require.True(t, b.write(t, paid(p, p.Amount.Minor()), ports.EventApplied))

		for m := range refundsOfEach {
			ops = append(ops, b.mustBegin(t, newRefund(t, p, operation.Key(fmt.Sprintf("refund_%d_%d", n, m)), int64(10_00*(m+1)))))
		}
	}

	done := allAtOnce(t, times*len(ops), func(i int) (ports.Finished, error) {
		op := ops[i%len(ops)]

		return b.either(i/len(ops)).FinishOn(t.Context(), op.ID, "request", made(op))
	})

	for i, finished := range done {
		op := ops[i%len(ops)]
		require.Equal(t, op.ID, finished.Operation.ID)
		require.Equal(t, []byte("re_"+op.ID.String()), finished.Operation.Response.Body)
	}

	changed := count(done, func(f ports.Finished) bool { return f.After.Version != f.Before.Version })
	require.Equal(t, len(ops), changed, "each is done once")

	for _, op := range ops {
		b.requireTaken(t, payment.Payment{ID: op.Subject}, 0, 30_00, refundsOfEach)
	}
}

// A hint told of a refund before that was written down.
func letHintGo(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	op := b.mustBegin(t, newRefund(t, p, "refund_1", 100_00))
	e := givenBack(t, p, 100_00)

	require.Equal(t, ports.EventHint, b.mustApply(t, e).Outcome, "what is reserved explains nothing")

	gone, err := b.LetGo(t.Context(), e)
	require.NoError(t, err)
	require.False(t, gone)

	_, err = b.FinishOn(t.Context(), op.ID, "request", made(op))
	require.NoError(t, err)

	before := b.paymentNow(t, p.ID)

	for range 2 {
		gone, err = b.LetGo(t.Context(), e)
		require.NoError(t, err)
		require.True(t, gone)
		b.requireStored(t, e, ports.EventStale, "")
	}

	require.Equal(t, before, b.paymentNow(t, p.ID))
}

// Either the refund's failure is written first, and the event does not fit any more, or the event
// is stored first, and nothing is written.
func writeRefundsAgainstEvents(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 20

	for n := range payments {
		p := b.mustPay(t, "")
		require.True(t, b.write(t, paid(p, p.Amount.Minor()), ports.EventApplied))
		op := b.mustBegin(t, newRefund(t, p, operation.Key(fmt.Sprint("refund_", n)), 100_00))
		_, err := b.FinishOn(t.Context(), op.ID, "request", made(op))
		require.NoError(t, err)

		loaded := b.requireTaken(t, p, 0, 100_00, 1)
		loaded.Refunds[0].Status = refund.Failed
		e := givenBack(t, p, 100_00)

		var written bool

		allAtOnce(t, 2, func(i int) (_ struct{}, err error) {
			if i == n%2 {
				_, err = b.Apply(t.Context(), e)
			} else {
				written, err = b.Twin.Write(t.Context(), loaded.Counting(), nil, ports.EventApplied, "hint")
			}

			return struct{}{}, err
		})

		want := map[bool]ports.EventOutcome{true: ports.EventHint, false: ports.EventStale}[written]
		b.requireStored(t, e, want, "")
	}
}

func refundNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Refund(t.Context(), uuid.New())
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	_, err = b.FullPayment(t.Context(), uuid.New())
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func overdrawnUntilItFits(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	f := ports.FullPayment{Payment: p, Refunds: []refund.Refund{{
		ID: uuid.New(), PaymentID: p.ID, ProviderID: "re_1", Amount: amount(t, 200_00, "USD"), Status: refund.Succeeded,
		Origin: refund.FromStripe,
	}}}.Counting()

	overdrawn := func() int {
		found, err := b.Overdrawn(t.Context(), 10)
		require.NoError(t, err)

		stats, err := b.Backlog(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(len(found)), stats.Overdrawn)

		return len(found)
	}

	require.Zero(t, overdrawn())

	_, err := b.Write(t.Context(), f, nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	require.Equal(t, 1, overdrawn())

	f = b.requireTaken(t, p, 0, 200_00, 1)
	f.Refunds[0].Status = refund.Failed
	_, err = b.Write(t.Context(), f.Counting(), nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	require.Zero(t, overdrawn())
}

func refundsMade(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	b.mustBegin(t, newRefund(t, p, "refund_1", 1_00))
	op := b.mustBegin(t, newRefund(t, p, "refund_2", 2_00))
	_, err := b.FinishOn(t.Context(), op.ID, "request", made(op))
	require.NoError(t, err)

	r, err := b.Refund(t.Context(), op.ID)
	require.NoError(t, err)

	found, err := b.RefundsMade(t.Context(), r.CreatedAt, r.CreatedAt, 10)
	require.NoError(t, err)
	require.Equal(t, []refund.Refund{r}, found)

	found, err = b.RefundsMade(t.Context(), r.CreatedAt.Add(time.Second), r.CreatedAt.Add(time.Minute), 10)
	require.NoError(t, err)
	require.Empty(t, found)
}

func backlogOfRefunds(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPayInFull(t)
	f := ports.FullPayment{Payment: p, Refunds: []refund.Refund{{
		ID: uuid.New(), PaymentID: p.ID, ProviderID: "re_1", Amount: amount(t, 1_00, "USD"), Status: refund.RequiresAction,
		Origin: refund.FromStripe, CreatedAt: time.Now().Add(-time.Hour),
	}}}.Counting()
	_, err := b.Write(t.Context(), f, nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	b.requireBacklog(t, ports.BacklogStats{OldestRefund: time.Hour})

	f = b.requireTaken(t, p, 1_00, 0, 1)
	f.Refunds[0].Status = refund.Succeeded
	_, err = b.Write(t.Context(), f.Counting(), nil, ports.EventApplied, "hint")
	require.NoError(t, err)
	b.requireBacklog(t, ports.BacklogStats{})
}
