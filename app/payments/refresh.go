package payments

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// refreshTries is how often a payment is loaded and read. Each time in vain, somebody else
// has changed it.
const refreshTries = 5

// ChangeObserver is told what happens to payments.
type ChangeObserver interface {
	// PaymentChanged: a payment has changed, and this is committed.
	PaymentChanged(ctx context.Context, before, after payment.Payment)
	// RefundsChanged: refunds of a payment have changed, or are new or gone. This is committed.
	RefundsChanged(ctx context.Context, before, after ports.FullPayment)
}

// Refresh reads a payment's intent, refunds and disputes, and writes down what they say.
type Refresh struct {
	payments     ports.Refunds
	facts        ports.Facts
	provider     ports.Provider
	calls        ports.Calls
	renderer     ports.Renderer
	installation operation.Installation
	observer     ChangeObserver
}

// NewRefresh returns the use case.
func NewRefresh(
	payments ports.Refunds, facts ports.Facts, provider ports.Provider, calls ports.Calls, renderer ports.Renderer,
	installation operation.Installation, observer ChangeObserver,
) *Refresh {
	return &Refresh{
		payments: payments, facts: facts, provider: provider, calls: calls, renderer: renderer, installation: installation,
		observer: observer,
	}
}

// Reading is what was read of a payment and is written down.
type Reading struct {
	ports.FullPayment

	Intent ports.Intent
	// Listed are the refunds that give money back, as the provider has them, and Objected its disputes.
	Listed   []refund.Snapshot
	Objected []ports.DisputeObject
}

// Do is Full for those who look at the payment and its intent alone.
func (r *Refresh) Do(ctx context.Context, id uuid.UUID, cause string) (payment.Payment, ports.Intent, error) {
	read, err := r.Full(ctx, id, cause)

	return read.Payment, read.Intent, err
}

// Written is Full for those who look at what is written down.
func (r *Refresh) Written(ctx context.Context, id uuid.UUID, cause string) (ports.FullPayment, error) {
	read, err := r.Full(ctx, id, cause)

	return read.FullPayment, err
}

// Disputes is Full for those who look at its disputes: as they are written down, and as the provider has
// them.
func (r *Refresh) Disputes(
	ctx context.Context, id uuid.UUID, cause string,
) (ports.FullPayment, []ports.DisputeObject, error) {
	read, err := r.Full(ctx, id, cause)

	return read.FullPayment, read.Objected, err
}

// Full loads the payment, then reads its intent and, if it is paid, its refunds and disputes,
// and writes what was read if the payment has not changed in between; else it begins again. So
// what is written was true after the payment was last written. It returns the payment as it is
// then.
//
// An intent that does not fit the payment is ports.ErrContradiction, and so is one that
// the provider does not know. The payment's hints are parked for a person then.
func (r *Refresh) Full(ctx context.Context, id uuid.UUID, cause string) (Reading, error) {
	for range refreshTries {
		before, err := r.payments.FullPayment(ctx, id)
		if err != nil {
			return Reading{FullPayment: before}, err
		}

		read, verdict, err := r.read(ctx, before)
		if err != nil {
			return read, err
		}

		lost, err := r.lost(&read, before)
		if err != nil {
			return read, err
		}

		outcome := map[payment.Verdict]ports.EventOutcome{
			payment.Applies: ports.EventApplied, payment.Stale: ports.EventStale, payment.Contradicts: ports.EventParked,
		}[verdict]

		written, err := r.facts.Write(ctx, read.FullPayment, lost, outcome, cause)

		switch {
		case err != nil:
			return read, err
		case !written:
			continue
		case verdict == payment.Contradicts:
			p := before.Payment

			return read, fmt.Errorf("payment %s is %s, its intent %s is %q: %w",
				id, p.Status, p.IntentID, read.Intent.IntentStatus, ports.ErrContradiction)
		case verdict == payment.Applies:
			r.observer.PaymentChanged(ctx, before.Payment, read.Payment)
			r.observer.RefundsChanged(ctx, before, read.FullPayment)
		}

		return read, nil
	}

	return Reading{}, fault.New(fault.Unavailable,
		"The payment changes at this moment. Send the same request again.").After(time.Second)
}

// read asks the provider, and says what follows.
func (r *Refresh) read(ctx context.Context, before ports.FullPayment) (Reading, payment.Verdict, error) {
	read := Reading{FullPayment: before}

	intent, err := r.provider.Intent(ctx, before.Payment.IntentID)

	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return read, payment.Contradicts, nil
	case err != nil:
		return read, "", fmt.Errorf("reading intent %s: %w", before.Payment.IntentID, err)
	}

	verdict, after := payment.Read(before.Payment, intent.Snapshot())
	read.Intent, read.Payment = intent, after

	if verdict == payment.Contradicts || intent.Status != payment.Succeeded {
		return read, verdict, nil
	}

	if read, err = r.readMoney(ctx, read); err != nil {
		return read, "", err
	}

	if verdict == payment.Stale && !sameFull(before, read.FullPayment) {
		verdict = payment.Applies
	}

	return read, verdict, nil
}

// readMoney adds to what was read of a payment that is paid what was taken of it since.
func (r *Refresh) readMoney(ctx context.Context, read Reading) (Reading, error) {
	p := read.Payment

	listed, err := r.provider.RefundsOf(ctx, p.IntentID)
	if err != nil {
		return read, fmt.Errorf("reading the refunds of intent %s: %w", p.IntentID, err)
	}

	read.Listed = refund.OfMoney(listed, p.Amount.Minor()-p.Received().Minor())
	read.Refunds = refund.Read(read.Refunds, read.Listed, p.ID, r.installation)

	read.Objected, err = r.provider.Disputes(ctx, p.IntentID)
	if err != nil {
		return read, fmt.Errorf("reading the disputes of intent %s: %w", p.IntentID, err)
	}

	snapshots := make([]dispute.Snapshot, 0, len(read.Objected))
	for _, d := range read.Objected {
		snapshots = append(snapshots, d.Snapshot)
	}

	read.Disputes = dispute.Following(read.Disputes, snapshots, p, r.installation.ObjectID)
	read.FullPayment = read.Counting()

	return read, nil
}

func sameFull(before, after ports.FullPayment) bool {
	return before.Payment.SameAs(after.Payment) &&
		slices.EqualFunc(before.Refunds, after.Refunds, refund.Refund.SameAs) &&
		slices.EqualFunc(before.Disputes, after.Disputes, dispute.Dispute.SameAs)
}

// lost are the operations that have made refunds of ours of which there is no record: the
// database has lost both, because they are written in one commit. They come home together.
func (r *Refresh) lost(read *Reading, before ports.FullPayment) ([]ports.NewOperation, error) {
	var lost []ports.NewOperation

	for _, s := range read.Listed {
		if _, here := refund.Find(before.Refunds, s.IDIn(r.installation)); here || !s.Ours(r.installation) {
			continue
		}

		op, err := lostRefund(r.calls, read.Payment, s)
		if err != nil {
			return nil, err
		}

		made, _ := refund.Find(read.Refunds, op.ID)
		made = made.Changed(time.Now())
		read.Refunds = refund.With(read.Refunds, made)
		op.Response = new(r.renderer.RefundMade(made))
		lost = append(lost, op)
	}

	return lost, nil
}

// lostOn is the operation of a refund of which there is a record, as the refund says.
func (r *Refresh) lostOn(p payment.Payment, s refund.Snapshot) (ports.NewOperation, error) {
	op, err := lostRefund(r.calls, p, s)

	for _, made := range refund.Read(nil, []refund.Snapshot{s}, p.ID, r.installation) {
		op.Response = new(r.renderer.RefundMade(made.Changed(time.Now())))
	}

	return op, err
}

// lostRefund is the operation that has made a refund, as the refund says.
func lostRefund(calls ports.Calls, p payment.Payment, s refund.Snapshot) (ports.NewOperation, error) {
	order := refundOrderOf(s)

	call, err := calls.Refund(s.Mark, s.Key, p.ID, p.IntentID, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: s.Mark.Operation, Tenant: p.Tenant, Kind: operation.Refund, Subject: p.ID, Key: s.Key, Order: order, Call: call,
		CreatedAt: s.CreatedAt, Copied: s.Mark.Fingerprint,
	}, nil
}

// refundOrderOf is what was asked for, as far as the refund says it.
func refundOrderOf(s refund.Snapshot) operation.Order {
	order := operation.Order{Amount: s.Amount, Metadata: s.Metadata}
	if s.Reason != "" {
		order.Options = map[string]string{OptionReason: s.Reason}
	}

	return order
}

// IfHinted is Do where what was told of a payment is only a hint. A payment that is not here is
// left alone.
func (r *Refresh) IfHinted(ctx context.Context, id uuid.UUID, told payment.Told, cause string) error {
	f, err := r.payments.FullPayment(ctx, id)
	if err != nil {
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}

		return err
	}

	if verdict, _ := payment.Decide(told, payment.Known{Payment: &f.Payment}); verdict == payment.Hints {
		_, _, err = r.Do(ctx, id, cause)
	}

	return err
}
