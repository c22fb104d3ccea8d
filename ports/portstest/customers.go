package portstest

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Customers is the contract of ports.Customers, ports.CustomerEndings and ports.Precondition.
// Each call of newBed gives an empty store.
func Customers(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Begin/a reference that another has":             beginWithReference,
		"Begin/a reference that another wants":           beginWithWantedReference,
		"Begin/one reference, many callers":              beginWithReferenceByMany,
		"Begin/a reference that nobody has any more":     beginWithFreeReference,
		"Begin/its own reference":                        beginWithOwnReference,
		"Begin/another version":                          beginWithVersion,
		"Begin/one change of a customer at a time":       beginChangesOneAtATime,
		"Begin/the answer is lost":                       beginWithReferenceInDoubt,
		"Reopen/its reference was taken":                 reopenWithTakenReference,
		"FinishOnCustomer/makes the customer":            finishMakesCustomer,
		"FinishOnCustomer/changes the customer":          finishChangesCustomer,
		"FinishOnCustomer/twice":                         finishOnCustomerTwice,
		"FinishOnCustomer/nothing changes":               finishChangesNothing,
		"FinishOnCustomer/it cannot be decided":          finishOnCustomerUndecided,
		"FinishOnCustomer/another's customer":            finishWithAnothersCustomer,
		"FinishOnCustomer/none is NotFound":              finishOnNoCustomer,
		"FinishOnCustomer/made for a lost request":       finishForLostRequest,
		"FinishOnCustomer/the answer is lost":            finishOnCustomerInDoubt,
		"RestoreCustomer/the operation and its customer": restoreCustomer,
		"RestoreCustomer/what does not fit":              restoreCustomerThatDoesNotFit,
		"RestoreCustomer/its reference was taken":        restoreCustomerWithTakenReference,
		"Customer/none is NotFound":                      customerNotFound,
		"CustomersByProviderID/those that are there":     customersByProviderID,
		"WriteCustomer/over the version that was loaded": writeCustomer,
		"WriteCustomer/the hints about it":               writeCustomerResolvesHints,
		"DetachedFrom/who had it":                        detachedFrom,
		"ListCustomers/newest first, page by page":       listCustomers,
		"ListCustomers/filtered":                         listCustomersFiltered,
		"AdoptOnCustomer/with its audit":                 adoptOnCustomer,
		"EraseCustomer/all that is kept":                 eraseCustomer,
		"EraseCustomer/while an operation is open":       eraseWithOpenOperation,
		"EraseCustomer/none is NotFound":                 eraseNobody,
		"EraseBodies/those that mention it":              eraseBodies,
		"EraseDisputeBodies/of its payments":             eraseDisputeBodies,
	})
}

// newCustomer is a create to write down. reference may be empty.
func newCustomer(tb testing.TB, key operation.Key, reference string) ports.NewOperation {
	tb.Helper()

	c := newOperation(tb, key)
	c.Kind = operation.CreateCustomer
	c.Order = operation.Order{
		Metadata: map[string]string{"plan": "gold"}, Options: map[string]string{customer.Email: "jenny@example.com"},
	}
	c.Call = ports.Call{Key: "mf_create_customer_" + c.ID.String(), Path: "/v1/customers", Params: "email=jenny%40example.com"}

	if reference != "" {
		c.Order.Options[customer.Reference], c.If.Reference = reference, reference
	}

	return c
}

// newCustomerChange is an operation on a customer to write down.
func newCustomerChange(
	tb testing.TB, kind operation.Kind, on customer.Customer, key operation.Key, values map[string]string,
) ports.NewOperation {
	tb.Helper()

	c := newOperation(tb, key)
	c.Kind, c.Subject, c.Order = kind, on.ID, operation.Order{Options: values}
	c.Call = ports.Call{Key: "mf_" + string(kind) + "_" + c.ID.String(), Path: "/v1/customers/" + on.ProviderID}

	return c
}

// making is the customer that the provider has made for op.
func making(op ports.Operation) ports.CustomerChange {
	return ports.CustomerChange{
		Decide: func(c customer.Customer) (customer.Customer, error) {
			c.ProviderID, c.CreatedAt = "cus_"+op.ID.String(), op.CreatedAt

			return c.With(op.Order.Options, op.Order.Metadata)
		},
		Answer: showingCustomer,
	}
}

func showingCustomer(c customer.Customer) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusOK, Body: fmt.Appendf(nil, "%s %s %d", c.ID, c.Reference, c.Version)}
}

// setting is a change of a customer's values.
func setting(values map[string]string) ports.CustomerChange {
	return ports.CustomerChange{
		Decide: func(c customer.Customer) (customer.Customer, error) { return c.With(values, nil) }, Answer: showingCustomer,
	}
}

func removing() ports.CustomerChange {
	return ports.CustomerChange{
		Decide: func(c customer.Customer) (customer.Customer, error) { return c.Gone(c.UpdatedAt), nil }, Answer: showingCustomer,
	}
}

func (b StoreBed) customerNow(tb testing.TB, id uuid.UUID) customer.Customer {
	tb.Helper()

	c, err := b.Customer(tb.Context(), id)
	require.NoError(tb, err)

	return c
}

func (b StoreBed) mustMakeCustomer(tb testing.TB, key operation.Key, reference string) customer.Customer {
	tb.Helper()

	op := b.mustBegin(tb, newCustomer(tb, key, reference))
	b.mustFinishOnCustomer(tb, op, making(op))

	return b.customerNow(tb, op.ID)
}

func (b StoreBed) mustFinishOnCustomer(tb testing.TB, op ports.Operation, c ports.CustomerChange) ports.Operation {
	tb.Helper()

	done, err := b.FinishOnCustomer(tb.Context(), op.ID, c)
	require.NoError(tb, err)
	require.True(tb, done.Operation.Finished())

	return done.Operation
}

func (b StoreBed) mustDelete(tb testing.TB, c customer.Customer) {
	tb.Helper()
	b.mustFinishOnCustomer(tb, b.mustBegin(tb, newCustomerChange(tb, operation.DeleteCustomer, c, "", nil)), removing())
}

func requireTaken(t require.TestingT, err error, by uuid.UUID) {
	require.Error(t, err)
	require.Equal(t, fault.ReferenceTaken, fault.KindOf(err), "%v", err)
	require.Equal(t, by, fault.From(err).CustomerID)
}

func (b StoreBed) requireNoOperation(t *testing.T, id uuid.UUID) {
	t.Helper()

	_, err := b.FindByID(t.Context(), id)
	requireNotFound(t, err)
}

func beginWithReference(t *testing.T, b StoreBed) {
	t.Helper()

	holder := b.mustMakeCustomer(t, "first", "user-42")
	other := b.mustMakeCustomer(t, "other", "")

	create := newCustomer(t, "second", "user-42")
	_, err := b.Twin.Begin(t.Context(), create)
	requireTaken(t, err, holder.ID)
	b.requireNoOperation(t, create.ID)

	update := newCustomerChange(t, operation.UpdateCustomer, other, "third", map[string]string{"reference": "user-42"})
	update.If.Reference = "user-42"
	_, err = b.Begin(t.Context(), update)
	requireTaken(t, err, holder.ID)
	b.requireNoOperation(t, update.ID)

	b.mustBegin(t, newCustomer(t, "fourth", "User-42")) // references compare by bytes
}

func beginWithWantedReference(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newCustomer(t, "first", "user-42"))
	again := newCustomer(t, "second", "user-42")

	_, err := b.Begin(t.Context(), again)
	requireTaken(t, err, op.ID)

	require.NoError(t, b.GiveUp(t.Context(), op.ID, errUndecided))

	_, err = b.Twin.Begin(t.Context(), again)
	requireTaken(t, err, op.ID)

	other := b.mustMakeCustomer(t, "other", "")
	update := newCustomerChange(t, operation.UpdateCustomer, other, "third", map[string]string{"reference": "user-7"})
	update.If.Reference = "user-7"
	b.mustBegin(t, update)

	_, err = b.Begin(t.Context(), newCustomer(t, "fourth", "user-7"))
	requireTaken(t, err, other.ID)
}

func beginWithReferenceByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const n = 24

	var first [n]ports.NewOperation
	for i := range n {
		first[i] = newCustomer(t, operation.Key(fmt.Sprintf("key_%d", i)), "user-42")
	}

	_, errs := atOnce(n, func(i int) (ports.Operation, error) { return b.either(i).Begin(t.Context(), first[i]) })
	winner := slices.IndexFunc(errs, func(err error) bool { return err == nil })
	require.GreaterOrEqual(t, winner, 0)

	for i, err := range errs {
		if i != winner {
			requireTaken(t, err, first[winner].ID)
		}
	}
}

func beginWithFreeReference(t *testing.T, b StoreBed) {
	t.Helper()

	deleted := b.mustMakeCustomer(t, "first", "user-1")
	b.mustDelete(t, deleted)
	b.mustMakeCustomer(t, "second", "user-1")

	refused := b.mustBegin(t, newCustomer(t, "third", "user-2"))
	_, err := b.FinishRejected(t.Context(), refused, rejection())
	require.NoError(t, err)
	b.mustMakeCustomer(t, "fourth", "user-2")

	rejected := b.mustBegin(t, newCustomer(t, "fifth", "user-3"))
	_, err = b.Reject(t.Context(), rejected, errUndecided)
	require.NoError(t, err)
	b.mustMakeCustomer(t, "sixth", "user-3")
}

func beginWithOwnReference(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "user-42")

	// The same request finds its own operation, whatever it wants.
	again := newCustomer(t, "first", "user-42")
	found, err := b.Begin(t.Context(), again)
	require.NoError(t, err)
	require.Equal(t, c.ID, found.ID)
	require.False(t, found.Held())

	update := newCustomerChange(t, operation.UpdateCustomer, c, "second", map[string]string{"reference": "user-42"})
	update.If.Reference = "user-42"
	b.mustBegin(t, update)
}

func beginWithVersion(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	change := newCustomerChange(t, operation.UpdateCustomer, c, "second", nil)
	change.If.Version = c.Version - 1

	_, err := b.Begin(t.Context(), change)
	require.Equal(t, fault.PreconditionFailed, fault.KindOf(err), "%v", err)
	require.Equal(t, c.Version, fault.From(err).Version)
	require.Equal(t, c.ID, fault.From(err).CustomerID)
	b.requireNoOperation(t, change.ID)

	change.If.Version = c.Version
	b.mustBegin(t, change)

	gone := b.mustMakeCustomer(t, "third", "")
	b.mustDelete(t, gone)

	late := newCustomerChange(t, operation.UpdateCustomer, gone, "fourth", nil)
	late.If.Version = gone.Version
	_, err = b.Begin(t.Context(), late)
	requireNotFound(t, err)
}

func beginChangesOneAtATime(t *testing.T, b StoreBed) {
	t.Helper()

	c, other := b.mustMakeCustomer(t, "first", ""), b.mustMakeCustomer(t, "other", "")
	op := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, c, "second", nil))

	for _, kind := range []operation.Kind{operation.UpdateCustomer, operation.DeleteCustomer} {
		for _, version := range []int64{0, c.Version} {
			change := newCustomerChange(t, kind, c, "", nil)
			change.If.Version = version
			_, err := b.Begin(t.Context(), change)
			require.ErrorIs(t, err, ports.ErrInProgress)
		}
	}

	b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, other, "", nil))
	b.mustBegin(t, newCustomerChange(t, operation.CreateSetup, c, "", nil))
	b.mustFinishOnCustomer(t, op, setting(nil))
	b.mustBegin(t, newCustomerChange(t, operation.DeleteCustomer, c, "", nil))
}

func beginWithReferenceInDoubt(t *testing.T, b StoreBed) {
	t.Helper()

	for answers := range 8 {
		create := newCustomer(t, operation.Key(fmt.Sprintf("key_%d", answers)), fmt.Sprintf("user-%d", answers))

		mend := b.Sever(t, answers)
		_, err := b.Severed.Begin(t.Context(), create)

		mend()

		_, missing := b.FindByID(t.Context(), create.ID)
		if err != nil && missing == nil {
			require.Equal(t, fault.Unknown, fault.KindOf(err), "%v", err)
		}

		// One lease token is one call: it finds that it has the lease.
		again, err := b.Begin(t.Context(), create)
		require.NoError(t, err)
		require.True(t, again.Held())
	}
}

func reopenWithTakenReference(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newCustomer(t, "first", "user-42"))
	_, err := b.Reject(t.Context(), op, errUndecided)
	require.NoError(t, err)

	holder := b.mustMakeCustomer(t, "second", "user-42")

	_, err = b.Reopen(t.Context(), op.ID, newLease(), nil)
	requireTaken(t, err, holder.ID)
	require.Equal(t, operation.Rejected, b.operationNow(t, op.ID).State)

	b.mustDelete(t, holder)

	again, err := b.Reopen(t.Context(), op.ID, newLease(), nil)
	require.NoError(t, err)
	require.True(t, again.Held())
}

func finishMakesCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newCustomer(t, "first", "user-42"))
	done := b.mustFinishOnCustomer(t, op, making(op))

	c := b.customerNow(t, op.ID)
	require.Equal(t, customer.Customer{
		Tenant: operation.DefaultTenant,
		ID:     op.ID, ProviderID: "cus_" + op.ID.String(), Reference: "user-42", Email: "jenny@example.com",
		Metadata: map[string]string{"plan": "gold"}, Version: c.Version, CreatedAt: op.CreatedAt, UpdatedAt: c.UpdatedAt,
	}, c)
	require.Positive(t, c.Version)
	requireResponse(t, showingCustomer(c), done.Response)

	finished := op
	finished.State, finished.Lease, finished.Response = operation.Finished, uuid.Nil, done.Response
	requireSameOperation(t, finished, b.operationNow(t, op.ID))
}

func finishChangesCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	before := b.mustMakeCustomer(t, "first", "user-42")
	op := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, before, "second", nil))
	b.mustFinishOnCustomer(t, op, setting(map[string]string{"email": "", "name": "Jenny", "reference": "user-43"}))

	after := b.customerNow(t, before.ID)
	want := before
	want.Email, want.Name, want.Reference, want.Version, want.UpdatedAt = "", "Jenny", "user-43", after.Version, after.UpdatedAt
	require.Equal(t, want, after)
	require.Greater(t, after.Version, before.Version)

	b.mustDelete(t, after)

	gone := b.customerNow(t, before.ID)
	require.True(t, gone.Deleted())
	require.Equal(t, after.Gone(gone.DeletedAt).ProviderID, gone.ProviderID)
	require.Empty(t, gone.Reference+gone.Email+gone.Name)
	require.Greater(t, gone.Version, after.Version)
}

func finishOnCustomerTwice(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	op := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, c, "second", nil))
	first := b.mustFinishOnCustomer(t, op, setting(map[string]string{"name": "one"}))
	after := b.customerNow(t, c.ID)

	for _, store := range []Store{b.Store, b.Twin} {
		again, err := store.FinishOnCustomer(t.Context(), op.ID, setting(map[string]string{"name": "two"}))
		require.NoError(t, err)
		requireSameOperation(t, first, again.Operation)
	}

	require.Equal(t, after, b.customerNow(t, c.ID))
}

func finishChangesNothing(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	done := b.mustFinishOnCustomer(t, b.mustBegin(t, newCustomerChange(t, operation.CreateSetup, c, "second", nil)), setting(nil))
	require.Equal(t, c, b.customerNow(t, c.ID))
	requireResponse(t, showingCustomer(c), done.Response)
}

func finishOnCustomerUndecided(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	op := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, c, "second", nil))

	_, err := b.FinishOnCustomer(t.Context(), op.ID, ports.CustomerChange{
		Decide: func(c customer.Customer) (customer.Customer, error) { return c, errUndecided },
	})
	require.ErrorIs(t, err, errUndecided)
	require.Equal(t, c, b.customerNow(t, c.ID))
	requireStateOf(t, b, op, operation.Pending)
}

func finishWithAnothersCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	op := b.mustBegin(t, newCustomer(t, "second", ""))
	change := making(op)
	change.Decide = func(made customer.Customer) (customer.Customer, error) {
		made.ProviderID = c.ProviderID

		return made, nil
	}

	_, err := b.FinishOnCustomer(t.Context(), op.ID, change)
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireStateOf(t, b, op, operation.Pending)

	_, err = b.Customer(t.Context(), op.ID)
	requireNotFound(t, err)
}

func finishOnNoCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.FinishOnCustomer(t.Context(), uuid.New(), setting(nil))
	requireNotFound(t, err)

	op := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, customer.Customer{ID: uuid.New()}, "first", nil))
	_, err = b.FinishOnCustomer(t.Context(), op.ID, setting(nil))
	requireNotFound(t, err)
	requireStateOf(t, b, op, operation.Pending)
}

func finishForLostRequest(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newCustomer(t, "first", "user-42"))
	change := making(op)
	change.Fingerprint = operation.Fingerprint{1}
	change.Order = operation.Order{Options: map[string]string{"name": "another"}}
	done := b.mustFinishOnCustomer(t, op, change)
	require.Equal(t, change.Fingerprint, done.Fingerprint)
	require.Equal(t, change.Order, b.operationNow(t, op.ID).Order)
}

func finishOnCustomerInDoubt(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")

	for answers := range 8 {
		name := fmt.Sprintf("name %d", answers)
		op := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, c, "", nil))

		mend := b.Sever(t, answers)
		_, err := b.Severed.FinishOnCustomer(t.Context(), op.ID, setting(map[string]string{"name": name}))

		mend()

		if err != nil && b.operationNow(t, op.ID).Finished() {
			require.Equal(t, fault.Unknown, fault.KindOf(err), "%v", err)
		}

		b.mustFinishOnCustomer(t, op, setting(map[string]string{"name": name}))
		require.Equal(t, name, b.customerNow(t, c.ID).Name)
	}
}

// lostCustomer is the create of a customer that the database has lost.
func lostCustomer(tb testing.TB, key operation.Key, reference string) (ports.NewOperation, ports.Operation) {
	tb.Helper()

	lost := newCustomer(tb, key, reference)
	lost.If, lost.Lease, lost.CreatedAt = ports.Precondition{}, ports.Lease{}, time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	lost.Copied = lost.Fingerprint()

	return lost, ports.Operation{ID: lost.ID, Order: lost.Order, CreatedAt: lost.CreatedAt}
}

func restoreCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	lost, op := lostCustomer(t, "first", "user-42")
	change := making(op)

	for range 2 {
		done, err := b.RestoreCustomer(t.Context(), lost, &change, nil)
		require.NoError(t, err)
		require.True(t, done.Operation.Finished())
	}

	c := b.customerNow(t, lost.ID)
	require.Equal(t, "user-42", c.Reference)
	require.True(t, lost.CreatedAt.Equal(c.CreatedAt))

	found, err := b.Find(t.Context(), operation.DefaultTenant, "first")
	require.NoError(t, err)
	require.Equal(t, lost.Copied, found.Fingerprint)
}

func restoreCustomerThatDoesNotFit(t *testing.T, b StoreBed) {
	t.Helper()

	lost, _ := lostCustomer(t, "first", "")
	done, err := b.RestoreCustomer(t.Context(), lost, nil, ports.ErrContradiction)
	require.NoError(t, err)
	require.Equal(t, operation.NeedsAttention, done.Operation.State)
	require.Equal(t, operation.NeedsAttention, b.operationNow(t, lost.ID).State)

	// Its key is another's.
	b.mustBegin(t, newCustomer(t, "second", ""))

	other, op := lostCustomer(t, "second", "")
	change := making(op)
	_, err = b.RestoreCustomer(t.Context(), other, &change, nil)
	require.ErrorIs(t, err, ports.ErrContradiction)
	b.requireNoOperation(t, other.ID)
}

func restoreCustomerWithTakenReference(t *testing.T, b StoreBed) {
	t.Helper()

	holder := b.mustMakeCustomer(t, "first", "user-42")
	lost, op := lostCustomer(t, "second", "user-42")
	change := making(op)

	_, err := b.RestoreCustomer(t.Context(), lost, &change, nil)
	require.NoError(t, err)
	require.Empty(t, b.customerNow(t, lost.ID).Reference)
	require.Equal(t, "jenny@example.com", b.customerNow(t, lost.ID).Email)
	require.Equal(t, holder, b.customerNow(t, holder.ID))
}

func customerNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Customer(t.Context(), uuid.New())
	requireNotFound(t, err)
}

func customersByProviderID(t *testing.T, b StoreBed) {
	t.Helper()

	one, gone := b.mustMakeCustomer(t, "first", ""), b.mustMakeCustomer(t, "second", "")
	b.mustDelete(t, gone)

	found, err := b.CustomersByProviderID(t.Context(), []string{one.ProviderID, gone.ProviderID, "cus_none"})
	require.NoError(t, err)
	require.Equal(t, map[string]customer.Customer{
		one.ProviderID: one, gone.ProviderID: b.customerNow(t, gone.ID),
	}, found)
}

func writeCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	before := b.mustMakeCustomer(t, "first", "user-42")
	said := before
	said.Email, said.Metadata = "new@example.com", nil

	written, err := b.WriteCustomer(t.Context(), said, nil, ports.EventApplied)
	require.NoError(t, err)
	require.True(t, written)

	after := b.customerNow(t, before.ID)
	require.Equal(t, "new@example.com", after.Email)
	require.Nil(t, after.Metadata)
	require.Greater(t, after.Version, before.Version)

	written, err = b.WriteCustomer(t.Context(), said, nil, ports.EventApplied)
	require.NoError(t, err)
	require.False(t, written, "it has changed since it was loaded")

	written, err = b.WriteCustomer(t.Context(), after, nil, ports.EventStale)
	require.NoError(t, err)
	require.True(t, written)
	require.Equal(t, after, b.customerNow(t, before.ID), "nothing differs")

	_, err = b.WriteCustomer(t.Context(), customer.Customer{ID: uuid.New(), ProviderID: "cus_none"}, nil, ports.EventStale)
	requireNotFound(t, err)
}

func writeCustomerResolvesHints(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	e := customerEvent(c.ProviderID)
	e.Customer.Email = "new@example.com"

	applied, err := b.Apply(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)

	hints, err := b.CustomerHints(t.Context(), c.ProviderID)
	require.NoError(t, err)
	require.Equal(t, []string{e.ID}, hints)

	// It comes once the customer was read.
	late := customerEvent(c.ProviderID)
	late.Customer.Email = "later@example.com"

	applied, err = b.Apply(t.Context(), late)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)

	written, err := b.WriteCustomer(t.Context(), c, hints, ports.EventApplied)
	require.NoError(t, err)
	require.True(t, written)

	for id, want := range map[string]ports.EventOutcome{e.ID: ports.EventApplied, late.ID: ports.EventHint} {
		stored, err := b.Event(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, stored.Outcome)
	}
}

func detachedFrom(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "")
	detach := newCustomerChange(t, operation.DetachMethod, c, "second", nil)
	detach.Call.Path = "/v1/payment_methods/pm_1/detach"
	op := b.mustBegin(t, detach)

	id, err := b.DetachedFrom(t.Context(), operation.DefaultTenant, "pm_1")
	require.NoError(t, err, "its end may not be written yet")
	require.Equal(t, c.ID, id)

	b.mustFinishOnCustomer(t, op, setting(nil))

	id, err = b.DetachedFrom(t.Context(), operation.DefaultTenant, "pm_1")
	require.NoError(t, err)
	require.Equal(t, c.ID, id)

	_, err = b.DetachedFrom(t.Context(), operation.DefaultTenant, "pm_2")
	requireNotFound(t, err)

	refused := newCustomerChange(t, operation.DetachMethod, c, "third", nil)
	refused.Call.Path = "/v1/payment_methods/pm_3/detach"
	_, err = b.FinishRejected(t.Context(), b.mustBegin(t, refused), rejection())
	require.NoError(t, err)

	_, err = b.DetachedFrom(t.Context(), operation.DefaultTenant, "pm_3")
	requireNotFound(t, err)
}

func listCustomers(t *testing.T, b StoreBed) {
	t.Helper()

	const n = 7

	var want []customer.Customer
	for i := range n {
		want = append(want, b.mustMakeCustomer(t, operation.Key(fmt.Sprintf("key_%d", i)), ""))
	}

	b.mustDelete(t, want[3])
	want = slices.Delete(want, 3, 4)
	slices.Reverse(want)

	var (
		all    []customer.Customer
		before ports.CustomerPosition
	)

	for {
		page, err := b.ListCustomers(t.Context(), ports.CustomerFilter{Tenant: operation.DefaultTenant}, before, 2)
		require.NoError(t, err)

		all = append(all, page...)

		if len(page) < 2 {
			break
		}

		before = ports.CustomerPosition{CreatedAt: page[1].CreatedAt, ID: page[1].ID}
	}

	require.Equal(t, want, all)

	some, err := b.ListCustomers(t.Context(), ports.CustomerFilter{
		Tenant: operation.DefaultTenant, From: want[1].CreatedAt,
	}, ports.CustomerPosition{}, 10)
	require.NoError(t, err)
	require.Equal(t, want[:2], some)
}

func listCustomersFiltered(t *testing.T, b StoreBed) {
	t.Helper()

	one, two := b.mustMakeCustomer(t, "first", "user-1"), b.mustMakeCustomer(t, "second", "user-2")
	b.mustFinishOnCustomer(t, b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, two, "", nil)),
		setting(map[string]string{"email": "two@example.com"}))
	two = b.customerNow(t, two.ID)

	for name, c := range map[string]struct {
		filter ports.CustomerFilter
		want   []customer.Customer
	}{
		"a reference":       {ports.CustomerFilter{Tenant: operation.DefaultTenant, Reference: "user-1"}, []customer.Customer{one}},
		"no such reference": {ports.CustomerFilter{Tenant: operation.DefaultTenant, Reference: "user-3"}, nil},
		"an email": {ports.CustomerFilter{
			Tenant: operation.DefaultTenant, Email: "two@example.com",
		}, []customer.Customer{two}},
		"no such email": {ports.CustomerFilter{Tenant: operation.DefaultTenant, Email: "TWO@example.com"}, nil},
		"both": {ports.CustomerFilter{
			Tenant: operation.DefaultTenant, Reference: "user-2", Email: "two@example.com",
		}, []customer.Customer{two}},
		"both, of different": {ports.CustomerFilter{
			Tenant: operation.DefaultTenant, Reference: "user-1", Email: "two@example.com",
		}, nil},
		"an email, and later": {ports.CustomerFilter{
			Tenant: operation.DefaultTenant, Email: "two@example.com", From: two.CreatedAt.Add(time.Microsecond),
		}, nil},
	} {
		found, err := b.ListCustomers(t.Context(), c.filter, ports.CustomerPosition{}, 10)
		require.NoError(t, err, name)
		require.Empty(t, cmpCustomers(c.want, found), name)
	}
}

// cmpCustomers tells how two lists differ; nothing and an empty list are equal.
func cmpCustomers(want, got []customer.Customer) string {
	if len(want) == 0 && len(got) == 0 || fmt.Sprint(want) == fmt.Sprint(got) {
		return ""
	}

	return fmt.Sprintf("want %v, got %v", want, got)
}

func adoptOnCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newCustomer(t, "first", "user-42"))
	entry := ports.AuditEntry{
		ID: uuid.New(), Actor: "ann", Action: ports.AuditOperationAdopted, ObjectType: "operation", ObjectID: op.ID.String(),
		Reason: "it is there",
	}

	for range 2 {
		done, err := b.AdoptOnCustomer(t.Context(), op.ID, making(op), entry)
		require.NoError(t, err)
		require.True(t, done.Operation.Finished())
	}

	audit, err := b.AuditOf(t.Context(), op.ID.String())
	require.NoError(t, err)
	require.Len(t, audit, 1)
	require.Equal(t, "user-42", b.customerNow(t, op.ID).Reference)
}

// customerEvent is an event about a customer that carries our mark.
func customerEvent(providerID string) ports.Event {
	return ports.Event{
		ID: "evt_" + uuid.NewString(), Type: "customer.updated", ObjectID: providerID, Handled: true, IsCustomer: true,
		Customer: ports.CustomerObject{
			ID: providerID, Marked: true, Mark: ours.Mark(
				operation.DefaultTenant, operation.CreateCustomer, uuid.New(), operation.Fingerprint{}),
			Snapshot: customer.Snapshot{Email: "jenny@example.com", Metadata: map[string]string{"plan": "gold"}},
		},
		Raw: []byte{},
	}
}

func erasing(id uuid.UUID) ports.AuditEntry {
	return ports.AuditEntry{
		ID: uuid.New(), Actor: "ann", Action: ports.AuditCustomerErased, ObjectType: "customer", ObjectID: id.String(),
		Reason: "asked for", After: map[string]any{},
	}
}

func eraseCustomer(t *testing.T, b StoreBed) {
	t.Helper()

	c, other := b.mustMakeCustomer(t, "first", "user-42"), b.mustMakeCustomer(t, "other", "user-7")
	update := b.mustBegin(t, newCustomerChange(t, operation.UpdateCustomer, c, "second", map[string]string{"name": "Jenny"}))
	b.mustFinishOnCustomer(t, update, setting(map[string]string{"name": "Jenny"}))
	b.mustDelete(t, c)

	entry := erasing(c.ID)

	for _, want := range []int{3, 0} { // the second time it is known to be done
		changed, err := b.EraseCustomer(t.Context(), c.ID, rejection(), entry)
		require.NoError(t, err)
		require.Equal(t, want, changed)
	}

	for _, id := range []uuid.UUID{c.ID, update.ID} {
		op := b.operationNow(t, id)
		require.Equal(t, operation.Order{}, op.Order)
		require.Empty(t, op.Call.Params)
		requireResponse(t, rejection(), op.Response)
	}

	audit, err := b.AuditOf(t.Context(), c.ID.String())
	require.NoError(t, err)
	require.Len(t, audit, 1)
	require.Equal(t, other, b.customerNow(t, other.ID))
	require.NotEmpty(t, b.operationNow(t, other.ID).Order.Options)
}

func eraseWithOpenOperation(t *testing.T, b StoreBed) {
	t.Helper()

	c := b.mustMakeCustomer(t, "first", "user-42")
	b.mustBegin(t, newCustomerChange(t, operation.CreateSetup, c, "second", nil))

	_, err := b.EraseCustomer(t.Context(), c.ID, rejection(), erasing(c.ID))
	require.ErrorIs(t, err, ports.ErrInProgress)
	require.Equal(t, c, b.customerNow(t, c.ID))
}

func eraseNobody(t *testing.T, b StoreBed) {
	t.Helper()

	id := uuid.New()
	_, err := b.EraseCustomer(t.Context(), id, rejection(), erasing(id))
	requireNotFound(t, err)

	audit, err := b.AuditOf(t.Context(), id.String())
	require.NoError(t, err)
	require.Empty(t, audit)
}

func eraseBodies(t *testing.T, b StoreBed) {
	t.Helper()

	store := func(body string, parked bool) string {
		e := ports.Event{ID: "evt_" + uuid.NewString(), Type: "charge.refunded", ObjectID: "ch_1", Raw: []byte(body)}
		if parked {
			require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))
		} else {
			_, err := b.Apply(t.Context(), e)
			require.NoError(t, err)
		}

		return e.ID
	}

	named, other := store(`{"customer":"cus_1"}`, false), store(`{"customer":"cus_2"}`, false)
	waiting := store(`{"customer":"cus_1","x":1}`, true)

	var (
		erased int
		parked []string
		at     ports.InboxPosition
	)

	for first := true; first || at != (ports.InboxPosition{}); first = false {
		n, left, next, err := b.EraseBodies(t.Context(), `"cus_1"`, at, 2)
		require.NoError(t, err)

		erased, parked, at = erased+n, append(parked, left...), next
	}

	require.Equal(t, 1, erased)
	require.Equal(t, []string{waiting}, parked)

	for id, body := range map[string]string{named: "", other: `{"customer":"cus_2"}`, waiting: `{"customer":"cus_1","x":1}`} {
		stored, err := b.Event(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, body, string(stored.Raw))
	}
}

func eraseDisputeBodies(t *testing.T, b StoreBed) {
	t.Helper()

	customers := []uuid.UUID{uuid.New(), uuid.New()}
	intents := make([]string, len(customers))

	for n, id := range customers {
		done := completionOf(b.mustBegin(t, newOperation(t, operation.Key(id.String()))))
		done.Payment.CustomerID = id
		intents[n] = done.Payment.IntentID
		b.mustFinish(t, done)
	}

	store := func(eventType, intentID string) ports.Event {
		return ports.Event{ID: "evt_" + uuid.NewString(), Type: eventType, ObjectID: intentID, Raw: []byte(`{"evidence":{}}`)}
	}
	his, another := store("charge.dispute.updated", intents[0]), store("charge.dispute.updated", intents[1])
	paid, waiting := store("payment_intent.succeeded", intents[0]), store("charge.dispute.closed", intents[0])

	for _, e := range []ports.Event{his, another, paid} {
		_, err := b.Apply(t.Context(), e)
		require.NoError(t, err)
	}

	require.NoError(t, b.Park(t.Context(), waiting, ports.ParkedContradiction))

	for _, want := range []int{1, 0} {
		erased, parked, err := b.EraseDisputeBodies(t.Context(), customers[0], 10)
		require.NoError(t, err)
		require.Equal(t, want, erased)
		require.Equal(t, []string{waiting.ID}, parked)
	}

	for _, e := range []ports.Event{his, another, paid, waiting} {
		stored, err := b.Event(t.Context(), e.ID)
		require.NoError(t, err)
		require.Equal(t, e.ID == his.ID, len(stored.Raw) == 0, e.Type)
	}
}
