package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// What reserves is begun in two round trips: the first locks the payments and reads what
// belongs to them, Go decides (ports.Reserve), and the second writes the operations with what
// they reserve and commits. If one of the operations is not written after all, because its key
// was used meanwhile, the second trip fails as a whole: a replay reserves nothing.

// namesOfReservation: neither operations with one key nor those on one payment share a group.
func namesOfReservation(op ports.NewOperation) []string {
	return append(namesOfOperation(op), op.Subject.String())
}

// reserveAll begins operations that arrived together; nil stands for one that has to go alone.
func (s *Store) reserveAll(ctx context.Context, ops []ports.NewOperation) ([]*ports.Operation, error) {
	var written map[uuid.UUID]*ports.Operation

	err := s.hot.run(ctx, "beginning operations", func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		var done bool
		if written, done, err = s.reserveSeen(ctx, conn, ops); done {
			return err
		}

		return s.inTrips(ctx, "ReserveOperations", conn, func(ctx context.Context, tx *trips) (err error) {
			written, err = s.reserve(ctx, tx, sqlc.LockFreePayments, ops, func(ports.NewOperation, error) {})

			return err
		})
	})
	if err != nil {
		return nil, err
	}

	return mapped(ops, func(op ports.NewOperation) *ports.Operation { return written[op.ID] }), nil
}

// reserveOne begins an operation and waits for whoever has locked its payment, or finds what
// its key made before: that one may be what makes the payment have too little.
func (s *Store) reserveOne(ctx context.Context, op ports.NewOperation) (ports.Operation, error) {
	var found ports.Operation

	err := s.hot.run(ctx, "beginning an operation", func(ctx context.Context, conn *pgxpool.Conn) error {
		switch written, done, err := s.reserveSeen(ctx, conn, []ports.NewOperation{op}); {
		case done && err == nil:
			found = *written[op.ID]

			return nil
		case done:
			return err
		}

		return lookAgain(func() error {
			existing, err := findOrTakeOver(ctx, sqlc.New(conn), op)
			if err != nil {
				return err
			}

			if existing != nil {
				found = *existing

				return nil
			}

			return s.inTrips(ctx, "ReserveOperations", conn, func(ctx context.Context, tx *trips) error {
				refused := errMovedOn // its key has been used since

				written, err := s.reserve(ctx, tx, sqlc.LockPayments, []ports.NewOperation{op},
					func(_ ports.NewOperation, err error) { refused = err })

				switch {
				case err != nil:
					return err
				case written[op.ID] == nil:
					return refused
				default:
					found = *written[op.ID]

					return nil
				}
			})
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return found, errNotFound("payment")
	}

	return found, err
}

// reserve begins what it can of operations, each on another payment, and commits. refused is
// told of those that may not be begun. What is left out otherwise has its key used, or its
// payment locked by somebody else.
func (s *Store) reserve(
	ctx context.Context, tx *trips, lock string, ops []ports.NewOperation, refused func(ports.NewOperation, error),
) (map[uuid.UUID]*ports.Operation, error) {
	used := make(map[uuid.UUID]bool)

	locked, now, err := lockAll(ctx, tx, lock, mapped(ops, func(op ports.NewOperation) uuid.UUID { return op.Subject }),
		selectRows(sqlc.ListOperationsLike, func(r struct{ ID uuid.UUID }) { used[r.ID] = true },
			mapped(ops, func(op ports.NewOperation) uuid.UUID { return op.ID })))
	if err != nil {
		return nil, err
	}

	r := reserving{now: now}

	for _, op := range ops {
		before, here := locked[op.Subject]

		switch {
		case used[op.ID]:
			continue
		case !here:
			refused(op, fmt.Errorf("payment %s: %w", op.Subject, pgx.ErrNoRows))

			continue
		}

		if err := r.add(op, before); err != nil {
			refused(op, err)
		}
	}

	if len(r.ops) == 0 {
		return nil, nil
	}

	written, err := s.writeReserved(ctx, &r, tx.commit)
	if hasCode(err, pgerrcode.DivisionByZero) {
		err = errMovedOn
	}

	return written, err
}

// reserving are operations that are begun at now, by the database's clock, and what they reserve.
type reserving struct {
	ops     []ports.NewOperation
	changes []fullChange
	now     time.Time
}

// add asks what an operation reserves of a payment.
func (r *reserving) add(op ports.NewOperation, before ports.FullPayment) error {
	after, err := op.Reserve(before)
	if err != nil {
		return err
	}

	op.Was = before.Payment
	op.Seen = &ports.Seen{FullPayment: dated(before, stampedFull(after, r.now), r.now), At: r.now, Here: time.Now()}
	r.ops = append(r.ops, op)
	r.changes = append(r.changes, fullChange{before: before, after: op.Seen.FullPayment, cause: string(operation.ByRequest)})

	return nil
}

// writeReserved writes operations with what they reserve. write is to commit that.
func (s *Store) writeReserved(
	ctx context.Context, r *reserving, write func(context.Context, ...statement) error,
) (map[uuid.UUID]*ports.Operation, error) {
	slices.SortFunc(r.changes, func(a, b fullChange) int {
		return bytes.Compare(a.after.Payment.ID[:], b.after.Payment.ID[:])
	})

	rows := make(map[uuid.UUID]sqlc.BeginOperationsRow, len(r.ops))
	params := operationsToDB(r.ops)

	err := write(ctx, append([]statement{
		executeBegin(params, func(r sqlc.BeginOperationsRow) { rows[r.ID] = r }),
		selectRows(sqlc.RequireOperations, func(struct{ Written int32 }) {}, int64(len(r.ops)), params.Ids, params.LeaseTokens),
	}, writeFull(r.changes, r.now)...)...)
	if err != nil {
		return nil, err
	}

	written := make(map[uuid.UUID]*ports.Operation, len(r.ops))

	for _, op := range r.ops {
		row := rows[op.ID]
		s.lives.sees(row.Incarnation)
		written[op.ID] = begun(op, row)
		written[op.ID].Seen = op.Seen
	}

	return written, nil
}

// executeBegin is sqlc's BeginOperations as a statement of a trip.
func executeBegin(p sqlc.BeginOperationsParams, each func(sqlc.BeginOperationsRow)) statement {
	return selectRows(sqlc.BeginOperations, each, p.Ids, p.Tenants, p.Kinds, p.Subjects, p.IdempotencyKeys, p.Fingerprints,
		p.Amounts, p.Currencies, p.Metadata, p.Options, p.Reasons, p.StripeKeys, p.StripePaths, p.StripeParams, p.LeaseTokens,
		p.Leases, p.OriginRequestIds, p.OriginTraces, p.CreatedAts, p.Actors, p.Behalves, p.ResponseStatuses, p.ResponseBodies,
		p.Befores, p.MayBeLost)
}

// giveBack takes away the refund that an operation was to make and that nobody has made, and
// with it what it reserves. op is locked and ends in this transaction. A refund that the
// provider is known to have made is ports.ErrContradiction.
func giveBack(ctx context.Context, tx *trips, op ports.Operation, cause string) error {
	if op.Kind != operation.Refund {
		return nil
	}

	before, now, err := lockFull(ctx, tx, op.Subject)
	if errors.Is(err, pgx.ErrNoRows) { // the database has lost it
		return nil
	}

	if err != nil {
		return err
	}

	made, here := refund.Find(before.Refunds, op.ID)

	switch {
	case here && made.Made():
		return fmt.Errorf("operation %s was not done, but refund %s is its: %w", op.ID, made.ProviderID, ports.ErrContradiction)
	case !here:
		return nil
	}

	after := stampedFull(before, now)
	after.Refunds = refund.Without(before.Refunds, op.ID)
	after.Payment = after.Payment.WithRefunds(after.Refunds).Balanced() // it can only fall

	return tx.send(ctx, writeFull([]fullChange{{before: before, after: after, cause: cause}}, now)...)
}

// reserveAgain reserves what an operation needs that is opened again.
func reserveAgain(ctx context.Context, tx *trips, subject uuid.UUID, reserve ports.Reserve) error {
	before, now, err := lockFull(ctx, tx, subject)
	if err != nil {
		return err
	}

	after, err := reserve(before)
	if err != nil {
		return err
	}

	return tx.send(ctx, writeFull([]fullChange{{
		before: before, after: stampedFull(after, now), cause: string(operation.ByRequest),
	}}, now)...)
}
