package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Begin implements ports.Operations.
func (s *Store) Begin(ctx context.Context, op ports.NewOperation) (ports.Operation, error) {
	if err := ctx.Err(); err != nil {
		return ports.Operation{}, fmt.Errorf("beginning an operation: %w", err)
	}

	switch {
	case op.If != (ports.Precondition{}):
		return s.beginIf(ctx, op)
	case op.Reserve != nil:
		return s.reserves.do(ctx, op, func() (ports.Operation, error) { return s.reserveOne(ctx, op) })
	}

	return s.begins.do(ctx, op, func() (ports.Operation, error) { return s.beginOne(ctx, op) })
}

// namesOfOperation: operations with one key never share a group, so that the second
// finds the first.
func namesOfOperation(op ports.NewOperation) []string { return []string{string(op.Key)} }

// beginAll writes operations that arrived together; nil stands for one whose key has
// been used.
func (s *Store) beginAll(ctx context.Context, ops []ports.NewOperation) ([]*ports.Operation, error) {
	var written []*ports.Operation

	doubt, err := s.hot.attempts(ctx, s.hot.writes, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		written, err = s.insertOperations(ctx, sqlc.New(conn), ops)

		return err
	})

	// What the last attempt has not written, one before it may have.
	if doubt && err == nil && slices.Contains(written, nil) {
		return nil, errInDoubt(nil)
	}

	err = translate("beginning operations", err)
	if doubt {
		err = stillInDoubt(err)
	}

	return written, err
}

// beginOne writes an operation, or finds the one that has its key, and takes it over
// if nobody works on it any more.
func (s *Store) beginOne(ctx context.Context, op ports.NewOperation) (ports.Operation, error) {
	var found ports.Operation

	err := s.hot.run(ctx, "beginning an operation", func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		found, _, err = s.writeOrFind(ctx, sqlc.New(conn), op)

		return err
	})

	return found, err
}

// writeOrFind also tells whether it has written the operation.
func (s *Store) writeOrFind(
	ctx context.Context, q *sqlc.Queries, op ports.NewOperation,
) (found ports.Operation, written bool, err error) {
	// Whatever is in the way was written since the statement before began. The next
	// one sees it.
	for range maxAttempts {
		inserted, err := s.insertOperations(ctx, q, []ports.NewOperation{op})
		if err != nil {
			return found, false, err
		}

		if inserted[0] != nil {
			return *inserted[0], true, nil
		}

		existing, err := findOrTakeOver(ctx, q, op)
		if err != nil {
			return found, false, err
		}

		if existing != nil {
			return *existing, false, nil
		}
	}

	return found, false, errors.New("several others write the same key")
}

func (s *Store) insertOperations(ctx context.Context, q *sqlc.Queries, ops []ports.NewOperation) ([]*ports.Operation, error) {
	rows, err := q.BeginOperations(ctx, operationsToDB(ops))
	if err != nil {
		return nil, fmt.Errorf("inserting: %w", err)
	}

	written := make(map[uuid.UUID]sqlc.BeginOperationsRow, len(rows))
	for _, row := range rows {
		written[row.ID] = row
		s.lives.sees(row.Incarnation)
	}

	answers := make([]*ports.Operation, len(ops))

	for i, op := range ops {
		if row, ok := written[op.ID]; ok {
			answers[i] = begun(op, row)
		}
	}

	return answers, nil
}

// begun is an operation as it was written.
func begun(op ports.NewOperation, row sqlc.BeginOperationsRow) *ports.Operation {
	written := ports.Operation{
		ID:          op.ID,
		Tenant:      op.Tenant,
		Kind:        op.Kind,
		Subject:     op.Subject,
		Key:         op.Key,
		Order:       op.Order,
		Fingerprint: op.Fingerprint(),
		Call:        op.Call,
		Origin:      op.Origin,
		Before:      op.Before,
		State:       operation.Pending,
		Lease:       op.Lease.Token,
		Incarnation: row.Incarnation,
		Standing:    standingFromDB(row.Reconciled, row.BehindSeconds),
		Attempts:    1,
		Age:         seconds(row.AgeSeconds),
		CreatedAt:   row.CreatedAt.UTC(),
	}

	if op.Response != nil {
		written.State, written.Lease, written.Response = operation.Finished, uuid.Nil, *op.Response
	}

	return &written
}

// findOrTakeOver returns the operation that is in the way of op; nil if there is none
// any more, or if somebody else has just taken it over.
func findOrTakeOver(ctx context.Context, q *sqlc.Queries, op ports.NewOperation) (*ports.Operation, error) {
	rows, err := q.FindOperation(ctx, sqlc.FindOperationParams{
		IdempotencyKey: keyToDB(op.Key), Tenant: int32(op.Tenant), ID: op.ID,
	})
	if err != nil {
		return nil, err
	}

	if len(rows) == 0 {
		return nil, checkInProgress(ctx, q, op)
	}

	found, err := operationFromDB(rows[0].Operation, rows[0].AgeSeconds, op.Lease.Token)
	if err != nil {
		return nil, err
	}

	// Only a pending operation is taken over, and for that the standing does not count.
	held := !rows[0].Abandoned
	if found.Row().Repeated(op.Fingerprint(), found.Age, operation.Standing{}, held) != operation.TakenOver {
		return &found, nil
	}

	taken, err := q.TakeOverOperation(ctx, sqlc.TakeOverOperationParams{
		ID: found.ID, LeaseToken: op.Lease.Token, Lease: interval(op.Lease.For),
	})
	if err != nil || len(taken) == 0 {
		return nil, err
	}

	found, err = operationFromDB(taken[0].Operation, taken[0].AgeSeconds, op.Lease.Token)
	found.Incarnation = taken[0].Incarnation
	found.Standing = standingFromDB(taken[0].Reconciled, taken[0].BehindSeconds)
	found.IntentID = taken[0].IntentID

	return &found, err
}

// checkInProgress returns ports.ErrInProgress if another operation on the payment or the
// customer is in the way.
func checkInProgress(ctx context.Context, q *sqlc.Queries, op ports.NewOperation) error {
	if op.Kind.Makes() || op.Reserve != nil { // what reserves may go beside others
		return nil
	}

	others, err := q.CountInProgress(ctx, sqlc.CountInProgressParams{
		Subject: op.Subject, Kind: string(op.Kind), DisputeID: op.Order.Options[dispute.OptionDispute],
	})
	if err == nil && others > 0 {
		err = fmt.Errorf("%s of %s: %w", op.Kind, op.Subject, ports.ErrInProgress)
	}

	return err
}

// mayBeLost tells whether a crash of PostgreSQL may lose what these operations write. It may
// be lost of a create that is not done yet: its id is made of its key, its intent carries
// all that was written, and Finish writes it again. What follows waits for the disk, and with
// it all that came before.
func mayBeLost(ops []ports.NewOperation) bool {
	return !slices.ContainsFunc(ops, func(op ports.NewOperation) bool {
		return op.Kind != operation.Create || op.Response != nil
	})
}

func operationsToDB(ops []ports.NewOperation) sqlc.BeginOperationsParams {
	params := sqlc.BeginOperationsParams{MayBeLost: mayBeLost(ops)}

	for _, op := range ops {
		fingerprint, lease, response := op.Fingerprint(), op.Lease, ports.FrozenResponse{}
		if op.Response != nil { // finished: nobody works on it
			lease = ports.Lease{}
			response = ports.FrozenResponse{Status: op.Response.Status, Body: bodyToDB(op.Response.Body)}
		}

		params.Ids = append(params.Ids, op.ID)
		params.Tenants = append(params.Tenants, int32(op.Tenant))
		params.Kinds = append(params.Kinds, string(op.Kind))
		params.Subjects = append(params.Subjects, op.Subject)
		params.IdempotencyKeys = append(params.IdempotencyKeys, string(op.Key))
		params.Fingerprints = append(params.Fingerprints, fingerprint[:])
		params.Amounts = append(params.Amounts, amountToDB(op.Order.Amount))
		params.Currencies = append(params.Currencies, op.Order.Amount.Currency().Code())
		params.Metadata = append(params.Metadata, string(metadataToDB(op.Order.Metadata)))
		params.Options = append(params.Options, string(metadataToDB(optionsToDB(op))))
		params.Reasons = append(params.Reasons, op.Reason)
		params.StripeKeys = append(params.StripeKeys, op.Call.Key)
		params.StripePaths = append(params.StripePaths, op.Call.Path)
		params.StripeParams = append(params.StripeParams, op.Call.Params)
		params.LeaseTokens = append(params.LeaseTokens, lease.Token)
		params.Leases = append(params.Leases, interval(lease.For))
		params.OriginRequestIds = append(params.OriginRequestIds, op.Origin.RequestID)
		params.OriginTraces = append(params.OriginTraces, op.Origin.TraceParent)
		params.Actors = append(params.Actors, op.Origin.Actor.Name)
		params.Behalves = append(params.Behalves, op.Origin.Actor.OnBehalfOf)
		params.CreatedAts = append(params.CreatedAts, op.CreatedAt)
		params.ResponseStatuses = append(params.ResponseStatuses, int16(response.Status)) //nolint:gosec // an HTTP status
		params.ResponseBodies = append(params.ResponseBodies, response.Body)
		params.Befores = append(params.Befores, auditedToDB(op.Was))
	}

	return params
}
