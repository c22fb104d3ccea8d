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
	// sweepMost is how many payments that are not final a scheduled run asks the
	// provider for, one by one. The events tell of their changes already, so that
	// this second net may go round slowly.
	sweepMost = 1000
	// sweepPages is how many times a scheduled run looks for open payments in one
	// band: each looks at thousands.
	sweepPages = 10
	// askAtOnce calls are under way at a time: fewer than the gateway takes for a
	// provider that answers nobody.
	askAtOnce = 6
	// unansweredMost of a page may fail alone. If more do, it is an outage.
	unansweredMost = 5
)

// sweepAges part the open payments into bands by their age. Each band has its
// share of every scheduled run and a place of its own to go on from. Old ones are
// many and change rarely, so they are asked for the more rarely the older they are.
//
//nolint:gochecknoglobals // a constant list
var sweepAges = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 180 * 24 * time.Hour}

// band is a span of creation times in which open payments are asked for, the
// newest first.
type band struct {
	number int
	from   time.Time
	// at is where to go on. pages counts how often that was looked up.
	at    ports.PaymentPosition
	pages int
	done  bool
}

// sweep asks for the payments that are not final and older than what was listed:
// a run by hand for all of them, a scheduled one for some of each band.
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

	// What one band does not need is for the others.
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

// bands are those of this run, the youngest first.
func (run *reconciliation) bands(ctx context.Context) ([]*band, error) {
	bands := make([]*band, 0, len(sweepAges)+1)
	before := run.report.Since

	for n := range len(sweepAges) + 1 {
		from := time.Time{}
		if n < len(sweepAges) {
			from = run.now.Add(-sweepAges[n])
		}

		if !from.Before(before) {
			continue // what was listed reaches further back
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

// sweepBand asks for up to most payments of a band and returns how many it were.
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

// ask reads the intents of a page of payments, a few at once, and compares them.
// One that the provider does not tell of is an error at the end: it must not keep
// the run from the others for ever.
func (run *reconciliation) ask(ctx context.Context, page []payment.Payment) error {
	type answer struct {
		intent ports.Intent
		err    error
	}

	var unanswered atomic.Int64

	answers := make([]answer, len(page))
	asking, together := errgroup.WithContext(ctx)
	asking.SetLimit(askAtOnce)

	for i, p := range page {
		asking.Go(func() error {
			intent, err := again(together, func() (ports.Intent, error) {
				return run.gateway.Intent(together, p.IntentID)
			})
			answers[i] = answer{intent, err}

			if err == nil || fault.KindOf(err) == fault.NotFound {
				return nil
			}

			if errors.Is(err, ports.ErrUnavailable) || together.Err() != nil || unanswered.Add(1) > unansweredMost {
				return fmt.Errorf("reading intent %s: %w", p.IntentID, err)
			}

			return nil
		})
	}

	if err := asking.Wait(); err != nil {
		return err //nolint:wrapcheck // it is wrapped above
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
		run.unanswered = errors.Join(run.unanswered, fmt.Errorf("reading intent %s of payment %s: %w", p.IntentID, p.ID, err))

		return nil
	}
}
