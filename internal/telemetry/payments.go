package telemetry

import (
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// other is the label of everything that is not known by name.
const other = "other"

// Bounds of the series: every status in every currency, every outcome of every
// known type, and the few values of everything else.
const (
	maxPaymentSeries = 700
	maxEventSeries   = 300
	maxFewSeries     = 32
)

type paymentLabels struct {
	status   payment.Status
	currency string
}

type eventLabels struct {
	eventType string
	outcome   ports.EventOutcome
}

type finishLabels struct {
	by      operation.Finisher
	outcome operation.Outcome
}

type discrepancyLabels struct {
	kind     ports.DiscrepancyKind
	repaired bool
}

// paymentMetrics count what the use cases report.
type paymentMetrics struct {
	payments    *series[paymentLabels, prometheus.Counter]
	amounts     *series[string, prometheus.Counter]
	replays     *series[ports.ReplaySource, prometheus.Counter]
	rejections  *series[fault.Kind, prometheus.Counter]
	finished    *series[finishLabels, prometheus.Counter]
	events      *series[eventLabels, prometheus.Counter]
	lag         prometheus.Histogram
	discrepancy *series[discrepancyLabels, prometheus.Counter]
}

func newPaymentMetrics(factory promauto.Factory) paymentMetrics {
	return paymentMetrics{
		payments:    newPaymentCounters(factory),
		amounts:     newAmountCounters(factory),
		replays:     newReplayCounters(factory),
		rejections:  newRejectionCounters(factory),
		finished:    newFinishCounters(factory),
		events:      newEventCounters(factory),
		lag:         newLagHistogram(factory),
		discrepancy: newDiscrepancyCounters(factory),
	}
}

// PaymentChanged: a payment is new at a status or moved there. The first payment of a currency
// brings all the statuses: what follows is seen by a rate from its first on.
func (m *paymentMetrics) PaymentChanged(to payment.Status, amount money.Amount) {
	currency := amount.Currency()
	m.payments.get(paymentLabels{to, currency.Code()}).Inc()

	succeeded := m.amounts.get(currency.Code())
	if to == payment.Succeeded {
		succeeded.Add(float64(amount.Minor()) / math.Pow10(currency.Exponent()))
	}
}

// Replayed: a repeated request got its frozen answer.
func (m *paymentMetrics) Replayed(source ports.ReplaySource) { m.replays.get(source).Inc() }

// DuplicatePrevented: an idempotency key kept a request from charging again.
func (m *paymentMetrics) DuplicatePrevented(kind fault.Kind) { m.rejections.get(kind).Inc() }

// OperationFinished: an operation came to its end.
func (m *paymentMetrics) OperationFinished(by operation.Finisher, outcome operation.Outcome) {
	m.finished.get(finishLabels{by, outcome}).Inc()
}

// EventTaken: an event was taken from the provider. lag is zero where it does not tell
// when it was created. A duplicate says nothing about how late events arrive.
func (m *paymentMetrics) EventTaken(eventType string, outcome ports.EventOutcome, lag time.Duration) {
	m.events.get(eventLabels{knownEventType(eventType), outcome}).Inc()

	if lag != 0 && outcome != ports.EventDuplicate {
		m.lag.Observe(max(0, lag.Seconds())) // clocks differ
	}
}

// DiscrepancyFound: our records and the provider's differed.
func (m *paymentMetrics) DiscrepancyFound(kind ports.DiscrepancyKind, repaired bool) {
	m.discrepancy.get(discrepancyLabels{kind, repaired}).Inc()
}

// knownEventType is eventType if it concerns payments, refunds or disputes
// (https://docs.stripe.com/api/events/types). Stripe has over 200 types, and
// whoever knows a signing secret can invent more.
func knownEventType(eventType string) string {
	switch eventType {
	case "payment_intent.created", "payment_intent.processing", "payment_intent.requires_action",
		"payment_intent.amount_capturable_updated", "payment_intent.partially_funded",
		"payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled",
		"charge.succeeded", "charge.failed", "charge.pending", "charge.captured", "charge.expired", "charge.updated",
		"charge.refunded", "charge.refund.updated", "refund.created", "refund.updated", "refund.failed",
		"charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed",
		"charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated":
		return eventType
	default:
		return other
	}
}

func newPaymentCounters(factory promauto.Factory) *series[paymentLabels, prometheus.Counter] {
	payments := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "payments_total",
		Help: "Payments that are new at a status or moved there, by status and currency.",
	}, []string{labelStatus, "currency"})

	return newSeries(maxPaymentSeries, paymentLabels{status: other, currency: other},
		func(l paymentLabels) prometheus.Counter {
			for _, status := range payment.Statuses() {
				payments.WithLabelValues(string(status), l.currency)
			}

			return payments.WithLabelValues(string(l.status), l.currency)
		})
}

func newAmountCounters(factory promauto.Factory) *series[string, prometheus.Counter] {
	amounts := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "payments_amount_total",
		Help: "Money of payments that succeeded, in major units of the currency. " +
			"For dashboards: a float, and it starts again with the process.",
	}, []string{"currency"})

	return newSeries(maxPaymentSeries, other,
		func(currency string) prometheus.Counter { return amounts.WithLabelValues(currency) })
}

// The counters below have their series from the start: a rate over a series
// that appears only with its first event misses that event.

func newReplayCounters(factory promauto.Factory) *series[ports.ReplaySource, prometheus.Counter] {
	replays := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "idempotent_replays_total",
		Help: "Repeated requests that got their frozen answer, by where it was found.",
	}, []string{"source"})
	counters := newSeries(maxFewSeries, other,
		func(source ports.ReplaySource) prometheus.Counter { return replays.WithLabelValues(string(source)) })

	counters.get(ports.ReplayFromCache)
	counters.get(ports.ReplayFromDatabase)

	return counters
}

func newRejectionCounters(factory promauto.Factory) *series[fault.Kind, prometheus.Counter] {
	rejections := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "idempotency_rejections_total",
		Help: "Requests that an idempotency key kept from charging again, by kind of problem.",
	}, []string{labelKind})
	counters := newSeries(maxFewSeries, other,
		func(kind fault.Kind) prometheus.Counter { return rejections.WithLabelValues(string(kind)) })

	counters.get(fault.InFlight)
	counters.get(fault.KeyReused)

	return counters
}

func newFinishCounters(factory promauto.Factory) *series[finishLabels, prometheus.Counter] {
	finished := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "operations_finished_total",
		Help: "Operations that got their frozen answer or were rejected, by who finished them and how they ended.",
	}, []string{"by", labelOutcome})
	counters := newSeries(maxFewSeries, finishLabels{by: other, outcome: other},
		func(l finishLabels) prometheus.Counter {
			return finished.WithLabelValues(string(l.by), string(l.outcome))
		})

	for _, by := range []operation.Finisher{
		operation.ByRequest, operation.ByRecovery, operation.ByWebhook, operation.ByReconciliation, operation.ByPerson,
	} {
		counters.get(finishLabels{by, operation.OutcomeDone})
		counters.get(finishLabels{by, operation.OutcomeRejected})
		counters.get(finishLabels{by, operation.OutcomeDeploymentRejected})
	}

	return counters
}

func newDiscrepancyCounters(factory promauto.Factory) *series[discrepancyLabels, prometheus.Counter] {
	discrepancy := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "discrepancies_total",
		Help: "Differences found between our records and the provider's, by kind and whether they were repaired.",
	}, []string{labelKind, "repaired"})
	counters := newSeries(maxFewSeries, discrepancyLabels{kind: other},
		func(l discrepancyLabels) prometheus.Counter {
			return discrepancy.WithLabelValues(string(l.kind), strconv.FormatBool(l.repaired))
		})

	for _, kind := range []ports.DiscrepancyKind{
		ports.DiscrepancyMissedEvent, ports.DiscrepancyStatus, ports.DiscrepancyMissingPayment, ports.DiscrepancyContradiction,
	} {
		counters.get(discrepancyLabels{kind, true})
		counters.get(discrepancyLabels{kind, false})
	}

	return counters
}

func newEventCounters(factory promauto.Factory) *series[eventLabels, prometheus.Counter] {
	events := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "webhook_events_total",
		Help: "Events that were answered with 200, by type (\"other\" where we do not know it) and outcome.",
	}, []string{"type", labelOutcome})

	counters := newSeries(maxEventSeries, eventLabels{eventType: other, outcome: other},
		func(l eventLabels) prometheus.Counter { return events.WithLabelValues(l.eventType, string(l.outcome)) })

	for _, eventType := range []string{
		"payment_intent.created", "payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled",
	} {
		for _, outcome := range []ports.EventOutcome{
			ports.EventApplied, ports.EventStale, ports.EventDuplicate, ports.EventParked, ports.EventForeign,
		} {
			counters.get(eventLabels{eventType, outcome})
		}
	}

	return counters
}

func newLagHistogram(factory promauto.Factory) prometheus.Histogram { //nolint:ireturn // client_golang exports no other
	return factory.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "webhook_lag_seconds",
		Help: "Time from an event's creation at Stripe, known to the second, to its first arrival here, in seconds.",
		// From at once to the three days for which Stripe tries again.
		Buckets: []float64{1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 72 * 3600},
	})
}
