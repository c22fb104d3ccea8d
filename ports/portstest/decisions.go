package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Decisions is the contract of ports.Decisions. Each call of newBed gives an
// empty store.
func Decisions(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Operation/as people see it":                 operationShown,
		"Operation/none is NotFound":                 operationNotFound,
		"Operations/unfinished first, oldest first":  operationsListed,
		"Operations/filtered and limited":            operationsFiltered,
		"OperationsOn/a payment's, oldest first":     operationsOn,
		"OperationsOn/the newest hundred":            operationsOnMany,
		"Close/freezes the answer, with its audit":   closeFreezes,
		"Close/of a capture frees its payment":       closeCapture,
		"Close/once for one entry":                   closeRepeated,
		"Close/only as it was decided about":         closeMoved,
		"Close/not while somebody works on it":       closeInHand,
		"Close/not where a payment exists":           closePaid,
		"Close/none is NotFound":                     closeNotFound,
		"Close/against Finish, one wins":             closeAgainstFinish,
		"Close/many at once, one is written":         closeByMany,
		"Adopt/finishes, with its audit":             adoptFinishes,
		"Adopt/gives an open payment its answer":     adoptOpenPayment,
		"Adopt/once for one entry":                   adoptRepeated,
		"Adopt/a finished one has moved":             adoptFinished,
		"Adopt/another payment's intent contradicts": adoptTakenIntent,
		"Adopt/none is NotFound":                     adoptNotFound,
		"Adopt/against Finish, one payment":          adoptAgainstFinish,
		"Adopt/against Close, one wins":              adoptAgainstClose,
		"AdoptOn/finishes, with its audit":           adoptOnFinishes,
		"AdoptOn/what stands is returned":            adoptOnRepeated,
		"AdoptOn/an error changes nothing":           adoptOnUndecided,
		"AdoptOn/none is NotFound":                   adoptOnNotFound,
		"AdoptOn/against Close, one wins":            adoptOnAgainstClose,
	})
}

// mustGiveUp makes an operation that needs attention and that nobody holds.
func (b StoreBed) mustGiveUp(tb testing.TB, key operation.Key) ports.Operation {
	tb.Helper()

	op := b.mustBegin(tb, newOperation(tb, key))
	require.NoError(tb, b.GiveUp(tb.Context(), op.ID, errors.New("not to be found")))
	b.Elapse(tb, lease+time.Second)

	return b.operationNow(tb, op.ID)
}
