// Package reconcile holds our records against the provider's and repairs what
// differs.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	// tooYoung: what is younger than this and not here may still be on its way. It is
	// no discrepancy yet.
	tooYoung = time.Minute
	// overlap is how much of what was looked at before is looked at again.
	overlap = 15 * time.Minute
	// firstLook is how far back a scheduled run looks where there was none before.
	firstLook = 24 * time.Hour
	// unsureLook is how far back it looks where the cursor says nothing: as far as
	// Stripe lists events (https://docs.stripe.com/api/events).
	unsureLook = 30 * 24 * time.Hour
	// runLease is how long the lease of a run outlives its process.
	runLease = 15 * time.Second
	// leasePoll is how often it is asked for while another run has it.
	leasePoll = time.Second
)

// ErrReconciling says that another run is under way, or has just been.
var ErrReconciling = errors.New("another reconciliation is under way")

var errLeaseLost = errors.New("another process has taken the lease of this reconciliation")

// Reconcile holds our records against the provider's and repairs what differs,
// through the same doors as everything else. Of those that repair, one runs at a
// time, whichever process it is in.
type Reconcile struct {
	records    ports.Reconciliation
	backlog    ports.Backlog
	inbox      ports.Inbox
	operations ports.Operations
	gateway    ports.PaymentGateway
	engine     *operations.Engine
	apply      Events
	ours       Ours
	observer   Observer
}

// New returns the use case.
func New(
	records ports.Reconciliation, backlog ports.Backlog, inbox ports.Inbox, ops ports.Operations,
	gateway ports.PaymentGateway, engine *operations.Engine, apply Events, ours Ours, observer Observer,
) *Reconcile {
	return &Reconcile{
		records: records, backlog: backlog, inbox: inbox, operations: ops, gateway: gateway, engine: engine,
		apply: apply, ours: ours, observer: observer,
	}
}

// Observer is told what reconciliation finds.
type Observer interface {
	ports.Spans

	// DiscrepancyFound: our records and the provider's differ, or did until now. A
	// dry run finds a discrepancy and does not try to repair it.
	DiscrepancyFound(ctx context.Context, d ports.Discrepancy, dryRun bool)
	// PaymentAdvanced: reconciliation moved a payment on.
	PaymentAdvanced(p payment.Payment, to payment.Status)
	// CursorReset: the cursor was in the future and has been set to another time.
	CursorReset(ctx context.Context, wrong, to time.Time)
	// LeaseKept: the lease of a run could not be given back. It runs out by itself.
	LeaseKept(ctx context.Context, cause error)
}

// Events applies what the provider has told and we have not.
type Events interface {
	// Foreign tells whether an event is none of ours.
	Foreign(e ports.Event) bool
	// Do stores an event and does what it asks for, in one commit.
	Do(ctx context.Context, e ports.Event) (ports.Applied, error)
	// Take is Do, and counts the event as taken from the provider.
	Take(ctx context.Context, e ports.Event) (ports.Applied, error)
}

// Ours tells what is ours at the provider.
type Ours interface {
	// Foreign tells whether an object is from the provider's other mode or from an
	// account that is not ours.
	Foreign(live *bool, account string) bool
}

// Options say what to look at.
type Options struct {
	// Since is how far back events and intents are looked at. Payments that are
	// not final are looked at whatever their age.
	Since time.Time
	// Back, where Since is zero, is the same as a duration before the database's
	// now.
	Back time.Duration
	// DryRun finds and does not repair. It moves no cursor and waits for nobody.
	DryRun bool
	// Waiting is told where another run has to end first; it may be nil.
	Waiting func()
	// Progress is told now and then; it may be nil.
	Progress func(Report)

	// scheduled runs go on where the last one stopped, and are bounded.
	scheduled bool
}

// Report is what a run saw and did.
type Report struct {
	// Events and intents were looked at from Since until Until, which a run that
	// was interrupted has not come far with. They are the provider's times.
	Since, Until time.Time
	// Cursor is up to when everything has been looked at, by this run and those
	// before it; zero if nothing has.
	Cursor time.Time
	// Events, Intents and Payments were looked at.
	Events, Intents, Payments int
	// Found and Repaired count the discrepancy of each kind. What was stored for a
	// person is not repaired.
	Found, Repaired map[ports.DiscrepancyKind]int
	// NeedsAttention and Parked wait for a person, each counted up to
	// ports.BacklogMost. They are there once a run has come to its end.
	NeedsAttention, Parked int64
}

// Left is the discrepancy that remains.
func (r Report) Left() int {
	left := 0
	for kind, n := range r.Found {
		left += n - r.Repaired[kind]
	}

	return left
}

// Clean tells whether nothing is left for a person, by this run or from before.
func (r Report) Clean() bool { return r.Left() == 0 && r.NeedsAttention == 0 && r.Parked == 0 }

// Do looks at everything since options.Since: events that never arrived,
// intents of ours without a payment or with another status or amount, and
// payments that are not final although the provider's are. It waits while another
// run is under way. The report tells what was done also where there is an error.
func (uc *Reconcile) Do(ctx context.Context, options Options) (Report, error) {
	report, err := uc.byHand(ctx, options)
	if err != nil {
		return report, err
	}

	backlog, err := uc.backlog.Backlog(ctx)
	report.NeedsAttention, report.Parked = backlog.Operations[operation.NeedsAttention], backlog.Parked

	return report, err
}

func (uc *Reconcile) byHand(ctx context.Context, options Options) (Report, error) {
	if options.DryRun {
		return uc.run(ctx, options)
	}

	token := uuid.New()

	for told := false; ; told = true {
		switch held, err := uc.hold(ctx, token); {
		case err != nil:
			return Report{}, err
		case held:
			return uc.alone(ctx, token, options)
		case !told && options.Waiting != nil:
			options.Waiting()
		}

		if err := sleep(ctx, leasePoll); err != nil {
			return Report{}, err
		}
	}
}

// UntilDue is how long the next scheduled run may wait where there is one every so
// often: not at all where the last that came to its end is that long ago, whichever
// process did it.
func (uc *Reconcile) UntilDue(ctx context.Context, every time.Duration) time.Duration {
	through, now, err := uc.records.ReconciledThrough(ctx)

	switch {
	case err != nil || through.IsZero():
		return every
	case through.After(now): // it says nothing, and a run puts it right
		return 0
	default:
		return min(max(every-now.Add(-tooYoung).Sub(through), 0), every)
	}
}

// Scheduled looks at everything since the cursor, and a while more, and at some
// of the payments that are not final, where the last run stopped. Where another
// run has the lease it waits no longer than a process that has died keeps it:
// ErrReconciling.
func (uc *Reconcile) Scheduled(ctx context.Context) (Report, error) {
	token, began := uuid.New(), time.Now()

	before, _, err := uc.records.ReconciledThrough(ctx)
	if err != nil {
		return Report{}, err
	}

	for {
		held, err := uc.hold(ctx, token)
		if err != nil {
			return Report{}, err
		}

		if held {
			break
		}

		if time.Since(began) > runLease+leasePoll {
			return Report{}, ErrReconciling
		}

		if err := sleep(ctx, leasePoll); err != nil {
			return Report{}, err
		}
	}

	// The run that had the lease may have done what this one is for.
	after, _, err := uc.records.ReconciledThrough(ctx)
	if err != nil || !after.Equal(before) {
		uc.release(ctx, token)

		return Report{}, errors.Join(err, ErrReconciling)
	}

	return uc.alone(ctx, token, Options{scheduled: true})
}

func (uc *Reconcile) hold(ctx context.Context, token uuid.UUID) (bool, error) {
	return uc.records.HoldReconciliation(ctx, ports.Lease{Token: token, For: runLease})
}

// release gives the lease back. Where that fails it runs out by itself.
func (uc *Reconcile) release(ctx context.Context, token uuid.UUID) {
	if err := uc.records.ReleaseReconciliation(context.WithoutCancel(ctx), token); err != nil {
		uc.observer.LeaseKept(ctx, err)
	}
}

// alone runs while it keeps the lease that token has, and gives it back.
func (uc *Reconcile) alone(
	ctx context.Context, token uuid.UUID, options Options,
) (Report, error) {
	const beat = runLease / 3

	running, stop := context.WithCancelCause(ctx)

	var keeping sync.WaitGroup

	keeping.Go(func() {
		for sleep(running, beat) == nil {
			if held, err := uc.hold(running, token); err == nil && !held {
				stop(errLeaseLost)
			}
		}
	})

	defer func() {
		stop(nil)
		keeping.Wait()
		uc.release(ctx, token)
	}()

	report, err := uc.run(running, options)
	if lost := context.Cause(running); errors.Is(lost, errLeaseLost) {
		err = errors.Join(lost, err)
	}

	return report, err
}

func (uc *Reconcile) run(ctx context.Context, options Options) (Report, error) {
	run := &reconciliation{
		Reconcile: uc,
		options:   options,
		report:    Report{Found: map[ports.DiscrepancyKind]int{}, Repaired: map[ports.DiscrepancyKind]int{}},
	}

	return ports.InSpan(ctx, uc.observer, "app.Reconcile", func(ctx context.Context) (Report, error) {
		err := run.begin(ctx)
		if err == nil {
			err = errors.Join(run.lists(ctx), run.sweep(ctx))
		}

		run.report.Cursor = run.cursor

		return run.report, err
	})
}

// reconciliation is one run.
type reconciliation struct {
	*Reconcile

	options Options
	// now is the database's clock when the run began. What is created after until
	// is too young.
	now, until time.Time
	// cursor is as it was last seen. It moves where the run has looked from it on,
	// or from before it, without a gap.
	cursor time.Time
	moves  bool
	// stored are missed events that were stored and not applied.
	stored []string
	// unanswered is what the provider did not tell of single payments.
	unanswered error
	report     Report
}

// begin decides from when on to look.
func (run *reconciliation) begin(ctx context.Context) error {
	through, now, err := run.records.ReconciledThrough(ctx)
	if err != nil {
		return err
	}

	run.now, run.until, run.cursor = now, now.Add(-tooYoung).Truncate(time.Second), through

	if through.After(now) {
		if err := run.healCursor(ctx); err != nil {
			return err
		}
	}

	from := run.cursor
	if from.IsZero() {
		from = now.Add(-firstLook)
	}

	since := run.options.Since

	switch {
	case run.options.scheduled:
		since = from.Add(-overlap)
	case since.IsZero():
		since = now.Add(-run.options.Back)
	}

	run.moves = !run.options.DryRun && !since.After(from)
	run.report.Since = since.Truncate(time.Second).UTC() // the provider's times are in seconds
	run.report.Until = run.report.Since

	if run.report.Since.After(run.until) {
		return fmt.Errorf("nothing to look at since %s: what is younger than %s is still on its way",
			run.report.Since.Format(time.RFC3339), tooYoung)
	}

	return nil
}

// healCursor puts a cursor right that a wrong clock has written. One that is far
// ahead does not tell when it was written, and so not what was looked at: that is
// looked at again.
func (run *reconciliation) healCursor(ctx context.Context) error {
	wrong := run.cursor

	run.cursor = run.now
	if wrong.Sub(run.now) > overlap {
		run.cursor = run.now.Add(-unsureLook)
	}

	if run.options.DryRun {
		return nil
	}

	run.observer.CursorReset(ctx, wrong, run.cursor)

	_, err := run.records.MoveReconciledThrough(ctx, wrong, run.cursor)

	return err
}

// moveCursor: everything from the run's begin to a time has been looked at, and is
// right or stands here for a person.
func (run *reconciliation) moveCursor(ctx context.Context, to time.Time) error {
	for run.moves && run.cursor.Before(to) {
		moved, err := run.records.MoveReconciledThrough(ctx, run.cursor, to)
		if err != nil {
			return err
		}

		if moved {
			run.cursor = to

			return nil
		}

		// Somebody else has moved it: a process of an older release knows no lease.
		if run.cursor, _, err = run.records.ReconciledThrough(ctx); err != nil {
			return err
		}

		run.moves = !run.report.Since.After(run.cursor)
	}

	return nil
}

// discrepancy counts a difference and repairs it. What cannot be repaired is left
// for a person; only an outage ends the run.
func (run *reconciliation) discrepancy(ctx context.Context, d ports.Discrepancy, repair func() error) error {
	run.report.Found[d.Kind]++

	if run.options.DryRun {
		run.observer.DiscrepancyFound(ctx, d, true)

		return nil
	}

	d.Cause = repair()
	d.Repaired = d.Cause == nil

	switch {
	case errors.Is(d.Cause, errStored):
		return nil // it is counted once it is known what became of it
	case d.Repaired:
		run.report.Repaired[d.Kind]++
	case fault.KindOf(d.Cause) == fault.Unavailable || ctx.Err() != nil:
		run.observer.DiscrepancyFound(ctx, d, false)

		return d.Cause
	default:
		// What contradicts us, and what nobody can read, is the same at the next run.
		// Anything else may succeed then.
		run.moves = run.moves &&
			(errors.Is(d.Cause, ports.ErrContradiction) || fault.KindOf(d.Cause) == fault.Invalid)
	}

	run.observer.DiscrepancyFound(ctx, d, false)

	return nil
}

func (run *reconciliation) progress() {
	if run.options.Progress != nil {
		run.options.Progress(run.report)
	}
}

// again repeats a read that the provider did not answer, a few times: a run of
// many calls meets a limit or a broken connection now and then.
func again[T any](ctx context.Context, read func() (T, error)) (T, error) {
	const tries, longest = 5, 1750 * time.Millisecond // some five seconds in all

	pause := backoff.NewExponentialBackOff()
	pause.Multiplier, pause.MaxInterval = 2, longest

	var failed error // what read said last, also where ctx ends first

	got, _ := backoff.Retry(ctx, func() (got T, err error) {
		got, failed = read()
		if errors.Is(failed, errTooMany) || fault.KindOf(failed) == fault.NotFound {
			return got, backoff.Permanent(failed)
		}

		return got, failed
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(tries))

	return got, failed
}

// sleep returns ctx's error if that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // it says enough
	}
}
