package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// What was just read or written need not be read again under the payment's lock. Go decides about
// it first, and one trip locks the payment, fails unless it still has that version, and writes.
// Everything that changes a payment or what belongs to it gives it a new version, so a payment
// with the same version is the one that was decided about. After a failure, what is to be written
// is decided again under the lock.

// toSee asks for a payment, and whether there is an operation.
type toSee struct{ payment, operation uuid.UUID }

// sight is what was found.
type sight struct {
	seen ports.Seen
	here bool
	used bool
}

// See implements ports.Refunds. Those that arrive together share a trip.
func (s *Store) See(ctx context.Context, id, operation uuid.UUID) (ports.Seen, bool, error) {
	if err := ctx.Err(); err != nil {
		return ports.Seen{}, false, translate("reading a payment", err)
	}

	ask := toSee{id, operation}

	found, err := s.sights.do(ctx, ask, func() (sight, error) {
		all, err := s.seeAll(ctx, []toSee{ask})
		if err != nil {
			return sight{}, err
		}

		return *all[0], nil
	})
	if err == nil && !found.here {
		err = errNotFound("payment")
	}

	return found.seen, found.used, err
}

func (s *Store) seeAll(ctx context.Context, asks []toSee) ([]*sight, error) {
	var (
		read map[uuid.UUID]ports.FullPayment
		used map[uuid.UUID]bool
		now  time.Time
	)

	_, err := s.hot.attempts(ctx, s.hot.reads, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		used = make(map[uuid.UUID]bool)
		read, now, err = lockAll(ctx, &trips{to: conn.Conn(), implicit: true}, sqlc.SeePayments,
			mapped(asks, func(a toSee) uuid.UUID { return a.payment }),
			selectRows(sqlc.ListOperationsLike, func(r struct{ ID uuid.UUID }) { used[r.ID] = true },
				mapped(asks, func(a toSee) uuid.UUID { return a.operation })))

		return err
	})
	if err != nil {
		return nil, translate("reading payments", err)
	}

	here := time.Now()

	return mapped(asks, func(a toSee) *sight {
		f, found := read[a.payment]

		return &sight{seen: ports.Seen{FullPayment: f, At: now, Here: here}, here: found, used: used[a.operation]}
	}), nil
}

// seenOf is what was seen for each; nil if something was not.
func seenOf[T any](all []T, of func(T) *ports.Seen) []*ports.Seen {
	seen := mapped(all, of)
	if slices.Contains(seen, nil) {
		return nil
	}

	return seen
}

// latest is the database's clock now, as the latest of these tells it.
func latest(seen []*ports.Seen) (now time.Time) {
	for _, s := range seen {
		if at := s.Now(); at.After(now) {
			now = at
		}
	}

	return now
}

// ifUnchanged sends statements in one trip, which fails unless all payments are as they were seen.
func ifUnchanged(ctx context.Context, conn *pgxpool.Conn, seen []*ports.Seen, writes ...statement) error {
	require := selectRows(sqlc.RequireUnchanged, func(struct{ Unchanged int32 }) {}, int64(len(seen)),
		mapped(seen, func(s *ports.Seen) uuid.UUID { return s.Payment.ID }),
		mapped(seen, func(s *ports.Seen) int64 { return s.Payment.Version }))

	return (&trips{to: conn.Conn(), implicit: true}).send(ctx, append([]statement{require}, writes...)...)
}

// looksAgain tells whether nothing was written because something is not as it was seen.
func looksAgain(err error) bool {
	return hasCode(err, pgerrcode.DivisionByZero) || hasCode(err, pgerrcode.UniqueViolation)
}

// reserveSeen begins operations whose payments were just read, each on another one, in one trip.
// done is false if they are to be looked at under the lock.
func (s *Store) reserveSeen(
	ctx context.Context, conn *pgxpool.Conn, ops []ports.NewOperation,
) (written map[uuid.UUID]*ports.Operation, done bool, err error) {
	seen := seenOf(ops, func(op ports.NewOperation) *ports.Seen { return op.Seen })
	if seen == nil {
		return nil, false, nil
	}

	r := reserving{now: latest(seen)}

	for _, op := range ops {
		if r.add(op, op.Seen.FullPayment) != nil {
			return nil, false, nil //nolint:nilerr // a refusal is told of the payment as it is
		}
	}

	written, err = s.writeReserved(ctx, &r, func(ctx context.Context, writes ...statement) error {
		return ifUnchanged(ctx, conn, seen, writes...)
	})
	if looksAgain(err) {
		return nil, false, nil
	}

	return written, true, err
}

// finishSeen finishes operations on payments as they were when the operations were begun, each on
// another one, in one trip. done is false if they are to be looked at under the lock.
func (s *Store) finishSeen(
	ctx context.Context, conn *pgxpool.Conn, all []finishing,
) (finished map[uuid.UUID]*ports.Finished, done bool, err error) {
	seen := seenOf(all, func(f finishing) *ports.Seen { return f.change.Seen })
	if seen == nil || slices.ContainsFunc(all, finishing.isOfAnother) {
		return nil, false, nil
	}

	w := finishColumns{now: latest(seen)}
	finished = make(map[uuid.UUID]*ports.Finished, len(all))

	for _, f := range all {
		if finished[f.id], err = w.decide(f, f.change.Seen.FullPayment, f.change.Asked[:]); err != nil {
			return nil, false, nil //nolint:nilerr // it fails again, under the lock
		}
	}

	err = w.write(ctx, finished, func(ctx context.Context, writes ...statement) error {
		return ifUnchanged(ctx, conn, seen, append(writes,
			selectRows(sqlc.RequireFinished, func(struct{ Finished int32 }) {}, int64(len(w.ids)), w.ids))...)
	})
	if looksAgain(err) {
		return nil, false, nil
	}

	return finished, true, err
}

// dated is f, whose refunds have the versions and times with which they are written at now, by the
// database's clock.
func dated(before, f ports.FullPayment, now time.Time) ports.FullPayment {
	f.Refunds = mapped(f.Refunds, func(r refund.Refund) refund.Refund {
		was, here := refund.Find(before.Refunds, r.ID)
		if here && r.SameAs(was) {
			return r
		}

		if r.Version == was.Version { // else whoever decided has shown it already
			r = r.Changed(now)
		}

		if r.CreatedAt.IsZero() {
			r.CreatedAt = now.UTC()
		}

		return r
	})

	return f
}
