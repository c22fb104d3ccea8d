package apptest

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Life is a life of the database in which reconciliation has come that far. It stands for
// World.Lives.
type Life struct{ Standing operation.Standing }

// InLife lets reconciliation have come that far: Lives and Operations say so.
func (w *World) InLife(standing operation.Standing) {
	w.Lives, w.Operations = Life{standing}, operationsInLife{w.Operations, standing}
}

type operationsInLife struct {
	ports.Operations

	standing operation.Standing
}

// Begin implements ports.Operations.
func (o operationsInLife) Begin(ctx context.Context, op ports.NewOperation) (ports.Operation, error) {
	return o.in(o.Operations.Begin(ctx, op))
}

// Reopen implements ports.Operations.
func (o operationsInLife) Reopen(
	ctx context.Context, id uuid.UUID, lease ports.Lease, reserve ports.Reserve,
) (ports.Operation, error) {
	return o.in(o.Operations.Reopen(ctx, id, lease, reserve))
}

// Take implements ports.Operations.
func (o operationsInLife) Take(ctx context.Context, limit int, lease ports.Lease) ([]ports.Operation, error) {
	ops, err := o.Operations.Take(ctx, limit, lease)
	for i := range ops {
		ops[i].Standing = o.standing
	}

	return ops, err
}

func (o operationsInLife) in(op ports.Operation, err error) (ports.Operation, error) {
	op.Standing = o.standing

	return op, err
}

// Incarnation implements ports.Incarnations.
func (l Life) Incarnation(context.Context) (string, operation.Standing, error) {
	return "a life", l.Standing, nil
}

// Reconciled implements ports.Incarnations.
func (l Life) Reconciled(context.Context) (bool, error) { return l.Standing.Reconciled, nil }

// LoseEverything makes the database lose its operations, payments and customers, as a restore does,
// and the cache forget them.
func (w *World) LoseEverything() {
	w.tb.Helper()

	for _, table := range []string{"payments", "operations", "payment_transitions", "customers", "refunds"} {
		w.Exec("DELETE FROM " + table)
	}

	w.ForgetReplays()
}
