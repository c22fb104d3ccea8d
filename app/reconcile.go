package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

const (
	// reconcileBatch is how many of the provider's things are compared at once:
	// a page of its lists.
	reconcileBatch = 100
	// settling is how old a thing has to be before its absence here is drift:
	// younger ones are still on their way.
	settling = time.Minute
	// overlap is how much of what was looked at before is looked at again.
	overlap = 15 * time.Minute
	// firstLook is how far back the first scheduled run looks.
	firstLook = 24 * time.Hour
	// scheduledPayments is how many payments that are not final a scheduled run
	// asks the provider for, one by one. The events tell of their changes
	// already, so that this second net may go round slowly.
	scheduledPayments = 300
)

// Reconcile holds our books against the provider's and repairs what differs,
// through the same doors as everything else.
type Reconcile struct {
	deps   Deps
	inbox  *inbox
	settle *settler

	// resume is where the next scheduled run goes on with unsettled payments.
	resume payment.Payment
	mu     sync.Mutex
}

// NewReconcile returns the use case.
func NewReconcile(deps Deps) *Reconcile {
	return &Reconcile{deps: deps, inbox: newInbox(deps), settle: newSettler(deps)}
}

// ReconcileOptions say what to look at.
type ReconcileOptions struct {
	// Since is how far back events and intents are looked at. Payments that are
	// not final are looked at whatever their age.
	Since time.Time
	// DryRun finds and does not repair.
	DryRun bool
	// Progress is told now and then; it may be nil.
	Progress func(ReconcileReport)

	// after and most narrow the payments that are asked for.
	after payment.Payment
	most  int
}

// ReconcileReport is what a run saw and did.
type ReconcileReport struct {
	// Events, Intents and Payments were looked at.
	Events, Intents, Payments int
	// Found and Repaired count the drift of each kind.
	Found, Repaired map[ports.Drift]int
}

// Left is the drift that remains.
func (r ReconcileReport) Left() int {
	left := 0
	for kind, n := range r.Found {
		left += n - r.Repaired[kind]
	}

	return left
}

// Do looks at everything since options.Since: events that never arrived,
// intents of ours without a payment or with another status or amount, and
// payments that are not final although the provider's are.
func (uc *Reconcile) Do(ctx context.Context, options ReconcileOptions) (ReconcileReport, error) {
	run, err := uc.run(ctx, options)

	return run.report, err
}

func (uc *Reconcile) run(
	ctx context.Context, options ReconcileOptions, about ...trace.SpanStartOption,
) (*reconciliation, error) {
	run := &reconciliation{
		Reconcile: uc,
		options:   options,
		until:     time.Now().Add(-settling),
		last:      options.after,
		report:    ReconcileReport{Found: map[ports.Drift]int{}, Repaired: map[ports.Drift]int{}},
	}

	return inSpan(ctx, uc.deps.Tracer, "app.Reconcile", func(ctx context.Context) (*reconciliation, error) {
		return run, errors.Join(run.events(ctx), run.intents(ctx), run.payments(ctx))
	}, about...)
}

// UntilDue is how long the next scheduled run may wait where there is one every so
// often: not at all where the last that came to its end is that long ago, whichever
// process did it.
func (uc *Reconcile) UntilDue(ctx context.Context, every time.Duration) time.Duration {
	through, err := uc.deps.Reconciliation.ReconciledThrough(ctx)
	if err != nil || through.IsZero() {
		return every
	}

	return min(max(every-time.Since(through), 0), every)
}

// Scheduled looks at everything since the last scheduled run, and a while more.
// about says what the job is in its trace's terms.
func (uc *Reconcile) Scheduled(ctx context.Context, about ...trace.SpanStartOption) (ReconcileReport, error) {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	start := time.Now()

	through, err := uc.deps.Reconciliation.ReconciledThrough(ctx)
	if err != nil {
		return ReconcileReport{}, err
	}

	// A process whose clock was ahead may have written it.
	if through.After(start) {
		through = start
	}

	since := through.Add(-overlap)
	if through.IsZero() {
		since = start.Add(-firstLook)
	}

	run, err := uc.run(ctx, ReconcileOptions{Since: since, after: uc.resume, most: scheduledPayments}, about...)
	if err != nil {
		return run.report, err
	}

	uc.resume = run.last

	return run.report, uc.deps.Reconciliation.SetReconciledThrough(ctx, start)
}

// reconciliation is one run.
type reconciliation struct {
	*Reconcile

	options ReconcileOptions
	until   time.Time
	// last is the last unsettled payment that was asked for; zero at the end.
	last   payment.Payment
	report ReconcileReport
}

// events applies those that the provider has and the inbox has not.
func (run *reconciliation) events(ctx context.Context) error {
	batch := make(map[string]ports.Event, reconcileBatch)

	for event, err := range run.deps.Gateway.Events(ctx, run.options.Since) {
		// One that cannot be read must not hide those behind it, now and for ever.
		if fault.KindOf(err) == fault.Invalid {
			if err := run.drift(ctx, ports.DriftMissedEvent, func() error { return err }); err != nil {
				return err
			}

			continue
		}

		if err != nil {
			return fmt.Errorf("listing the provider's events: %w", err)
		}

		if event.CreatedAt.After(run.until) {
			continue
		}

		run.report.Events++

		if batch[event.ID] = event; len(batch) < reconcileBatch {
			continue
		}

		if err := run.applyMissed(ctx, batch); err != nil {
			return err
		}

		clear(batch)
	}

	return run.applyMissed(ctx, batch)
}

func (run *reconciliation) applyMissed(ctx context.Context, batch map[string]ports.Event) error {
	defer run.progress()

	ids := make([]string, 0, len(batch))
	for id := range batch {
		ids = append(ids, id)
	}

	unknown, err := run.deps.Reconciliation.UnknownEvents(ctx, ids)
	if err != nil {
		return err
	}

	for _, id := range unknown {
		event := batch[id]

		// Another system on the same account may have intents of its own.
		if event.Intent.PaymentID == uuid.Nil && event.Change == "" {
			continue
		}

		// Once it is in the inbox it is missed no longer: one that is parked there
		// has an alert of its own.
		err := run.drift(ctx, ports.DriftMissedEvent, func() error {
			_, err := run.inbox.apply(ctx, event)

			return err
		}, zap.String("event_id", id), zap.String("event_type", event.Type))
		if err != nil {
			return err
		}
	}

	return nil
}

// intents compares those of ours with their payments.
func (run *reconciliation) intents(ctx context.Context) error {
	batch := make([]ports.Intent, 0, reconcileBatch)

	for intent, err := range run.deps.Gateway.Intents(ctx, run.options.Since, run.until) {
		if err != nil {
			return fmt.Errorf("listing the provider's intents: %w", err)
		}

		if intent.PaymentID == uuid.Nil {
			continue // not ours
		}

		run.report.Intents++

		if batch = append(batch, intent); len(batch) < reconcileBatch {
			continue
		}

		if err := run.compare(ctx, batch); err != nil {
			return err
		}

		batch = batch[:0]
	}

	return run.compare(ctx, batch)
}

func (run *reconciliation) compare(ctx context.Context, batch []ports.Intent) error {
	defer run.progress()

	ids := make([]string, 0, len(batch))
	for _, intent := range batch {
		ids = append(ids, intent.ID)
	}

	known, err := run.deps.Reconciliation.PaymentsByIntent(ctx, ids)
	if err != nil {
		return err
	}

	for _, intent := range batch {
		p, ok := known[intent.ID]
		if ok {
			err = run.compareOne(ctx, p, intent)
		} else {
			err = run.drift(ctx, ports.DriftMissingRow, func() error { return run.adopt(ctx, intent) },
				zap.String("intent_id", intent.ID), zap.Stringer("payment_id", intent.PaymentID))
		}

		if err != nil {
			return err
		}
	}

	return nil
}

func (run *reconciliation) compareOne(ctx context.Context, p payment.Payment, intent ports.Intent) error {
	fields := []zap.Field{
		zap.Stringer("payment_id", p.ID), zap.String("intent_id", intent.ID),
		zap.String("status", string(p.Status)), zap.String("provider_status", string(intent.Status)),
	}

	switch {
	case p.Amount != intent.Amount || intent.PaymentID != uuid.Nil && intent.PaymentID != p.ID:
		return run.drift(ctx, ports.DriftContradiction, func() error {
			return fmt.Errorf("payment %s and intent %s differ: %w", p.ID, intent.ID, ports.ErrContradiction)
		}, fields...)
	case agree(p.Status, intent.Status):
		return nil
	case !p.Status.CanBecome(intent.Status):
		// The payment may have moved on after the intent was listed.
		fresh, err := run.deps.Gateway.Intent(ctx, intent.ID)
		if err != nil || agree(p.Status, fresh.Status) {
			return err
		}

		return run.drift(ctx, ports.DriftContradiction, func() error {
			return fmt.Errorf("payment %s is %s, its intent %s: %w", p.ID, p.Status, intent.Status, ports.ErrContradiction)
		}, fields...)
	default:
		return run.drift(ctx, ports.DriftStatus, func() error { return run.advance(ctx, p, intent) }, fields...)
	}
}

// agree: a failed intent that is on its way again is pending at the provider.
func agree(ours, theirs payment.Status) bool {
	return ours == theirs || ours == payment.Failed && theirs == payment.Pending
}

func (run *reconciliation) advance(ctx context.Context, p payment.Payment, intent ports.Intent) error {
	moved, err := run.deps.Reconciliation.Advance(ctx, p.ID, intent.Status, string(ports.ByReconciliation))
	if err == nil && moved {
		run.deps.Recorder.PaymentChanged(intent.Status, p.Amount)
	}

	return err
}

// adopt writes the payment of an intent that has none. Its claim is there,
// unless the database was restored from an older copy.
func (run *reconciliation) adopt(ctx context.Context, intent ports.Intent) error {
	claim, err := run.deps.Claims.ClaimByPayment(ctx, intent.PaymentID)
	if fault.KindOf(err) == fault.NotFound {
		order := payment.Order{Amount: intent.Amount}
		claim, err = run.deps.Claims.Claim(ctx, ports.NewClaim{
			PaymentID: intent.PaymentID,
			Order:     order,
			Request:   run.deps.Gateway.Prepare(intent.PaymentID, order),
			Lease:     ports.Lease{Token: uuid.New(), For: leaseFor},
			CreatedAt: intent.CreatedAt,
		})
	}

	if err != nil {
		return err
	}

	if link, ok := linkTo(claim.Origin.TraceParent); ok {
		trace.SpanFromContext(ctx).AddLink(link)
	}

	if intent.ClientSecret == "" {
		if intent, err = run.deps.Gateway.Intent(ctx, intent.ID); err != nil {
			return fmt.Errorf("reading intent: %w", err)
		}
	}

	_, err = run.settle.complete(ctx, claim, intent, ports.ByReconciliation)

	return err
}

// payments asks for each one that is not final and older than what was listed.
func (run *reconciliation) payments(ctx context.Context) error {
	for {
		page, err := run.deps.Reconciliation.Unsettled(ctx, run.options.Since, run.last, reconcileBatch)
		if err != nil {
			return err
		}

		if len(page) == 0 {
			run.last = payment.Payment{}

			return nil
		}

		for _, p := range page {
			if err := run.ask(ctx, p); err != nil {
				return err
			}

			run.last = p
		}

		run.progress()

		if run.options.most > 0 && run.report.Payments >= run.options.most {
			return nil
		}
	}
}

func (run *reconciliation) ask(ctx context.Context, p payment.Payment) error {
	run.report.Payments++

	intent, err := run.deps.Gateway.Intent(ctx, p.IntentID)

	switch {
	case fault.KindOf(err) == fault.NotFound:
		return run.drift(ctx, ports.DriftContradiction, func() error {
			return fmt.Errorf("payment %s has an intent that the provider does not know: %w", p.ID, ports.ErrContradiction)
		}, zap.Stringer("payment_id", p.ID), zap.String("intent_id", p.IntentID))
	case err != nil:
		return fmt.Errorf("reading intent %s: %w", p.IntentID, err)
	default:
		return run.compareOne(ctx, p, intent)
	}
}

// drift counts a difference and repairs it. What cannot be repaired is left
// for a person; only an outage ends the run.
func (run *reconciliation) drift(ctx context.Context, kind ports.Drift, repair func() error, fields ...zap.Field) error {
	run.report.Found[kind]++

	fields = append(fields, logctx.Field(ctx), zap.String("drift", string(kind)))

	if run.options.DryRun {
		run.deps.Log.Warn("drift found", fields...)

		return nil
	}

	err := repair()
	run.deps.Recorder.Drifted(kind, err == nil)

	switch {
	case err == nil:
		run.report.Repaired[kind]++
		run.deps.Log.Warn("drift repaired", fields...)

		return nil
	case fault.KindOf(err) == fault.Unavailable || ctx.Err() != nil:
		return err
	default:
		run.deps.Log.Error("drift left", append(fields, zap.Error(err))...)

		return nil
	}
}

func (run *reconciliation) progress() {
	if run.options.Progress != nil {
		run.options.Progress(run.report)
	}
}
