// Package operation is what all requests to do something at the provider have in
// common: the key that makes one safe to repeat, the fingerprint that tells two
// requests apart, and how far one has come.
package operation

import "crypto/sha256"

// Fingerprint is a hash of what was asked for. Two requests under one key are the
// same request only if their fingerprints are equal.
type Fingerprint [sha256.Size]byte

// State is how far an operation has come.
type State string

// The states. A finished operation keeps its answer for ever. A rejected one has no
// payment and no kept answer: the provider's API did not accept it because of how
// the service is set up there, and whoever repeats the request opens it again.
const (
	Pending        State = "pending"
	Finished       State = "finished"
	Rejected       State = "rejected"
	NeedsAttention State = "needs_attention"
)
