// Package reconcile compares our records with the provider's and repairs discrepancies.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	// tooYoung: something newer than this may still be on its way to us. It is not looked
	// at yet.
	tooYoung = time.Minute
	// overlap is how far before the cursor a scheduled run looks once more.
	overlap = 15 * time.Minute
	// clockSkew is how far the provider's clock may be ahead of the database's. A run that
	// looks at everything must not leave out what seems to be in the future.
	clockSkew = 15 * time.Minute
	// firstLook is how far back a scheduled run looks if there is no cursor yet.
	firstLook = 24 * time.Hour
	// unsureLook is how far back a run looks if the cursor cannot be trusted: as far as
	// Stripe lists events (https://docs.stripe.com/api/events).
	unsureLook = 30 * 24 * time.Hour
	// runLease is how long a run keeps its lease after its process has died.
	runLease = 15 * time.Second
	// leasePoll is how often a run tries to get the lease while another run has it.
	leasePoll = time.Second
)

// ErrReconciling says that another run is under way or has just ended.
var ErrReconciling = errors.New("another reconciliation is under way")

var errLeaseLost = errors.New("another process has taken the lease of this reconciliation")

// Reconcile compares our records with the provider's and repairs discrepancies. It writes
// through the same use cases as everything else. Only one run at a time repairs, across
// all processes.
type Reconcile struct {
	records    ports.Reconciliation
	known      Known
	backlog    ports.Backlog
	inbox      ports.Inbox
	operations ports.Operations
	provider   ports.Provider
	engine     *operations.Engine
	apply      Events
	refresh    Refresher
	lives      ports.Incarnations
	ours       Ours
	// installation is whose refunds are ours.
	installation operation.Installation
	observer     Observer
}

// New returns the use case.
func New(
	records ports.Reconciliation, known Known, backlog ports.Backlog, inbox ports.Inbox, ops ports.Operations,
	provider ports.Provider, engine *operations.Engine, apply Events, refresh Refresher, lives ports.Incarnations, ours Ours,
	installation operation.Installation, observer Observer,
) *Reconcile {
	return &Reconcile{
		records: records, known: known, backlog: backlog, inbox: inbox, operations: ops, provider: provider, engine: engine,
		apply: apply, refresh: refresh, lives: lives, ours: ours, installation: installation,
		observer: observer,
	}
}

// Observer is told what reconciliation finds.
type Observer interface {
	ports.Spans

	// DiscrepancyFound: our records and the provider's differ, or did until this run
	// repaired it. A dry run does not repair.
	DiscrepancyFound(ctx context.Context, d ports.Discrepancy, dryRun bool)
	// CursorReset: the cursor was in the future and has been set to another time.
	CursorReset(ctx context.Context, wrong, to time.Time)
	// LeaseKept: the lease of a run could not be released. It expires by itself.
	LeaseKept(ctx context.Context, cause error)
}

// Events applies events that the provider has and we do not have.
type Events interface {
	// Foreign tells whether an event is not ours.
	Foreign(e ports.Event) bool
	// Do stores and applies an event in one commit.
	Do(ctx context.Context, e ports.Event) (ports.Applied, error)
	// Take does what Do does, and counts the event as new from the provider.
	Take(ctx context.Context, e ports.Event) (ports.Applied, error)
}

// Ours knows which of the provider's objects are ours.
type Ours interface {
	// Foreign tells whether an object is from the provider's other mode or from an
	// account that is not ours.
	Foreign(live *bool, account string) bool
	// ForeignMark tells whether an intent carries the mark of another installation.
	ForeignMark(intent ports.Intent) bool
}

// Refresher reads the intent of a payment and writes down what it says, if the payment has
// not changed meanwhile. If they contradict each other: ports.ErrContradiction.
type Refresher interface {
	Do(ctx context.Context, id uuid.UUID, cause string) (payment.Payment, ports.Intent, error)
}

// Options say what to look at.
type Options struct {
	// Since is the time from which events and intents are looked at. Open payments are
	// looked at whatever their age.
	Since time.Time
	// Back replaces a Since that is zero: a duration before the database's now.
	Back time.Duration
	// DryRun finds discrepancies and does not repair them. It neither moves the cursor
	// nor waits for another run.
	DryRun bool
	// Waiting is called once if another run has to end first. It may be nil.
	Waiting func()
	// Progress is called now and then with the report so far. It may be nil.
	Progress func(Report)

	// scheduled runs are bounded, and go on where the last one stopped.
	scheduled bool
}

// Report is what a run saw and did.
type Report struct {
	// Since and Until say from when to when events and intents were looked at, by the
	// provider's clock. A run that was interrupted has an earlier Until.
	Since, Until time.Time
	// Cursor is the time up to which this run and those before it have looked at
	// everything. It is zero if nothing has been looked at.
	Cursor time.Time
	// Events, Intents, Refunds and Payments count what was looked at.
	Events, Intents, Refunds, Payments int
	// Found and Repaired count discrepancies of each kind. An event that was only parked
	// is not repaired.
	Found, Repaired map[ports.DiscrepancyKind]int
	// NeedsAttention and Parked count operations and events that wait for a person, each
	// up to ports.BacklogMost. They are set when a run has ended without an error.
	NeedsAttention, Parked int64
}

// Left counts the discrepancies that remain.
func (r Report) Left() int {
	left := 0
	for kind, n := range r.Found {
		left += n - r.Repaired[kind]
	}

	return left
}

// Clean tells whether nothing is left for a person, from this run or from before.
func (r Report) Clean() bool { return r.Left() == 0 && r.NeedsAttention == 0 && r.Parked == 0 }

// Do looks at everything since options.Since and at all open payments. It looks for events
// that never arrived, for our intents that have no payment or differ from it, and for
// payments that are open here but final at the provider. It waits while another run is
// under way. The report says what was done even if there is an error.
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

// Anew tells whether the database has begun a new life in which no reconciliation has
// ended yet. If that cannot be told now, it is true.
func (uc *Reconcile) Anew(ctx context.Context) bool {
	reconciled, err := uc.lives.Reconciled(ctx)

	return err != nil || !reconciled
}

// Unsure tells whether the cursor has to move although no run may be due by the interval:
// something may be missing from the database, and nothing is sent once the cursor is too old.
func (uc *Reconcile) Unsure(ctx context.Context) bool {
	const mostBehind = time.Hour

	_, standing, err := uc.lives.Incarnation(ctx)

	return err == nil && standing.Behind > mostBehind
}

// UntilDue is how long to wait until the next scheduled run, if one runs every so often.
// It is 0 if the last complete run, by any process, is that long ago.
func (uc *Reconcile) UntilDue(ctx context.Context, every time.Duration) time.Duration {
	through, now, err := uc.records.ReconciledThrough(ctx)

	if _, standing, err := uc.lives.Incarnation(ctx); err == nil && !standing.Reconciled {
		return 0
	}

	switch {
	case err != nil || through.IsZero():
		return every
	case through.After(now): // the cursor is wrong, and a run corrects it
		return 0
	default:
		return min(max(every-now.Add(-tooYoung).Sub(through), 0), every)
	}
}

// Scheduled looks at everything since a little before the cursor. It also looks at some
// open payments, from where the last run stopped. If another run has the lease, it waits
// as long as a dead process would keep it. If the lease is still taken then, or if the
// other run has just moved the cursor, the error is ErrReconciling.
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

	// The run that had the lease may have done this one's work.
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

// release gives the lease back. If that fails, the lease expires by itself.
func (uc *Reconcile) release(ctx context.Context, token uuid.UUID) {
	if err := uc.records.ReleaseReconciliation(context.WithoutCancel(ctx), token); err != nil {
		uc.observer.LeaseKept(ctx, err)
	}
}

// alone does a run under the lease that token has. It extends the lease meanwhile, stops
// the run if the lease is lost, and releases it at the end.
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
			listed := run.lists(ctx)
			if listed == nil {
				listed = run.end(ctx)
			}

			err = errors.Join(listed, run.sweepDisputes(ctx), run.sweep(ctx))
		}

		run.report.Cursor = run.cursor

		return run.report, err
	})
}

// reconciliation is one run.
type reconciliation struct {
	*Reconcile

	options Options
	// counting guards what the comparisons that run at the same time write: what report
	// counts, moves, stored and unanswered.
	counting sync.Mutex
	// now is the database's clock when the run began. Anything created after until is
	// too young.
	now, until time.Time
	// incarnation is the database's life in which the run began, and anew says that no run
	// has ended in it yet.
	incarnation string
	anew        bool
	// lossy: the database may have lost operations on payments that it has.
	lossy bool
	// cursor is the cursor as it was last read. It moves only while moves is true: the
	// run began at the cursor or before it, and has left no gap since.
	cursor time.Time
	moves  bool
	// stored are the ids of missed events that were stored and not applied.
	stored []string
	// unanswered joins the errors about single payments that the provider gave no answer
	// about.
	unanswered error
	report     Report
}

// begin decides which time to look at.
func (run *reconciliation) begin(ctx context.Context) error {
	incarnation, standing, err := run.lives.Incarnation(ctx)
	if err != nil {
		return err
	}

	through, now, err := run.records.ReconciledThrough(ctx)
	if err != nil {
		return err
	}

	run.incarnation, run.anew = incarnation, !standing.Reconciled
	run.lossy = standing.Behind != 0 || !run.options.scheduled
	run.now, run.until, run.cursor = now, now.Add(-tooYoung).Truncate(time.Second), through

	// What was lost is not on its way to us any more, and once this run has ended, it counts
	// that everything was looked at.
	if run.anew {
		run.until = now.Truncate(time.Second)
	}

	if through.After(now) {
		if err := run.healCursor(ctx); err != nil {
			return err
		}
	}

	from := run.cursor

	switch {
	case from.IsZero() && run.anew: // nobody knows since when something is missing
		from = now.Add(-unsureLook)
	case from.IsZero():
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
	run.report.Since = since.Truncate(time.Second).UTC() // the provider's times are whole seconds
	run.report.Until = run.report.Since

	if run.report.Since.After(run.until) {
		return fmt.Errorf("nothing to look at since %s: anything newer than %s may still be on its way",
			run.report.Since.Format(time.RFC3339), tooYoung)
	}

	return nil
}

// end writes down that everything since the cursor was looked at in this life of the
// database. What the run began before another life began does not count.
func (run *reconciliation) end(ctx context.Context) error {
	if !run.anew || !run.moves || run.report.Until.Before(run.until) {
		return nil
	}

	_, err := run.records.EndReconciliation(ctx, run.incarnation)

	return err
}

// healCursor corrects a cursor that a wrong clock has set to the future. A cursor far in
// the future does not tell how much was looked at, so the run looks back unsureLook.
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

	_, err := run.records.MoveReconciledThrough(ctx, wrong, run.cursor, run.incarnation)

	return err
}

// moveCursor moves the cursor to a time. Everything from the run's start to that time has
// been looked at, and is either right or recorded for a person.
func (run *reconciliation) moveCursor(ctx context.Context, to time.Time) error {
	for run.moves && run.cursor.Before(to) {
		moved, err := run.records.MoveReconciledThrough(ctx, run.cursor, to, run.incarnation)
		if err != nil {
			return err
		}

		if moved {
			run.cursor = to

			return nil
		}

		// Another process has moved it, or the database has begun another life.
		before := run.cursor
		if run.cursor, _, err = run.records.ReconciledThrough(ctx); err != nil {
			return err
		}

		run.moves = !run.cursor.Equal(before) && !run.report.Since.After(run.cursor)
	}

	return nil
}

// discrepancy counts a discrepancy and tries to repair it. If that fails, the discrepancy
// is left, and the run goes on unless there is an outage.
func (run *reconciliation) discrepancy(ctx context.Context, d ports.Discrepancy, repair func() error) error {
	if run.options.DryRun {
		run.count(d)
		run.observer.DiscrepancyFound(ctx, d, true)

		return nil
	}

	d.Cause = repair()
	d.Repaired = d.Cause == nil
	run.count(d)

	if errors.Is(d.Cause, errStored) {
		return nil // recount reports it
	}

	run.observer.DiscrepancyFound(ctx, d, false)

	if d.Cause != nil && (fault.KindOf(d.Cause) == fault.Unavailable || ctx.Err() != nil) {
		return d.Cause
	}

	if !compared(d.Cause).MayPass() {
		run.lookAgain()
	}

	return nil
}

func (run *reconciliation) count(d ports.Discrepancy) {
	run.counting.Lock()
	defer run.counting.Unlock()

	run.report.Found[d.Kind]++

	if d.Repaired {
		run.report.Repaired[d.Kind]++
	}
}

// lookAgain leaves the cursor where it is, so that the next run looks at all of this again.
func (run *reconciliation) lookAgain() {
	run.counting.Lock()
	defer run.counting.Unlock()

	run.moves = false
}

// together calls one for each of things, for askAtOnce of them at the same time, and for those
// with the same key one after the other in their order. It ends with the first error.
func together[T any](ctx context.Context, things []T, key func(T) string, one func(context.Context, T) error) error {
	byKey := make(map[string][]T)
	for _, thing := range things {
		byKey[key(thing)] = append(byKey[key(thing)], thing)
	}

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askAtOnce)

	for _, same := range byKey {
		group.Go(func() error {
			for _, thing := range same {
				if err := one(ctx, thing); err != nil {
					return err
				}
			}

			return nil
		})
	}

	return group.Wait() //nolint:wrapcheck // each error says enough
}

// compared is how a repair has ended. A contradiction, or an entry that cannot be read,
// would fail again at the next run, and a person is told. Any other failure may not.
func compared(cause error) operation.Compared {
	switch {
	case cause == nil:
		return operation.AtHome
	case errors.Is(cause, ports.ErrContradiction), fault.KindOf(cause) == fault.Invalid:
		return operation.Recorded
	default:
		return operation.Failed
	}
}

func (run *reconciliation) progress() {
	if run.options.Progress != nil {
		run.options.Progress(run.report)
	}
}

// again repeats a failed read a few times. A run makes many calls, and some of them meet a
// rate limit or a broken connection.
func again[T any](ctx context.Context, read func() (T, error)) (T, error) {
	const tries, longest = 5, 1750 * time.Millisecond // about five seconds in all

	pause := backoff.NewExponentialBackOff()
	pause.Multiplier, pause.MaxInterval = 2, longest

	var failed error // read's last error, also if ctx ends first

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
