package sandbox

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// wallet is what an account keeps beside payments: customers, the payment methods
// that they have, and setup intents.
//
// Reading needs no lock: each object is a version that is never written again.
// Who replaces one holds the lock until the request is committed; it is taken
// after a payment's, never before.
type wallet struct {
	lock      sync.Mutex
	customers *shelf[*keptCustomer]
	methods   *shelf[*keptMethod]
	setups    *shelf[*keptSetup]
	tokens    *shelf[*keptToken]
}

func newWallet() wallet {
	return wallet{
		customers: newShelf[*keptCustomer](), methods: newShelf[*keptMethod](), setups: newShelf[*keptSetup](),
		tokens: newShelf[*keptToken](),
	}
}

// kept holds the current version of an object.
type kept[T any] struct {
	version atomic.Pointer[T]
	stored  int // the size of its last version in the state file
}

func (k *kept[T]) now() *T { return k.version.Load() }

// keptCustomer is a customer with the payment methods that are attached.
type keptCustomer struct {
	kept[customer]

	methods []*keptMethod // in the order of attaching; guarded by the wallet's lock
}

// keptMethod is a payment method, wherever it is used.
type keptMethod struct {
	kept[paymentMethod]

	// used is true once a payment went through with it that did not save it. It
	// follows from the charges and is not stored.
	used atomic.Bool
}

type (
	keptSetup struct{ kept[setupIntent] }
	keptToken struct{ kept[token] }
)

// keeping is an object's new version on its way to the state file.
type keeping struct {
	key    string
	value  any
	stored *int
}

// openWallet locks the wallet for the rest of the request.
func (rq *request) openWallet() {
	if !rq.walletOpen {
		rq.account.books.wallet.lock.Lock()
		rq.walletOpen = true
	}
}

// replace puts an object's new version in place of the old one. The wallet is
// open.
func replace[T any](rq *request, k *kept[T], key, id string, next *T) {
	k.version.Store(next)
	rq.kept = append(rq.kept, keeping{key: key + id, value: next, stored: &k.stored})
}

// findCustomer finds a customer that the parameter of that name names and that is not deleted.
func (s *account) findCustomer(id string) (*keptCustomer, *refusal) {
	found, ok := s.books.wallet.customers.get(id)
	if !ok || found.now().Deleted {
		return nil, badReference(missing(objectCustomer, id, objectCustomer))
	}

	return found, nil
}

// checkCustomer refuses an intent's customer that is not there; empty is none.
func (s *account) checkCustomer(id string) *refusal {
	if id == "" {
		return nil
	}

	_, r := s.findCustomer(id)

	return r
}

// find returns the current version of an object of the wallet, or nil.
//
//nolint:ireturn // it may be any of three kinds
func (w *wallet) find(id string) document {
	switch {
	case strings.HasPrefix(id, "pm_"):
		if m, ok := w.methods.get(id); ok {
			return m.now()
		}
	case strings.HasPrefix(id, "cus_"):
		if c, ok := w.customers.get(id); ok {
			return c.now()
		}
	}

	return nil
}

// attach gives a payment method to a customer. The wallet is open; the next
// version is the caller's own.
func (s *account) attach(rq *request, m *keptMethod, next *paymentMethod, to *keptCustomer) {
	next.Customer = to.now().ID
	to.methods = append(to.methods, m)
	replace(rq, &m.kept, keyMethod, next.ID, next)
	rq.emit("payment_method.attached", next, nil)
}

// detach takes a payment method from its customer, for good. The wallet is open.
func (s *account) detach(rq *request, m *keptMethod) *paymentMethod {
	before := m.now()
	next := *before
	next.Customer, next.Detached = "", true
	replace(rq, &m.kept, keyMethod, next.ID, &next)

	if from, ok := s.books.wallet.customers.get(before.Customer); ok {
		from.methods = slices.DeleteFunc(from.methods, func(other *keptMethod) bool { return other == m })
		s.forgetDefault(rq, from, next.ID)
	}

	return &next
}

// saveMethod does what an intent says about its payment method once it went
// through: it is saved for the customer, or must not be used again.
func (s *account) saveMethod(rq *request, pay *payment) {
	i := pay.intent

	m, ok := s.books.wallet.methods.get(i.Method.ID)
	if !ok {
		return // of a payment from before methods were kept
	}

	if i.FutureUsage == "" {
		m.used.Store(true)

		return
	}

	rq.openWallet()

	next := *m.now()
	next.Saved, next.SetUp = true, next.SetUp || i.FutureUsage == usageOffSession
	s.saveFor(rq, m, &next, i.Customer)

	saved := *i
	saved.Method = &next
	pay.intent = &saved
}

// saveFor keeps a method that was set up, and attaches it where there is a
// customer it does not have yet. The wallet is open.
func (s *account) saveFor(rq *request, m *keptMethod, next *paymentMethod, customerID string) {
	if to, r := s.findCustomer(customerID); r == nil && next.Customer == "" && !next.Detached {
		s.attach(rq, m, next, to)

		return
	}

	replace(rq, &m.kept, keyMethod, next.ID, next)
}

// What errors call the object that they speak of.
const (
	speaksOfPayment = "PaymentIntent"
	speaksOfSetup   = "SetupIntent"
)

// maxMethods is how many payment methods a customer can have. Stripe has a limit
// and does not publish it.
const maxMethods = 500

func (c *keptCustomer) hasRoom() bool { return len(c.methods) < maxMethods }

// usable tells why a payment method cannot be used for an intent of a customer
// (empty: of none), or nil. What is the object that the error speaks of. These
// count as having executed: they depend on what the objects have been through.
func (m *keptMethod) usable(customerID, what string) *refusal {
	r := m.forbidden(customerID, what)
	if r != nil {
		r.executed = true
	}

	return r
}

func (m *keptMethod) forbidden(customerID, what string) *refusal {
	method := m.now()

	switch {
	case method.Customer == "" && (method.Detached || method.Used || m.used.Load()):
		return usedUp()
	case method.Customer == customerID || method.Customer == "":
		return nil
	case customerID != "":
		return invalid("The PaymentMethod "+method.ID+" does not belong to the Customer you supplied "+customerID+
			". Please use this PaymentMethod with the Customer that it belongs to instead.", objectMethod, "")
	case what == speaksOfSetup:
		return invalid("The payment method supplied ("+method.ID+") belongs to the Customer "+method.Customer+". Please "+
			"include the Customer in the `customer` parameter on the SetupIntent.", objectMethod, "")
	default:
		return invalid("The `payment_method` parameter supplied "+method.ID+" belongs to the Customer "+method.Customer+
			". Please include the Customer in the `customer` parameter on the PaymentIntent.", objectMethod,
			codeParameterMissing)
	}
}

func usedUp() *refusal {
	return invalid("The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared "+
		"with a connected account without Customer attachment, or was detached from a Customer. It may not be used again. "+
		"To use a PaymentMethod multiple times, you must attach it to a Customer first.", objectMethod, "")
}
