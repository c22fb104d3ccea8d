package telemetry

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Bounds of the series: every status in every currency, every outcome of every
// known type, and the few values of everything else.
const (
	maxPaymentSeries = 700
	maxEventSeries   = 350
	// maxOperationSeries is every kind of operation by everybody with every outcome.
	maxOperationSeries = 300
	maxFewSeries       = 32
)

// noReason is the reason of a refund for which nobody has given one.
const noReason = "none"

// paymentMetrics count what the use cases report.
type paymentMetrics struct {
	payments, amounts, refunds, replays, rejections, finished, events, discrepancies *series[prometheus.Counter]
	received, disputes                                                               *series[prometheus.Counter]

	lag prometheus.Histogram
}

func newPaymentMetrics(factory promauto.Factory) paymentMetrics {
	payments, amounts := newPaymentCounters(factory)

	return paymentMetrics{
		payments: payments,
		amounts:  amounts,
		refunds: counters(factory, maxFewSeries, "refunds_total",
			"Refunds that came to a status, by reason (other if it is not one that clients may give, none if there is none).",
			"status", "reason",
		).expect(texts(refund.Statuses()...), append(refund.Reasons(), noReason)),
		received: counters(factory, maxFewSeries, "disputes_received_total",
			"Disputes that customers' banks have opened, by kind. An inquiry that escalates is a chargeback too.", labelKind,
		).expect(texts(dispute.Inquiry, dispute.Chargeback)),
		disputes: counters(factory, maxFewSeries, "disputes_total",
			"Disputes that came to a status, by Stripe's word (other if it is not known).", "status",
		).expect(texts(disputeStatuses()...)),
		replays: counters(factory, maxFewSeries, "idempotent_replays_total",
			"Repeated requests that got their frozen answer, by where it was found.", "source",
		).expect(texts(ports.ReplayFromCache, ports.ReplayFromDatabase)),
		rejections: counters(factory, maxFewSeries, "idempotency_rejections_total",
			"Requests that an idempotency key kept from charging again, by kind of problem.", labelKind,
		).expect(texts(fault.InFlight, fault.KeyReused)),
		finished: counters(factory, maxOperationSeries, "operations_finished_total",
			"Operations that got their frozen answer or were rejected, by kind, who finished them and how they ended.",
			labelKind, "by", labelOutcome,
		).expect(
			texts(operation.Kinds()...),
			texts(operation.ByRequest, operation.ByRecovery, operation.ByWebhook, operation.ByReconciliation, operation.ByPerson),
			texts(operation.OutcomeDone, operation.OutcomeDeclined, operation.OutcomeRejected,
				operation.OutcomeDeploymentRejected)),
		discrepancies: counters(factory, maxFewSeries, "discrepancies_total",
			"Differences between our records and the provider's, by kind and whether they were repaired.",
			labelKind, "repaired",
		).expect(
			texts(ports.DiscrepancyMissedEvent, ports.DiscrepancyStatus, ports.DiscrepancyMissingPayment,
				ports.DiscrepancyMissingOperation, ports.DiscrepancyRefund, ports.DiscrepancyMissingCustomer, ports.DiscrepancyDispute,
				ports.DiscrepancyContradiction),
			[]string{"true", "false"}),
		events: counters(factory, maxEventSeries, "webhook_events_total",
			"Stripe's events that were answered with 200, by type (other if it is not one of payments or customers) and outcome.",
			"type", labelOutcome,
		).expect(
			[]string{
				"payment_intent.created", "payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled",
			},
			texts(ports.EventApplied, ports.EventStale, ports.EventHint, ports.EventDuplicate, ports.EventParked,
				ports.EventForeign)),
		lag: factory.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_lag_seconds",
			Help: "Time from an event's creation at Stripe, known to the second, to its first arrival here, in seconds.",
			// Up to the three days for which Stripe tries again.
			Buckets: []float64{1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 72 * 3600},
		}),
	}
}

func newPaymentCounters(factory promauto.Factory) (payments, amounts *series[prometheus.Counter]) {
	payments = counters(factory, maxPaymentSeries, "payments_total",
		"Payments that were created with a status or changed to it, by status and currency.", labelStatus, "currency")
	amounts = counters(factory, maxPaymentSeries, "payments_amount_total",
		"Money captured of payments that succeeded, in major units of the currency. "+
			"For dashboards only: a float that starts again with the process.", "currency")

	// The first payment of a currency makes the series of all statuses.
	amount := amounts.with
	amounts.with = func(currency ...string) prometheus.Counter {
		payments.expect(texts(payment.Statuses()...), currency)

		return amount(currency...)
	}

	return payments, amounts
}

// PaymentChanged counts a payment that was created with its status or changed to it. The
// money of a succeeded one is what was captured.
func (m *paymentMetrics) PaymentChanged(p payment.Payment) {
	currency := p.Amount.Currency()
	m.payments.get(string(p.Status), currency.Code()).Inc()

	succeeded := m.amounts.get(currency.Code())
	if p.Status == payment.Succeeded {
		succeeded.Add(float64(p.Captured.Minor()) / math.Pow10(currency.Exponent()))
	}
}

// RefundChanged counts a refund that has come to a status.
func (m *paymentMetrics) RefundChanged(r refund.Refund) {
	reason := r.Reason

	switch {
	case reason == "":
		reason = noReason
	case !slices.Contains(refund.Reasons(), reason):
		reason = other
	}

	m.refunds.get(string(r.Status), reason).Inc()
}

func disputeStatuses() []dispute.Status {
	return []dispute.Status{
		dispute.InquiryNeedsResponse, dispute.InquiryUnderReview, dispute.InquiryClosed, dispute.NeedsResponse,
		dispute.UnderReview, dispute.Won, dispute.Lost,
	}
}

// DisputeReceived counts a dispute that a bank has opened.
func (m *paymentMetrics) DisputeReceived(kind dispute.Kind) { m.received.get(string(kind)).Inc() }

// DisputeChanged counts a dispute that has come to a status.
func (m *paymentMetrics) DisputeChanged(status dispute.Status) {
	word := string(status)
	if !slices.Contains(disputeStatuses(), status) {
		word = other
	}

	m.disputes.get(word).Inc()
}

// Replayed counts a repeated request that got its frozen answer.
func (m *paymentMetrics) Replayed(source ports.ReplaySource) { m.replays.get(string(source)).Inc() }

// DuplicatePrevented counts a request that its idempotency key kept from charging again.
func (m *paymentMetrics) DuplicatePrevented(kind fault.Kind) { m.rejections.get(string(kind)).Inc() }

// OperationFinished counts an operation that has ended.
func (m *paymentMetrics) OperationFinished(kind operation.Kind, by operation.Finisher, outcome operation.Outcome) {
	m.finished.get(string(kind), string(by), string(outcome)).Inc()
}

// EventTaken counts an event that was taken from the provider. lag is zero where the
// event does not say when it was created. A duplicate says nothing about how late
// events arrive.
func (m *paymentMetrics) EventTaken(eventType string, outcome ports.EventOutcome, lag time.Duration) {
	m.events.get(knownEventType(eventType), string(outcome)).Inc()

	if lag != 0 && outcome != ports.EventDuplicate {
		m.lag.Observe(max(0, lag.Seconds())) // clocks differ
	}
}

// DiscrepancyFound counts a difference between our records and the provider's.
func (m *paymentMetrics) DiscrepancyFound(kind ports.DiscrepancyKind, repaired bool) {
	m.discrepancies.get(string(kind), strconv.FormatBool(repaired)).Inc()
}

// knownEventType is eventType if it concerns payments, refunds, disputes or customers
// (https://docs.stripe.com/api/events/types). Stripe has over 200 types, and
// whoever knows a signing secret can invent more.
func knownEventType(eventType string) string {
	switch eventType {
	case "payment_intent.created", "payment_intent.processing", "payment_intent.requires_action",
		"payment_intent.amount_capturable_updated", "payment_intent.partially_funded",
		"payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled",
		"charge.succeeded", "charge.failed", "charge.pending", "charge.captured", "charge.expired", "charge.updated",
		"charge.refunded", "charge.refund.updated", "refund.created", "refund.updated", "refund.failed",
		"charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_withdrawn",
		"charge.dispute.funds_reinstated",
		"customer.created", "customer.updated", "customer.deleted":
		return eventType
	default:
		return other
	}
}
