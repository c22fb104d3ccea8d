package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	// sweepMost is how many open payments a scheduled run reads from the provider, one by
	// one. Events report changes anyway, so this second check may be slow.
	sweepMost = 1000
	// sweepPages is how many times a scheduled run queries our records for open payments
	// in one band. Each query looks at thousands.
	sweepPages = 10
	// askAtOnce is how many calls run at the same time. It is below the number of
	// unanswered calls at which the adapter takes the provider for dead.
	askAtOnce = 6
	// unansweredMost is how many payments of a page may fail. If more do, it is an outage.
	unansweredMost = 5
)

// sweepAges divide the open payments into bands by age. Each band has its share of every
// scheduled run and remembers where to go on. The older bands have more payments, which
// change rarely, so each of those is read less often.
//
//nolint:gochecknoglobals // a constant list
var sweepAges = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 180 * 24 * time.Hour}

// band is a span of creation times. Its open payments are read from the provider, the
// newest first.
type band struct {
	number int
	from   time.Time
	// at is where to go on. pages counts the queries of this run.
	at    ports.PaymentPosition
	pages int
	done  bool
}

// sweep reads from the provider the open payments that are older than the lists of this
// run. A run by hand reads all of them, a scheduled run some of each band.
func (run *reconciliation) sweep(ctx context.Context) error {
	top := ports.PaymentPosition{CreatedAt: run.report.Since}

	if !run.options.scheduled {
		_, err := run.sweepBand(ctx, &band{at: top}, math.MaxInt)

		return errors.Join(err, run.unanswered)
	}

	bands, err := run.bands(ctx)
	if err != nil {
		return err
	}

	left := sweepMost

	// The second round gives the other bands what some did not need.
	for _, share := range []int{sweepMost / (len(sweepAges) + 1), sweepMost} {
		for _, b := range bands {
			asked, err := run.sweepBand(ctx, b, min(share, left))
			if err != nil {
				return err
			}

			left -= asked
		}
	}

	return run.unanswered
}

// bands returns the bands of this run, the newest first.
func (run *reconciliation) bands(ctx context.Context) ([]*band, error) {
	bands := make([]*band, 0, len(sweepAges)+1)
	before := run.report.Since

	for n := range len(sweepAges) + 1 {
		from := time.Time{}
		if n < len(sweepAges) {
			from = run.now.Add(-sweepAges[n])
		}

		if !from.Before(before) {
			continue // the lists of this run cover this band
		}

		at, err := run.records.Sweep(ctx, n)
		if err != nil {
			return nil, err
		}

		if at.CreatedAt.After(before) || !at.CreatedAt.After(from) {
			at = ports.PaymentPosition{CreatedAt: before}
		}

		bands = append(bands, &band{number: n, from: from, at: at})
		before = from
	}

	return bands, nil
}

// sweepBand reads up to most payments of a band from the provider and returns how many it
// read.
func (run *reconciliation) sweepBand(ctx context.Context, b *band, most int) (int, error) {
	asked := 0

	for asked < most && !b.done {
		if run.options.scheduled && b.pages == sweepPages {
			break
		}

		open, next, err := run.records.OpenPayments(ctx, b.from, b.at, min(reconcileBatch, most-asked))
		if err != nil {
			return asked, err
		}

		if err := run.ask(ctx, open); err != nil {
			return asked, err
		}

		asked += len(open)
		b.at, b.done, b.pages = next, next == ports.PaymentPosition{}, b.pages+1

		if run.options.scheduled {
			if err := run.records.SetSweep(ctx, b.number, next); err != nil {
				return asked, err
			}
		}

		run.progress()
	}

	return asked, nil
}

// ask reads the intents of a page of payments, a few at the same time, and compares them.
// If the provider gives no answer about one, the run goes on and returns the error at its
// end, so that one payment cannot block the others for ever.
func (run *reconciliation) ask(ctx context.Context, page []payment.Payment) error {
	type answer struct {
		intent ports.Intent
		err    error
	}

	var unanswered atomic.Int64

	answers := make([]answer, len(page))
	asking, reading := errgroup.WithContext(ctx)
	asking.SetLimit(askAtOnce)

	for i, p := range page {
		asking.Go(func() error {
			intent, err := again(reading, func() (ports.Intent, error) {
				return run.provider.Intent(reading, p.IntentID)
			})
			answers[i] = answer{intent, err}

			if err == nil || fault.KindOf(err) == fault.NotFound {
				return nil
			}

			if errors.Is(err, ports.ErrUnavailable) || reading.Err() != nil || unanswered.Add(1) > unansweredMost {
				return fmt.Errorf("reading intent %s: %w", p.IntentID, err)
			}

			return nil
		})
	}

	if err := asking.Wait(); err != nil {
		return err //nolint:wrapcheck // wrapped above
	}

	for i, p := range page {
		run.report.Payments++

		if err := run.judge(ctx, p, answers[i].intent, answers[i].err); err != nil {
			return err
		}
	}

	return nil
}

// judge compares a payment with what the provider answered about it.
func (run *reconciliation) judge(ctx context.Context, p payment.Payment, intent ports.Intent, err error) error {
	switch {
	case err == nil:
		return run.compareOne(ctx, p, intent)
	case fault.KindOf(err) == fault.NotFound:
		unknown := ports.Discrepancy{Kind: ports.DiscrepancyContradiction, PaymentID: p.ID, IntentID: p.IntentID}

		return run.discrepancy(ctx, unknown, func() error {
			return fmt.Errorf("payment %s has an intent that the provider does not know: %w", p.ID, ports.ErrContradiction)
		})
	default:
		run.counting.Lock()
		defer run.counting.Unlock()

		run.unanswered = errors.Join(run.unanswered, fmt.Errorf("reading intent %s of payment %s: %w", p.IntentID, p.ID, err))

		return nil
	}
}
