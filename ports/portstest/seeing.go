package portstest

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/ports"
)

// Seeing is newBed, whose stores are told of each payment how it was just read or written, as the
// use cases tell them. What the contract promises holds all the same.
func Seeing(newBed func(tb testing.TB) StoreBed) func(tb testing.TB) StoreBed {
	return func(tb testing.TB) StoreBed {
		tb.Helper()

		b := newBed(tb)
		begun := new(sync.Map)
		by := b.Store
		b.Store, b.Twin = seeing{by, by, begun}, seeing{b.Twin, by, begun}
		b.Severed = seeing{b.Severed, by, begun}

		return b
	}
}

// seeing reads a payment before an operation reserves of it, and remembers what it has reserved.
type seeing struct {
	Store

	by    Store
	begun *sync.Map // of *ports.Operation by id
}

func (s seeing) Begin(ctx context.Context, c ports.NewOperation) (ports.Operation, error) {
	if c.Reserve != nil && c.Seen == nil {
		if seen, _, err := s.by.See(ctx, c.Subject, c.ID); err == nil {
			c.Seen = &seen
		}
	}

	op, err := s.Store.Begin(ctx, c)
	if err == nil && op.Seen != nil {
		s.begun.Store(op.ID, op)
	}

	return op, err
}

func (s seeing) FinishOn(ctx context.Context, id uuid.UUID, cause string, c ports.Change) (ports.Finished, error) {
	if op, ok := s.begun.Load(id); ok && c.Seen == nil {
		begun, _ := op.(ports.Operation)
		c.Seen, c.Asked = begun.Seen, begun.Fingerprint
	}

	return s.Store.FinishOn(ctx, id, cause, c)
}
