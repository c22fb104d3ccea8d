// Package operation holds what all requests to do something at the provider have in common:
// the key that makes a request safe to repeat, the fingerprint that tells two requests
// apart, and the state.
package operation

// State says where an operation stands.
type State string

// The states.
const (
	// Pending: it is being worked on, or recovery will take it.
	Pending State = "pending"
	// Finished: its answer is kept for ever.
	Finished State = "finished"
	// Rejected: the provider's API rejected it because of how this service is set up there.
	// It has no payment and no kept answer. A repeated request opens it again.
	Rejected State = "rejected"
	// NeedsAttention: nothing can finish it without a person.
	NeedsAttention State = "needs_attention"
)

// Finisher is who finished an operation. It is also written to a payment's history.
type Finisher string

// The finishers.
const (
	ByRequest        Finisher = "request"
	ByRecovery       Finisher = "recovery"
	ByWebhook        Finisher = "webhook"
	ByReconciliation Finisher = "reconciliation"
	ByPerson         Finisher = "person"
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes.
const (
	// OutcomeDone: the provider did what was asked.
	OutcomeDone Outcome = "done"
	// OutcomeDeclined: the provider did what was asked, and the bank declined it. The answer
	// is kept.
	OutcomeDeclined Outcome = "declined"
	// OutcomeRejected: the provider's API did not accept the order, or a person has
	// closed the operation. The answer is kept.
	OutcomeRejected Outcome = "rejected"
	// OutcomeDeploymentRejected: the provider's API did not accept the request because
	// of how the service is set up there. Whoever repeats it opens the operation again.
	OutcomeDeploymentRejected Outcome = "deployment_rejected"
)
