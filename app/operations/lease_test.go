package operations_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// slow takes longer than leases last.
type slow struct {
	ports.Provider

	takes time.Duration
}

func (slow) Ready() error { return nil }

func (s slow) Send(context.Context, ports.Call, bool) (ports.Object, error) {
	time.Sleep(s.takes)

	return ports.Object{}, ports.ErrUnavailable
}

// leased keeps an operation's lease alone.
type leased struct {
	ports.Operations

	mu    sync.Mutex
	until time.Time
	lost  bool
}

func (l *leased) Begin(_ context.Context, wanted ports.NewOperation) (ports.Operation, error) {
	l.until = time.Now().Add(wanted.Lease.For)

	return ports.Operation{
		ID: wanted.ID, Kind: wanted.Kind, Lease: wanted.Lease.Token, State: operation.Pending, CreatedAt: time.Now(), Attempts: 1,
	}, nil
}

func (l *leased) Extend(_ context.Context, _ ports.Operation, by time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.lost = l.lost || time.Now().After(l.until)
	l.until = time.Now().Add(by)

	return nil
}

func (l *leased) Release(context.Context, ports.Operation, time.Duration, error) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.lost = l.lost || time.Now().After(l.until)

	return nil
}

func (l *leased) now() (until time.Time, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.until, l.lost
}

// While the provider takes long, nobody else may take the operation and send it.
func TestEngine_Do_LeaseIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lease := &leased{}
		engine := operations.NewEngine(lease, slow{takes: 9 * time.Second}, nil, nil, nil, apptest.Life{},
			&apptest.Observer{}, []operations.Definition{{Kind: operation.Create}})

		_, err := engine.Do(t.Context(), operations.Request{
			Tenant: operation.DefaultTenant, New: func(context.Context) (ports.NewOperation, error) {
				return ports.NewOperation{Tenant: operation.DefaultTenant, ID: uuid.New(), Kind: operation.Create}, nil
			},
		})
		apptest.RequireFault(t, fault.Unknown, err)

		until, lost := lease.now()
		require.False(t, lost)

		time.Sleep(time.Minute)
		synctest.Wait()

		later, _ := lease.now()
		require.Equal(t, until, later, "an operation that was given back is not extended")
	})
}
