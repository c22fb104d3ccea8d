package sandbox

import (
	"slices"
	"sync"
	"sync/atomic"
)

// shelf keeps all objects of one kind, by id and in the order of their making.
// Its lock guards the index alone and is held for nanoseconds; what the objects
// say is guarded by the lock of the payment they belong to.
type shelf[T any] struct {
	mu    sync.RWMutex
	byID  map[string]int
	items []shelved[T]
}

// shelved is an object with what lists are filtered and ordered by.
type shelved[T any] struct {
	id      string
	created int64
	object  T
}

func newShelf[T any]() *shelf[T] { return &shelf[T]{byID: map[string]int{}} }

func (s *shelf[T]) add(id string, created int64, object T) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.byID[id] = len(s.items)
	s.items = append(s.items, shelved[T]{id: id, created: created, object: object})
}

func (s *shelf[T]) get(id string) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	position, ok := s.byID[id]
	if !ok {
		var none T

		return none, false
	}

	return s.items[position].object, true
}

// position is an object's place in the order of making.
func (s *shelf[T]) position(id string) (int, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	position, ok := s.byID[id]

	return position, ok
}

// all returns the objects so far, oldest first. The slice is shared with the
// shelf, which only ever appends to it: read it, never write.
func (s *shelf[T]) all() []shelved[T] {
	s.mu.RLock()
	defer s.mu.RUnlock()

	return slices.Clip(s.items)
}

// books is everything the sandbox knows of.
type books struct {
	payments     *shelf[*payment]
	charges      *shelf[member]
	refunds      *shelf[member]
	disputes     *shelf[member]
	warnings     *shelf[member]
	transactions *shelf[member]
	events       *shelf[*event]
	wallet       wallet
	// sequence numbers objects in the order of their making, so that a
	// restart finds that order again.
	sequence atomic.Int64
}

func newBooks() *books {
	return &books{
		payments:     newShelf[*payment](),
		charges:      newShelf[member](),
		refunds:      newShelf[member](),
		disputes:     newShelf[member](),
		warnings:     newShelf[member](),
		transactions: newShelf[member](),
		events:       newShelf[*event](),
		wallet:       newWallet(),
	}
}

// payment is an intent and all that hangs on it: the unit of locking and of
// durability, so that a refund's check and its booking cannot be torn apart.
//
// The objects are versions: once another goroutine can see one it is never
// written again. A change replaces the pointer, so an event keeps its snapshot
// for free.
type payment struct {
	mu sync.Mutex

	intent       *paymentIntent
	charges      []*charge
	refunds      []*refund
	disputes     []*dispute
	warnings     []*fraudWarning
	transactions []*balanceTransaction
	methods      []*paymentMethod

	stored int // the size of its last version in the state file
}

// member is where an object of a payment is found.
type member struct {
	payment *payment
	index   int
}
