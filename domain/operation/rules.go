package operation

import "time"

// Row is what counts of an operation that is written down when something is decided about
// it.
type Row struct {
	State State
	// Refused: it is finished, and its answer is that nothing was done and never will be.
	Refused     bool
	Fingerprint Fingerprint
}

// Repeat is what becomes of a request whose key has an operation already.
type Repeat string

// What becomes of it.
const (
	// Reused: the key belongs to another request.
	Reused Repeat = "the key is another's"
	// Replayed: it gets the answer that is kept.
	Replayed Repeat = "gets the kept answer"
	// Waits: the operation needs a person first.
	Waits Repeat = "waits for a person"
	// Reopened: the operation was rejected, and is sent again.
	Reopened Repeat = "opens the operation again"
	// Expired: the operation was rejected, and is too old to be sent again. Nothing was
	// made, so a new key is safe.
	Expired Repeat = "is told to use a new key"
	// NotNow: the operation says that it was rejected, but the database may have lost what
	// came after that.
	NotNow Repeat = "comes too early"
	// InHand: somebody is working on the operation.
	InHand Repeat = "comes while it is worked on"
	// TakenOver: nobody is working on it any more.
	TakenOver Repeat = "takes the operation over"
)

// Repeated says what becomes of a request that asks for what has that fingerprint, if its
// key has an operation of that age. held: somebody has the operation's lease.
func (r Row) Repeated(asked Fingerprint, age time.Duration, s Standing, held bool) Repeat {
	switch {
	case r.Fingerprint != asked:
		return Reused
	case r.State == Finished:
		return Replayed
	case r.State == NeedsAttention:
		return Waits
	case r.State == Rejected && MaySend(age, s):
		return Reopened
	case r.State == Rejected && s.Reconciled && s.Behind == 0:
		return Expired
	case r.State == Rejected:
		return NotNow
	case held:
		return InHand
	default:
		return TakenOver
	}
}

// Ending is what becomes of an operation once its object is known.
type Ending string

// What becomes of it.
const (
	// Finishes: it is finished with the object.
	Finishes Ending = "finishes"
	// Stands: it is finished, and stays so.
	Stands Ending = "stands"
	// Contradicts: it says that there never will be an object.
	Contradicts Ending = "contradicts"
)

// Ends says what becomes of an operation whose object is known. If it finishes, it has the
// fingerprint that the object carries, made. Another one than its own is that of a request
// that the database has lost: that one counts, because it was done. So it was if the
// operation says that it was rejected, or that what another request asked for was refused.
func (r Row) Ends(made Fingerprint) Ending {
	switch {
	case r.State != Finished:
		return Finishes
	case !r.Refused:
		return Stands
	case r.Fingerprint == made:
		return Contradicts
	default:
		return Finishes
	}
}

// MayRefuse tells whether it may be written down for ever that what has that fingerprint
// was refused. If the database has lost the operation, another request may have its key.
func (r Row) MayRefuse(asked Fingerprint) bool {
	return r.Fingerprint == asked && (r.State == Pending || r.State == NeedsAttention)
}

// Adopted is the state of an operation that the database has lost and that is written again
// because of its object. It is never sent again, so it is not pending. fits: the object is
// what was asked for, as far as anybody can tell.
func Adopted(fits bool) State {
	if fits {
		return Finished
	}

	return NeedsAttention
}

// Compared is how the comparison of an object with our records has ended.
type Compared string

// How it has ended.
const (
	// AtHome: our records have the object now.
	AtHome Compared = "at home"
	// Recorded: it does not fit them, and waits for a person.
	Recorded Compared = "recorded"
	// Failed: neither. The next run may do better.
	Failed Compared = "failed"
)

// MayPass tells whether reconciliation's cursor may pass the object. If our records lacked
// something that the cursor has passed, it would be sent again once the provider has
// forgotten its key.
func (c Compared) MayPass() bool { return c == AtHome || c == Recorded }
