// Package portstest holds one contract suite for each port. Every adapter and every
// fake runs it.
//
// A port's file has the suite's entry, which lists the cases, and what several cases
// need. A large suite has a file for each method, named after both: the cases of
// Operations.Take are in operations_take.go.
package portstest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/ports"
)

// Store is the ports that share one database. They are tested together, because one
// reads what another writes.
type Store interface {
	ports.Operations
	things
	ports.Facts
	ports.Inbox
	ports.Backlog
	ports.Reconciliation
	ports.Incarnations
	ports.Decisions
	ports.Audit
	ports.Installation
}

// things are the ports of what operations make, and of who asks for them.
type things interface {
	ports.Payments
	ports.Refunds
	ports.PaymentLists
	ports.RefundLists
	ports.Disputes
	ports.MetadataIndex
	ports.Customers
	ports.Erasure
	ports.APIKeys
	ports.WebhookSecrets
}

// StoreBed is an empty store and what a test needs to steer it.
type StoreBed struct {
	Store

	// Twin is the same store over its own connections, as in another process.
	Twin Store
	// Unindexed is the same store without names of metadata.
	Unindexed Store
	// Elapse makes the operations and events in the store older.
	Elapse func(tb testing.TB, by time.Duration)
	// Severed is the same store over connections that Sever cuts. The database gives
	// that many more answers, of which the last is lost. Then nothing gets through until
	// mend is called. With no answers the connections are cut at once.
	Severed Store
	Sever   func(tb testing.TB, answers int) (mend func())
}

// lease is how long these tests hold an operation: longer than any of them takes.
const lease = time.Hour

// runStore runs each test on a store of its own.
func runStore(t *testing.T, newBed func(tb testing.TB) StoreBed, tests map[string]func(*testing.T, StoreBed)) {
	t.Helper()

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newBed(t))
		})
	}
}

// either returns the twin to even callers and the store to odd ones.
func (b StoreBed) either(i int) Store {
	if i%2 == 0 {
		return b.Twin
	}

	return b.Store
}

// atOnce calls do n times at the same moment. A call that gets fault.Unavailable is
// repeated, as the contract allows.
func atOnce[T any](n int, do func(i int) (T, error)) ([]T, []error) {
	const patience = 20

	var all sync.WaitGroup

	results, errs, start := make([]T, n), make([]error, n), make(chan struct{})

	for i := range n {
		all.Go(func() {
			<-start

			for range patience {
				results[i], errs[i] = do(i)
				if errs[i] == nil || fault.KindOf(errs[i]) != fault.Unavailable {
					return
				}
			}
		})
	}

	close(start)
	all.Wait()

	return results, errs
}

// allAtOnce is atOnce where no call may fail.
func allAtOnce[T any](tb testing.TB, n int, do func(i int) (T, error)) []T {
	tb.Helper()

	results, errs := atOnce(n, do)
	require.NoError(tb, errors.Join(errs...))

	return results
}

func count[T any](values []T, is func(T) bool) int {
	n := 0

	for _, value := range values {
		if is(value) {
			n++
		}
	}

	return n
}

func requireNotFound(t require.TestingT, err error) {
	require.Error(t, err)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
}

func amount(t require.TestingT, minor int64, code string) money.Price {
	currency, err := money.ParseCurrency(code)
	require.NoError(t, err)

	a, err := money.NewPrice(minor, currency)
	require.NoError(t, err)

	return a
}
