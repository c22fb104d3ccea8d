package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Finish implements ports.Operations.
func (s *Store) Finish(ctx context.Context, c ports.Completion) (ports.Finished, error) {
	if err := ctx.Err(); err != nil {
		return ports.Finished{}, fmt.Errorf("finishing an operation: %w", err)
	}

	var (
		finished ports.Finished
		err      error
	)

	if c.Response != nil {
		finished, err = s.finishes.do(ctx, c, func() (ports.Finished, error) { return s.finishLone(ctx, c) })
	} else { // the operation stays pending, which is rare
		finished, err = s.finishOne(ctx, c)
	}

	return finished, errNoOperation(err)
}

// namesOfCompletion: completions of one payment or one intent never share a group.
func namesOfCompletion(c ports.Completion) []string {
	return []string{c.Payment.ID.String(), c.Payment.IntentID}
}

// finishLone does what a group does, for one. What that leaves out is looked at.
func (s *Store) finishLone(ctx context.Context, c ports.Completion) (ports.Finished, error) {
	answers, err := s.finishAll(ctx, []ports.Completion{c})

	switch {
	case err == nil && answers[0] != nil:
		return *answers[0], nil
	case isInDoubt(err):
		finished, err := s.finishOne(ctx, c)

		return finished, stillInDoubt(err)
	case err != nil && !hasCode(err, pgerrcode.UniqueViolation):
		return ports.Finished{}, err
	default:
		return s.finishOne(ctx, c)
	}
}

// finishAll finishes operations that are pending and have no payment, in one round
// trip, because the statements themselves leave out everything else; nil stands for
// what was left out. If another transaction writes one of the payments or intents
// meanwhile, the whole fails and nothing is done.
func (s *Store) finishAll(ctx context.Context, completions []ports.Completion) ([]*ports.Finished, error) {
	var done map[uuid.UUID]ports.Finished

	err := s.hot.run(ctx, "finishing operations", func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		done, err = s.writeCompletions(ctx, &trips{to: conn.Conn(), implicit: true}, completions, false)

		return err
	})
	if err != nil {
		return nil, err
	}

	return mapped(completions, func(c ports.Completion) *ports.Finished {
		if finished, ok := done[c.Payment.ID]; ok {
			return &finished
		}

		return nil
	}), nil
}

// finishOne finishes an operation under its lock, or finds what stands.
func (s *Store) finishOne(ctx context.Context, c ports.Completion) (ports.Finished, error) {
	var finished ports.Finished

	err := s.hot.run(ctx, "finishing an operation", func(ctx context.Context, conn *pgxpool.Conn) error {
		return lookAgain(func() error {
			return s.inTrips(ctx, "FinishOperations", conn, func(ctx context.Context, tx *trips) (err error) {
				if finished, err = s.finishLocked(ctx, tx, c); err != nil {
					return err
				}

				return tx.commit(ctx)
			})
		})
	})

	return finished, err
}

// finishLocked locks the operation, decides and writes. The caller commits.
func (s *Store) finishLocked(ctx context.Context, tx *trips, c ports.Completion) (ports.Finished, error) {
	row, same, err := lookUpCompletion(ctx, tx, c)
	if err != nil {
		return ports.Finished{}, err
	}

	op, err := operationFromDB(row, row.UpdatedAt.Sub(row.CreatedAt).Seconds(), uuid.Nil)
	if err != nil {
		return ports.Finished{}, err
	}

	denied := op.Row().Refused || op.State == operation.Rejected

	switch ending := op.Row().Ends(c.Fingerprint); {
	case ending == operation.Contradicts, denied && c.Response == nil: // it needs the answer to be finished
		return ports.Finished{}, errDoesNotFit(c)
	case ending == operation.Stands && same: // what somebody else has finished stands
		parked, err := listParked(ctx, tx, c.Payment.IntentID)

		return ports.Finished{Operation: op, Parked: parked}, err
	case op.Fingerprint != c.Fingerprint:
		if err := tx.send(ctx, takeOrder(op.ID, c.Fingerprint, c.Order)); err != nil {
			return ports.Finished{}, err
		}

		op.Fingerprint, op.Order = c.Fingerprint, c.Order
	}

	done, err := s.writeCompletions(ctx, tx, []ports.Completion{c}, true)
	if err != nil {
		return ports.Finished{}, err
	}

	finished := done[c.Payment.ID]
	if c.Response == nil {
		finished.Operation = op
	}

	return finished, nil
}

func errDoesNotFit(c ports.Completion) error {
	return fmt.Errorf("intent %s does not fit payment %s: %w", c.Payment.IntentID, c.Payment.ID, ports.ErrContradiction)
}

// takeOrder gives an operation the order that its object was made for. If another order was
// refused, the operation is unfinished then.
func takeOrder(id uuid.UUID, fingerprint operation.Fingerprint, order operation.Order) statement {
	return execute(sqlc.TakeOrder, fingerprint[:], amountToDB(order.Amount), optional(order.Amount.Currency().Code()),
		nullableJSON(order.Metadata), nullableJSON(order.Options), id)
}

// lookUpCompletion locks the operation and tells whether its payment is there with
// the same intent. Anything else that has its id, intent or key contradicts it.
func lookUpCompletion(ctx context.Context, tx *trips, c ports.Completion) (op sqlc.Operation, same bool, err error) {
	var (
		p      = c.Payment
		exists bool
		others []uuid.UUID
	)

	err = tx.send(ctx,
		selectRows(sqlc.LockOperations, func(r sqlc.Operation) { op, exists = r, true }, p.ID),
		selectRows(sqlc.ListPaymentsLike, func(r sqlc.ListPaymentsLikeRow) {
			if r.ID == p.ID && r.StripePaymentIntentID == p.IntentID {
				same = true
			} else {
				others = append(others, r.ID)
			}
		}, p.ID, p.IntentID, keyToDB(p.Key), int32(p.Tenant)))

	switch {
	case err != nil:
		return op, same, fmt.Errorf("payment %s: %w", p.ID, err)
	case !exists:
		return op, same, fmt.Errorf("payment %s: %w", p.ID, pgx.ErrNoRows)
	case len(others) > 0:
		return op, same, errDoesNotFit(c)
	default:
		return op, same, nil
	}
}

// writeCompletions freezes the answers, writes the payments that are not there, and
// begins their histories. It returns what it did, by payment. locked: the operations
// are locked by this transaction, and it is right if their payments exist.
func (s *Store) writeCompletions(
	ctx context.Context, tx *trips, completions []ports.Completion, locked bool,
) (map[uuid.UUID]ports.Finished, error) {
	var (
		w       completionColumns
		rows    = make(map[uuid.UUID]sqlc.Operation, len(completions))
		created = make(map[uuid.UUID]bool, len(completions))
		parked  = make(map[string]bool)
	)

	namings := make([]statement, 0, len(completions)) // of customers whom only the provider's id names

	for _, c := range completions {
		w.add(c)

		if c.Customer != "" && c.Payment.CustomerID == uuid.Nil {
			namings = append(namings, execute(sqlc.SetCustomerOfPayment, c.Payment.ID, c.Customer))
		}
	}

	open := len(w.answered) == 0

	err := tx.send(ctx, append([]statement{
		selectRows(sqlc.FinishOperations, func(r sqlc.Operation) { rows[r.ID] = r },
			w.answered, w.statuses, w.bodies, w.fingerprints, noAfters, locked),
		selectRows(sqlc.InsertPayments, func(id struct{ UUID uuid.UUID }) { created[id.UUID] = true },
			w.ids, w.intents, w.keys, w.customers, w.amounts, w.currencies, w.states, w.metadata, w.intentStatuses, w.methods,
			w.capturable, w.captured, w.before, w.declined, w.descriptions, w.paidBy, w.declines, w.versions, w.created, open,
			locked),
		execute(sqlc.InsertFirstTransitions, w.ids, w.causes),
		selectRows(sqlc.ListParkedObjects, func(object struct{ ID string }) { parked[object.ID] = true }, w.intents),
	}, append(s.indexFirst(completions), namings...)...)...)
	if err != nil {
		return nil, err
	}

	done := make(map[uuid.UUID]ports.Finished, len(completions))

	for _, c := range completions {
		row, frozen := rows[c.Payment.ID]
		if !frozen && !locked {
			continue
		}

		finished := ports.Finished{Created: created[c.Payment.ID], Parked: parked[c.Payment.IntentID]}

		if frozen {
			if finished.Operation, err = operationFromDB(row, row.UpdatedAt.Sub(row.CreatedAt).Seconds(), uuid.Nil); err != nil {
				return nil, err
			}
		}

		done[c.Payment.ID] = finished
	}

	return done, nil
}

func listParked(ctx context.Context, tx *trips, intentID string) (parked bool, err error) {
	err = tx.send(ctx, selectRows(sqlc.ListParkedObjects, func(struct{ ID string }) { parked = true }, []string{intentID}))

	return parked, err
}

// Restore implements ports.Operations.
func (s *Store) Restore(
	ctx context.Context, lost ports.NewOperation, c *ports.Completion, cause error,
) (ports.Finished, error) {
	var finished ports.Finished

	err := s.hot.run(ctx, "restoring an operation", func(ctx context.Context, conn *pgxpool.Conn) error {
		return lookAgain(func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
				finished, err = s.restore(ctx, tx, lost, c, cause)

				return err
			})
		})
	})

	return finished, err
}

func (s *Store) restore(
	ctx context.Context, tx pgx.Tx, lost ports.NewOperation, c *ports.Completion, cause error,
) (finished ports.Finished, err error) {
	q := sqlc.New(tx)

	written, err := s.insertOperations(ctx, q, []ports.NewOperation{lost})
	if err != nil {
		return finished, err
	}

	if c != nil {
		finished, err = s.finishLocked(ctx, &trips{to: tx, open: true}, *c)
		if errors.Is(err, pgx.ErrNoRows) { // what was in the way has its key, and another id
			err = errDoesNotFit(*c)
		}

		return finished, err
	}

	if written[0] != nil {
		finished.Operation = *written[0]
		finished.Operation.State = operation.Adopted(false)
		err = q.GiveUpOperation(ctx, sqlc.GiveUpOperationParams{ID: lost.ID, LastError: shortError(cause)})
	}

	return finished, err
}

// noAfters: what a create has made is in its payment.
var noAfters []string //nolint:gochecknoglobals // a constant

// completionColumns are the columns of what is written.
type completionColumns struct {
	paymentColumns

	answered []uuid.UUID
	statuses []int16
	bodies   [][]byte
	// fingerprints are what the objects were made for.
	fingerprints [][]byte

	intents, keys, currencies, metadata, descriptions, causes []string
	created                                                   []pgtype.Timestamptz
	customers                                                 []uuid.UUID
}

func (w *completionColumns) add(c ports.Completion) {
	p := c.Payment

	if c.Response != nil {
		w.answered = append(w.answered, p.ID)
		w.fingerprints = append(w.fingerprints, c.Fingerprint[:])
		w.statuses = append(w.statuses, int16(c.Response.Status)) //nolint:gosec // an HTTP status
		w.bodies = append(w.bodies, bodyToDB(c.Response.Body))
	}

	w.paymentColumns.add(p)
	w.intents, w.keys = append(w.intents, p.IntentID), append(w.keys, string(p.Key))
	w.customers = append(w.customers, p.CustomerID)
	w.currencies, w.causes = append(w.currencies, p.Amount.Currency().Code()), append(w.causes, c.Cause)
	w.metadata = append(w.metadata, string(metadataToDB(p.Metadata)))
	w.descriptions = append(w.descriptions, p.Description)
	w.created = append(w.created, pgtype.Timestamptz{Time: p.CreatedAt, Valid: true})
}
