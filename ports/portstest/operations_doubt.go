package portstest

import (
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// doubtful is a write whose answer may be lost.
type doubtful struct {
	do func(s Store) error
	// done tells whether it was written.
	done func() bool
}

// writesInDoubt returns the writes whose errors reach a client. Each call of a value
// prepares a new one.
func (b StoreBed) writesInDoubt(t *testing.T) map[string]func() doubtful {
	t.Helper()

	stateIs := func(c ports.NewOperation, state operation.State) func() bool {
		return func() bool {
			found, err := b.FindByID(t.Context(), c.ID)
			if fault.KindOf(err) == fault.NotFound {
				return false
			}

			require.NoError(t, err)

			return found.State == state
		}
	}
	op := func(key operation.Key) func() doubtful {
		return func() doubtful {
			c := newOperation(t, key)
			if key != "" {
				c.Key = operation.Key(c.ID.String())
			}

			return doubtful{
				do:   func(s Store) error { _, err := s.Begin(t.Context(), c); return err },
				done: stateIs(c, operation.Pending),
			}
		}
	}
	of := func(
		do func(s Store, op ports.Operation) error, state operation.State, before ...func(ports.Operation),
	) func() doubtful {
		return func() doubtful {
			c := newOperation(t, "")
			held := b.mustBegin(t, c)

			for _, prepare := range before {
				prepare(held)
			}

			return doubtful{do: func(s Store) error { return do(s, held) }, done: stateIs(c, state)}
		}
	}

	event := func(do func(s Store, e ports.Event) error) func() doubtful {
		return func() doubtful {
			p := payment.Payment{ID: uuid.New(), IntentID: intentOf(uuid.New()), Amount: amount(t, 1000, "USD")}
			e := eventOf(t, p, payment.Succeeded)

			return doubtful{
				do: func(s Store) error { return do(s, e) },
				done: func() bool {
					_, err := b.Event(t.Context(), e.ID)

					return err == nil
				},
			}
		}
	}

	change := func(do func(s Store, op ports.Operation, p payment.Payment) error) func() doubtful {
		return func() doubtful {
			p := b.mustHold(t, "")
			held := b.mustBegin(t, newCapture(t, p, ""))

			return doubtful{
				do:   func(s Store) error { return do(s, held, p) },
				done: func() bool { return b.paymentNow(t, p.ID).Status == payment.Succeeded },
			}
		}
	}

	return map[string]func() doubtful{
		"Begin":             op("a key"),
		"Begin without key": op(""),
		"Begin of a capture": func() doubtful {
			c := newCapture(t, b.mustHold(t, ""), "")

			return doubtful{
				do:   func(s Store) error { _, err := s.Begin(t.Context(), c); return err },
				done: stateIs(c, operation.Pending),
			}
		},
		"FinishOn": change(func(s Store, op ports.Operation, p payment.Payment) error {
			_, err := s.FinishOn(t.Context(), op.ID, "request", ports.Change{Decide: capturing(p.Amount)})

			return err
		}),
		"AdoptOn": change(func(s Store, op ports.Operation, p payment.Payment) error {
			_, err := s.AdoptOn(t.Context(), op.ID, ports.Change{Decide: capturing(p.Amount)},
				entryFor(t, ports.AuditOperationAdopted, op.ID.String()))

			return err
		}),
		"Write": change(func(s Store, _ ports.Operation, p payment.Payment) error {
			_, err := s.Write(t.Context(), ports.FullPayment{Payment: paid(p, p.Amount.Minor())}, nil, ports.EventApplied, "recovery")

			return err
		}),
		"Accept": change(func(s Store, _ ports.Operation, p payment.Payment) error {
			_, err := s.Accept(t.Context(), ports.FullPayment{Payment: paid(p, p.Amount.Minor())}, accepting(t, p))

			return err
		}),
		"Finish": of(func(s Store, op ports.Operation) error {
			_, err := s.Finish(t.Context(), completionOf(op))

			return err
		}, operation.Finished),
		"FinishRejected": of(func(s Store, op ports.Operation) error {
			_, err := s.FinishRejected(t.Context(), op, rejection())

			return err
		}, operation.Finished),
		"Reject": of(func(s Store, op ports.Operation) error {
			_, err := s.Reject(t.Context(), op, errRepairable)

			return err
		}, operation.Rejected),
		"Reopen": of(func(s Store, op ports.Operation) error {
			_, err := s.Reopen(t.Context(), op.ID, newLease(), nil)

			return err
		}, operation.Pending, func(op ports.Operation) {
			_, err := b.Reject(t.Context(), op, errRepairable)
			require.NoError(t, err)
		}),
		"FinishAndApply": of(func(s Store, op ports.Operation) error {
			completion := completionOf(op)
			_, _, err := s.FinishAndApply(t.Context(), completion, eventOf(t, completion.Payment, payment.Succeeded))

			return err
		}, operation.Finished),
		"Apply":        event(func(s Store, e ports.Event) error { _, err := s.Apply(t.Context(), e); return err }),
		"StoreForeign": event(func(s Store, e ports.Event) error { _, err := s.StoreForeign(t.Context(), e); return err }),
	}
}

// Whichever answer is lost together with the connection: the error is fault.Unavailable
// only if surely nothing was written.
func writesTellTheTruth(t *testing.T, b StoreBed) {
	t.Helper()

	const most = 20 // answers that a write needs

	for name, prepare := range b.writesInDoubt(t) {
		writtenInDoubt := false

		for answers := 0; ; answers++ {
			require.Less(t, answers, most, name)

			write := prepare()
			mend := b.Sever(t, answers)
			err := write.do(b.Severed)

			mend()

			done := write.done()

			if err == nil {
				require.True(t, done, name)

				break
			}

			switch kind := fault.KindOf(err); {
			case answers == 0:
				require.Equal(t, fault.Unavailable, kind, "%s: nothing got through: %v", name, err)
				require.False(t, done, name)
			case kind == fault.Unknown:
				writtenInDoubt = writtenInDoubt || done
			default:
				require.Equal(t, fault.Unavailable, kind, "%s, answer %d: %v", name, answers, err)
				require.False(t, done, "%s, answer %d: it was written all the same", name, answers)
			}

			require.Positive(t, fault.From(err).RetryAfter)
		}

		require.True(t, writtenInDoubt, "%s: the last answer is that of the commit", name)
	}
}

// Callers that share a commit share its doubt. A caller that only waited for that commit
// gets fault.Unavailable only if nothing of its own was written.
func groupsTellTheTruth(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 100

	doubts := 0

	for answers := 1; answers <= 3; answers++ {
		ops := make([]ports.NewOperation, callers)
		for i := range ops {
			ops[i] = newOperation(t, "")
			if i%3 != 0 {
				ops[i].Key = operation.Key(ops[i].ID.String())
			}
		}

		mend := b.Sever(t, answers)

		var (
			all  sync.WaitGroup
			errs [callers]error
		)

		for i, c := range ops {
			all.Go(func() { _, errs[i] = b.Severed.Begin(t.Context(), c) })
		}

		all.Wait()
		mend()

		for i, err := range errs {
			_, missing := b.FindByID(t.Context(), ops[i].ID)

			switch kind := fault.KindOf(err); {
			case err == nil:
				require.NoError(t, missing)
			case kind == fault.Unknown:
				doubts++
			default:
				require.Equal(t, fault.Unavailable, kind, "%v", err)
				requireNotFound(t, missing)
			}
		}
	}

	require.Positive(t, doubts)
}

// A caller whose Begin is in doubt repeats it with the same lease and holds the operation.
func beginInDoubtIsHeld(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	mend := b.Sever(t, 1)
	_, err := b.Severed.Begin(t.Context(), c)
	require.Equal(t, fault.Unknown, fault.KindOf(err), "%v", err)
	mend()

	op := b.mustBegin(t, c)
	require.Equal(t, c.ID, op.ID)
	require.Equal(t, 1, op.Attempts)
}
