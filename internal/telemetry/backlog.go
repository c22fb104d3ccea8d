package telemetry

import (
	"fmt"
	"math"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// ObserveBacklog reports on each scrape what is not finished yet. Where the database
// does not answer within a second, the success gauge is 0 and the rest is absent
// rather than out of date.
func (m *Metrics) ObserveBacklog(backlog ports.Backlog) {
	asked := &answer[ports.BacklogStats]{ask: backlog.Backlog}
	atMost := fmt.Sprintf(" %d stands for that many or more.", ports.BacklogMost)

	c := &collector{}
	operations := c.desc("operations",
		"Operations without a frozen answer: pending, or needs_attention where a person has to look."+atMost, "state")
	oldestOperation := c.desc("oldest_pending_operation_age_seconds",
		"Age of the oldest pending operation, in seconds; 0 if there is none.")
	lapsing := c.desc("lapsing_holds",
		fmt.Sprintf("Payments whose hold lapses within %.0f hours unless it is captured.", ports.LapseNotice.Hours())+atMost)
	overdrawn := c.desc("overdrawn_payments", "Payments of which refunds and disputes take more than was captured."+atMost)
	oldestRefund := c.desc("oldest_pending_refund_age_seconds",
		"Age of the oldest refund that is pending or waits for the customer, in seconds; 0 if there is none.")
	parked := c.desc("parked_events", "Events that wait for their payment or for a person."+atMost)
	oldestParked := c.desc("oldest_parked_event_age_seconds",
		"Time since the oldest parked event arrived, in seconds; 0 if there is none.")
	unanswered := c.desc("unanswered_disputes",
		"Disputes that wait for evidence, by the time that is left for it: overdue, 1d, 3d, 7d, or later.", "left")
	atStake := c.desc("disputed_amount",
		"What open chargebacks have taken from payments, in major units of the currency.", "currency")
	success := c.desc("backlog_collection_success",
		"1 if the database answered, 0 if it did not: then the counts of operations, holds, parked events and disputes are absent.")

	c.collect = func(out metrics) {
		stats, err := asked.get()
		if err != nil {
			out.gauge(success, 0)

			return
		}

		out.gauge(success, 1)

		for _, state := range []operation.State{operation.Pending, operation.NeedsAttention} {
			out.gauge(operations, float64(stats.Operations[state]), string(state))
		}

		out.gauge(oldestOperation, stats.OldestUnfinished.Seconds())
		out.gauge(lapsing, float64(stats.Lapsing))
		out.gauge(overdrawn, float64(stats.Overdrawn))
		out.gauge(oldestRefund, stats.OldestRefund.Seconds())
		out.gauge(parked, float64(stats.Parked))
		out.gauge(oldestParked, stats.OldestParked.Seconds())

		for left, count := range stats.Disputes.Unanswered {
			out.gauge(unanswered, float64(count), string(left))
		}

		for _, sum := range stats.Disputes.AtStake {
			out.gauge(atStake, major(sum), sum.Currency().Code())
		}
	}
	m.registry.MustRegister(c)
}

// major is a sum in major units, as metrics have it.
func major(m money.Money) float64 {
	return float64(m.Minor()) / math.Pow10(m.Currency().Exponent())
}
