package runner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

const faultDayLater = "time: 25 h pass while an outcome is unknown"

// timeFaults: Stripe forgets the keys of outcomes that are still unknown.
func timeFaults() []fault {
	return []fault{{name: faultDayLater, play: dayLater, last: true}}
}

// dayLater leaves outcomes unknown, ends both processes, lets 25 hours pass and
// starts them again. The sandbox's clock is moved. The database's cannot be, so
// the operations in it are made older instead.
func dayLater(ctx context.Context, w *world, r *rand.Rand) {
	leaveUnknown(w, r)

	w.machine.Lock()
	defer w.machine.Unlock()

	for _, p := range w.processes {
		defer p.keepDown("a day passes")()
	}

	tag, err := w.db.Exec(ctx, `UPDATE operations SET created_at = created_at - interval '25 h',
		retry_at = least(retry_at, now()), leased_until = least(leased_until, now()) WHERE state = 'pending'`)
	if err != nil {
		w.line.addf("time", "%v", err)

		return
	}

	w.stripe.ClearFaults()
	w.stripe.Advance(25 * time.Hour)
	w.count(faultDayLater, int(tag.RowsAffected()))
	w.line.addf("time", "25 h pass; %d outcomes were unknown and their keys are forgotten", tag.RowsAffected())
}

// leaveUnknown creates payments whose outcome stays unknown until the faults are
// cleared: some have an intent at Stripe, some do not.
func leaveUnknown(w *world, r *rand.Rand) {
	const each = 3

	c := &client{l: w.work, w: w, number: clients + 1, r: r}

	for _, rule := range []sandbox.Fault{{Action: sandbox.DropAfter}, {Action: sandbox.Saved500}, {Action: sandbox.DropBefore}} {
		for i := range each {
			key := fmt.Sprintf("%s-unknown-%s-%d", w.name, rule.Action, i)
			rule.Method, rule.Path, rule.Count, rule.Metadata = "POST", intentsPath, -1, map[string]string{"order": key}

			if _, err := w.stripe.AddFault(rule); err != nil {
				panic(err)
			}

			c.send(key, w.work.addKey(r, key), answerWithin)
		}
	}
}
