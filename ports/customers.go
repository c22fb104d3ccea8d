package ports

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
)

// Customers reads customers, and writes what was read of them at the provider. What an
// operation does to a customer is written by Operations.
//
// Atomicity: every method is one commit. Idempotency: every method may be repeated after an
// error without harm. Errors: an unreachable or overloaded database is fault.Unavailable, and
// then surely nothing was written. If a write may have been committed: fault.Unknown.
type Customers interface {
	// Customer returns a customer, also one that is deleted. None: fault.NotFound.
	Customer(ctx context.Context, id uuid.UUID) (customer.Customer, error)

	// CustomersByProviderID returns customers, also deleted ones, by the provider's ids. One
	// that is not there is left out.
	CustomersByProviderID(ctx context.Context, ids []string) (map[string]customer.Customer, error)

	// ListCustomers returns up to limit customers that are not deleted, created before a
	// position (zero: from the newest), newest first.
	ListCustomers(
		ctx context.Context, filter CustomerFilter, before CustomerPosition, limit int,
	) ([]customer.Customer, error)

	// CustomerHints returns the ids of the hints about a provider's customer. Ask for them before
	// the customer is read at the provider: what comes later is not answered by what was read.
	CustomerHints(ctx context.Context, providerID string) ([]string, error)

	// WriteCustomer makes the customer what c says, if it still has c.Version. It gets a new
	// version if it differs from what is written down. The hints of these ids get the outcome. If
	// it has another version, nothing happens and the answer is false. No customer:
	// fault.NotFound.
	WriteCustomer(ctx context.Context, c customer.Customer, hints []string, outcome EventOutcome) (bool, error)

	// SettleHints gives hints about a provider's customer, who is not here, an outcome.
	SettleHints(ctx context.Context, hints []string, outcome EventOutcome) error

	// DetachedFrom returns the customer from whom an operation of the tenant has taken a payment
	// method, or is taking it. None, or it was refused: fault.NotFound.
	DetachedFrom(ctx context.Context, tenant operation.Tenant, methodID string) (uuid.UUID, error)
}

// CustomerFilter narrows a list of customers. A field that is zero does not.
type CustomerFilter struct {
	// Tenant owns the customers. It is never zero.
	Tenant           operation.Tenant
	Reference, Email string
	// From is the first time of creation.
	From time.Time
}

// CustomerPosition is a place among the customers, in the order of their creation.
type CustomerPosition struct {
	CreatedAt time.Time
	ID        uuid.UUID
}

// CustomerChange is what an operation does to a customer.
type CustomerChange struct {
	// Fingerprint and Order are what it was done for, as with Change.
	Fingerprint operation.Fingerprint
	Order       operation.Order
	// Decide says how the customer is afterwards. c is the customer under its lock, with the
	// version and the time that it will have if it changes. If the operation makes the
	// customer, c has only an id, or is what was written before.
	Decide func(c customer.Customer) (customer.Customer, error)
	// Answer is the answer that is frozen. c is the customer as it is written.
	Answer func(c customer.Customer) FrozenResponse
}

// CustomerEndings is the part of Operations that ends operations on customers.
type CustomerEndings interface {
	// FinishOnCustomer ends an operation on a customer: it locks the customer, asks what
	// becomes of it, and writes that and the frozen response in one commit. If the customer
	// stays as it is, it keeps its version and its time. If another customer has its new
	// reference, which can only be after a loss, it is written without one. Everything else is
	// as with FinishOn. ErrContradiction also: the provider's customer is another customer's.
	FinishOnCustomer(ctx context.Context, id uuid.UUID, c CustomerChange) (Finished, error)

	// RestoreCustomer is Restore for the operation that made a customer. If c is nil, the
	// operation needs attention, because of cause.
	RestoreCustomer(ctx context.Context, lost NewOperation, c *CustomerChange, cause error) (Finished, error)
}

// Precondition is what must hold when an operation is written. It is checked in the same
// commit. A field that is zero demands nothing.
type Precondition struct {
	// Reference is one that the operation's customer wants to have. If another customer has it, or
	// an unfinished operation wants it for another one: fault.ReferenceTaken, which names
	// that customer.
	Reference string
	// Version is what the operation's customer must have; else fault.PreconditionFailed.
	Version int64
}

// CustomerObject is the provider's side of a customer. A field is zero if the provider did
// not say it.
type CustomerObject struct {
	customer.Snapshot

	// ID is the provider's: "cus_…" at Stripe.
	ID string
	// Marked says that Mark, which the creating operation wrote, is there. Key is the client's
	// key, and Reference is the reference that it has asked for, as the provider keeps them.
	Mark      operation.Mark
	Marked    bool
	Key       operation.Key
	Reference string
	// Live is the mode that it is from; nil if it does not say so.
	Live      *bool
	CreatedAt time.Time
}

// Setup is a session at the provider in which a customer saves a payment method.
type Setup struct {
	// ID is the provider's: "seti_…" at Stripe.
	ID string
	// ClientSecret lets the customer's browser go on. It is never logged.
	ClientSecret string
	// Status is the provider's own word.
	Status    string
	CreatedAt time.Time
}

// Method is a saved payment method.
type Method struct {
	// ID is the provider's: "pm_…" at Stripe. CustomerID is the provider's id of its
	// customer; empty if it has none (any more).
	ID, CustomerID string
	// Type is the provider's word, such as "card".
	Type string
	// Card is nil if it is none.
	Card      *Card
	CreatedAt time.Time
}

// Card is what is known of a card.
type Card struct {
	Brand, Last4, Fingerprint string
	ExpMonth, ExpYear         int
}

// CustomerReads is the part of Provider that reads customers and their payment methods.
type CustomerReads interface {
	// Customer reads a customer. One that was deleted has Deleted and no values. None:
	// fault.NotFound.
	Customer(ctx context.Context, id string) (CustomerObject, error)

	// Customers reads every customer created between from and to, as Intents does. Those that
	// were deleted are not among them. Where the key may not list customers, or the provider has
	// no such list, there are none.
	Customers(ctx context.Context, from, to time.Time) iter.Seq2[CustomerObject, error]

	// Method reads a payment method. None: fault.NotFound.
	Method(ctx context.Context, id string) (Method, error)

	// Methods reads up to limit payment methods of a customer, those that follow the method
	// after (empty: from the first), and whether there are more. If the customer is deleted or
	// unknown, or has no such method: fault.NotFound.
	Methods(ctx context.Context, customerID, after string, limit int) (methods []Method, more bool, err error)
}

// CustomerCalls is the part of Calls about customers.
type CustomerCalls interface {
	// CreateCustomer makes the customer of the order, which carries the mark, and the client's
	// key if there is one.
	CreateCustomer(mark operation.Mark, key operation.Key, order operation.Order) (Call, error)

	// UpdateCustomer sets the order's values and metadata; an empty value takes away what is
	// there.
	UpdateCustomer(mark operation.Mark, customerID string, order operation.Order) (Call, error)

	// DeleteCustomer deletes a customer with all its payment methods, for good.
	DeleteCustomer(mark operation.Mark, customerID string, order operation.Order) (Call, error)

	// CreateSetup begins a session for payments without the customer being there.
	CreateSetup(mark operation.Mark, customerID string, order operation.Order) (Call, error)

	// DetachMethod takes a payment method from its customer.
	DetachMethod(mark operation.Mark, methodID string, order operation.Order) (Call, error)
}

// CustomerRenderer is the part of Renderer about customers.
type CustomerRenderer interface {
	// CustomerMade and Customer are the answers to a client whose operation has made the
	// customer, or left it, as c is.
	CustomerMade(c customer.Customer) FrozenResponse
	Customer(c customer.Customer) FrozenResponse
	// SetupMade is the answer to a client whose setup session exists.
	SetupMade(id, customerID uuid.UUID, s Setup) FrozenResponse
	// Nothing is the answer where what was asked for is gone.
	Nothing() FrozenResponse
}

// Erasure removes a person's data from what is kept, also from what otherwise never changes.
// Errors are as with Customers, and every method may be repeated.
type Erasure interface {
	// EraseBodies looks at up to limit stored events that were received after a position (zero:
	// from the first), and empties the bodies of those that mention a text. Those that are
	// parked still need theirs, and are returned. next is the position to go on from, which is
	// zero if there are no more.
	EraseBodies(
		ctx context.Context, mention string, after InboxPosition, limit int,
	) (erased int, parked []string, next InboxPosition, err error)

	// EraseDisputeBodies empties the bodies of stored events about disputes of a customer's
	// payments, up to limit. Those that are parked still need theirs, and are returned.
	EraseDisputeBodies(ctx context.Context, customerID uuid.UUID, limit int) (erased int, parked []string, err error)

	// EraseCustomer empties, in one commit with the decision's entry in the audit, a customer's
	// row, what operations on it have asked for, the answers that show it, which become answer,
	// and, in the operations of its payments, the address and the evidence. It returns how many operations
	// it has changed. ErrInProgress: an operation on it is not finished, or evidence may still be
	// sent; nothing has changed. Nothing of it is here: fault.NotFound.
	EraseCustomer(ctx context.Context, id uuid.UUID, answer FrozenResponse, entry AuditEntry) (int, error)
}
