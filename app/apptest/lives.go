package apptest

import (
	"context"

	"github.com/marketflow/marketflow/domain/operation"
)

// Life is a life of the database in which reconciliation has come that far. It stands for
// World.Lives.
type Life operation.Standing

// Incarnation implements ports.Incarnations.
func (l Life) Incarnation(context.Context) (string, operation.Standing, error) {
	return "a life", operation.Standing(l), nil
}

// Standing implements ports.Incarnations.
func (l Life) Standing(context.Context, string) (operation.Standing, error) {
	return operation.Standing(l), nil
}

// LoseEverything makes the database lose its operations and payments, as a restore does,
// and the cache forget them.
func (w *World) LoseEverything() {
	w.tb.Helper()

	for _, table := range []string{"payments", "operations", "payment_transitions"} {
		w.Exec("DELETE FROM " + table)
	}

	w.ForgetReplays()
}
