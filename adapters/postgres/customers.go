package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// customerByStripeID lets a provider's customer be one of ours only.
const customerByStripeID = "customers_stripe_id"

// Customer implements ports.Customers.
func (s *Store) Customer(ctx context.Context, id uuid.UUID) (customer.Customer, error) {
	row, err := query(ctx, s.hot, "reading a customer", func(ctx context.Context, q *sqlc.Queries) (sqlc.Customer, error) {
		return q.GetCustomer(ctx, id)
	})

	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return customer.Customer{}, errNotFound("customer")
	case err != nil:
		return customer.Customer{}, err
	default:
		return customerFromDB(row)
	}
}

// CustomersByProviderID implements ports.Customers.
func (s *Store) CustomersByProviderID(ctx context.Context, ids []string) (map[string]customer.Customer, error) {
	rows, err := query(ctx, s.hot, "reading customers", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Customer, error) {
		return q.ListCustomersByStripeID(ctx, ids)
	})
	if err != nil {
		return nil, err
	}

	found := make(map[string]customer.Customer, len(rows))

	for _, row := range rows {
		if found[row.StripeCustomerID], err = customerFromDB(row); err != nil {
			return nil, err
		}
	}

	return found, nil
}

// ListCustomers implements ports.Customers. There is one statement for each index.
func (s *Store) ListCustomers(
	ctx context.Context, filter ports.CustomerFilter, before ports.CustomerPosition, limit int,
) ([]customer.Customer, error) {
	if before == (ports.CustomerPosition{}) {
		before.CreatedAt = endOfTime
	}

	tenant, most := int32(filter.Tenant), int32(limit) //nolint:gosec // checked by the caller

	rows, err := query(ctx, s.background, "listing customers",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Customer, error) {
			switch {
			case filter.Reference != "":
				return q.ListCustomersByReference(ctx, sqlc.ListCustomersByReferenceParams{
					Reference: filter.Reference, Tenant: tenant, BeforeCreatedAt: before.CreatedAt, BeforeID: before.ID,
					FromCreatedAt: filter.From,
				})
			case filter.Email != "":
				return q.ListCustomersByEmail(ctx, sqlc.ListCustomersByEmailParams{
					Email: filter.Email, Tenant: tenant, BeforeCreatedAt: before.CreatedAt, BeforeID: before.ID,
					FromCreatedAt: filter.From, MaxRows: most,
				})
			default:
				return q.ListCustomers(ctx, sqlc.ListCustomersParams{
					Tenant: tenant, BeforeCreatedAt: before.CreatedAt, BeforeID: before.ID, FromCreatedAt: filter.From, MaxRows: most,
				})
			}
		})
	if err != nil {
		return nil, err
	}

	customers, err := mappedOrError(rows, customerFromDB)

	// One that has the reference may have another email.
	if filter.Reference != "" && filter.Email != "" && len(customers) == 1 && customers[0].Email != filter.Email {
		return nil, nil
	}

	return customers, err
}

// DetachedFrom implements ports.Customers.
func (s *Store) DetachedFrom(ctx context.Context, tenant operation.Tenant, methodID string) (uuid.UUID, error) {
	id, err := query(ctx, s.hot, "looking for who had a payment method",
		func(ctx context.Context, q *sqlc.Queries) (uuid.UUID, error) {
			return q.GetDetached(ctx, sqlc.GetDetachedParams{
				StripePath: "/v1/payment_methods/" + methodID + "/detach", Tenant: int32(tenant),
			})
		})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, errNotFound("payment method")
	}

	return id, err
}

// CustomerHints implements ports.Customers.
func (s *Store) CustomerHints(ctx context.Context, providerID string) ([]string, error) {
	return query(ctx, s.hot, "reading the hints about a customer", func(ctx context.Context, q *sqlc.Queries) ([]string, error) {
		return q.ListHintsAbout(ctx, providerID)
	})
}

// WriteCustomer implements ports.Customers.
func (s *Store) WriteCustomer(
	ctx context.Context, c customer.Customer, hints []string, outcome ports.EventOutcome,
) (bool, error) {
	var (
		written bool
		// after is what the last attempt has sent. If its answer was lost, the next one may
		// find it.
		after customer.Customer
	)

	err := s.hot.inTransaction(ctx, "writing what was read of a customer", func(ctx context.Context, q *sqlc.Queries) error {
		before, now, err := lockCustomer(ctx, q, c.ID)
		if err != nil {
			return err
		}

		if written = before.Version == after.Version && before.SameAs(after); written {
			return nil
		}

		if written = before.Version == c.Version; !written {
			return nil
		}

		if after = before; !c.SameAs(before) {
			after = stampedCustomer(c, now)

			if err := updateCustomer(ctx, q, after); err != nil {
				return err
			}
		}

		return q.SettleHints(ctx, sqlc.SettleHintsParams{Outcome: string(outcome), Ids: hints})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, errNotFound("customer")
	}

	return written, err
}

// SettleHints implements ports.Customers.
func (s *Store) SettleHints(ctx context.Context, hints []string, outcome ports.EventOutcome) error {
	return s.hot.exec(ctx, "settling hints", func(ctx context.Context, q *sqlc.Queries) error {
		return q.SettleHints(ctx, sqlc.SettleHintsParams{Outcome: string(outcome), Ids: hints})
	})
}

// FinishOnCustomer implements ports.Operations.
func (s *Store) FinishOnCustomer(ctx context.Context, id uuid.UUID, c ports.CustomerChange) (ports.Finished, error) {
	return s.finishOnCustomer(ctx, id, c, nil)
}

// AdoptOnCustomer implements ports.Decisions.
func (s *Store) AdoptOnCustomer(
	ctx context.Context, id uuid.UUID, c ports.CustomerChange, entry ports.AuditEntry,
) (ports.Finished, error) {
	return s.finishOnCustomer(ctx, id, c, &entry)
}

func (s *Store) finishOnCustomer(
	ctx context.Context, id uuid.UUID, c ports.CustomerChange, entry *ports.AuditEntry,
) (ports.Finished, error) {
	var finished ports.Finished

	err := s.hot.inTransaction(ctx, "finishing an operation", func(ctx context.Context, q *sqlc.Queries) (err error) {
		if finished, err = finishOnCustomer(ctx, q, id, c); err != nil || entry == nil {
			return err
		}

		if done, err := q.HasAudit(ctx, entry.ID); done || err != nil {
			return err
		}

		return writeAudit(ctx, q, *entry)
	})

	return finished, errNoOperation(err)
}

// RestoreCustomer implements ports.Operations.
func (s *Store) RestoreCustomer(
	ctx context.Context, lost ports.NewOperation, c *ports.CustomerChange, cause error,
) (ports.Finished, error) {
	if c == nil {
		return s.Restore(ctx, lost, nil, cause)
	}

	var finished ports.Finished

	err := s.hot.inTransaction(ctx, "restoring an operation", func(ctx context.Context, q *sqlc.Queries) (err error) {
		if _, err = s.insertOperations(ctx, q, []ports.NewOperation{lost}); err != nil {
			return err
		}

		finished, err = finishOnCustomer(ctx, q, lost.ID, *c)
		if errors.Is(err, pgx.ErrNoRows) { // what was in the way has its key, and another id
			err = fmt.Errorf("customer %s: another operation has its key: %w", lost.ID, ports.ErrContradiction)
		}

		return err
	})

	return finished, err
}

// finishOnCustomer locks the operation and its customer, and writes what becomes of them.
func finishOnCustomer(
	ctx context.Context, q *sqlc.Queries, id uuid.UUID, c ports.CustomerChange,
) (finished ports.Finished, err error) {
	locked, err := q.LockOperation(ctx, id)
	if err != nil {
		return finished, err
	}

	op, err := operationFromDB(locked.Operation, locked.AgeSeconds, uuid.Nil)
	finished.Operation = op

	other := c.Fingerprint != (operation.Fingerprint{}) && c.Fingerprint != op.Fingerprint
	if err != nil || op.Finished() && (!other || op.Row().Ends(c.Fingerprint) != operation.Finishes) {
		return finished, err
	}

	before, after, err := changeCustomer(ctx, q, op, c)
	if err != nil {
		return finished, err
	}

	fingerprint := op.Fingerprint

	if other {
		fingerprint = c.Fingerprint

		err = q.TakeOrder(ctx, sqlc.TakeOrderParams{
			Fingerprint: fingerprint[:], Metadata: metadataToDB(c.Order.Metadata), Options: metadataToDB(c.Order.Options), ID: id,
		})
		if err != nil {
			return finished, err
		}
	}

	answer := c.Answer(after)

	rows, err := q.FinishOperations(ctx, sqlc.FinishOperationsParams{
		Ids:              []uuid.UUID{id},
		ResponseStatuses: []int16{int16(answer.Status)}, //nolint:gosec // an HTTP status
		ResponseBodies:   [][]byte{bodyToDB(answer.Body)},
		Fingerprints:     [][]byte{fingerprint[:]},
		Afters:           []string{changedCustomerToDB(before, after)},
		AlsoExisting:     true,
	})

	switch {
	case err != nil:
		return finished, err
	case len(rows) == 0:
		return finished, fmt.Errorf("operation %s: %w", id, errMovedOn)
	}

	finished.Operation, err = operationFromDB(rows[0], locked.AgeSeconds, uuid.Nil)

	return finished, err
}

// changeCustomer writes what becomes of an operation's customer, and returns it as it was and as it
// is.
func changeCustomer(
	ctx context.Context, q *sqlc.Queries, op ports.Operation, c ports.CustomerChange,
) (before, after customer.Customer, err error) {
	before, now, err := lockCustomer(ctx, q, op.CustomerID())
	missing := errors.Is(err, pgx.ErrNoRows)

	if missing && op.Kind.Makes() {
		before = customer.Customer{ID: op.ID, Tenant: op.Tenant}
		now, err = q.GetNow(ctx)
	}

	if err != nil {
		return before, before, err
	}

	after, err = c.Decide(stampedCustomer(before, now))
	if err != nil || after.SameAs(before) {
		return before, before, err
	}

	if after.Reference != before.Reference && after.Reference != "" {
		holder, err := holderOfReference(ctx, q, after.Tenant, after.Reference, after.ID)

		switch {
		case err != nil:
			return before, before, err
		case holder != uuid.Nil:
			after.Reference = ""
		}
	}

	if missing {
		return before, after, insertCustomer(ctx, q, after)
	}

	return before, after, updateCustomer(ctx, q, after)
}

// holderOfReference is the other customer that has a reference, or is to have it; uuid.Nil if
// there is none. There will be none until the transaction ends.
func holderOfReference(
	ctx context.Context, q *sqlc.Queries, tenant operation.Tenant, reference string, but uuid.UUID,
) (uuid.UUID, error) {
	if err := q.LockReference(ctx, sqlc.LockReferenceParams{Tenant: int32(tenant), Reference: reference}); err != nil {
		return uuid.Nil, fmt.Errorf("locking the reference: %w", err)
	}

	// A statement of its own: its snapshot is younger than the lock.
	holders, err := q.ListHoldersOfReference(ctx, sqlc.ListHoldersOfReferenceParams{
		Reference: reference, Tenant: int32(tenant),
	})

	for _, holder := range holders {
		if holder != but {
			return holder, err
		}
	}

	return uuid.Nil, err
}

// beginIf writes an operation if what must hold does. It finds the one that has its key
// first: that one may be what makes it not hold.
func (s *Store) beginIf(ctx context.Context, op ports.NewOperation) (ports.Operation, error) {
	var found ports.Operation

	err := s.hot.run(ctx, "beginning an operation", func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
			q := sqlc.New(tx)

			// The lock comes first, so that two who want one reference do not wait for each other.
			holder, err := holderOf(ctx, q, op.Tenant, op.If.Reference, op.ID, op.Subject)
			if err != nil {
				return err
			}

			var written bool

			switch found, written, err = s.writeOrFind(ctx, q, op); {
			case err != nil || !written:
				return err
			case holder != uuid.Nil:
				return errReferenceTaken(holder)
			default:
				return checkVersion(ctx, q, op)
			}
		})
	})

	return found, err
}

func holderOf(
	ctx context.Context, q *sqlc.Queries, tenant operation.Tenant, reference string, id, subject uuid.UUID,
) (uuid.UUID, error) {
	if reference == "" {
		return uuid.Nil, nil
	}

	if subject != uuid.Nil {
		id = subject
	}

	return holderOfReference(ctx, q, tenant, reference, id)
}

// checkReopened checks that the reference of an operation that was opened again is still free.
func checkReopened(ctx context.Context, q *sqlc.Queries, row sqlc.Operation) error {
	op, err := operationFromDB(row, 0, uuid.Nil)
	if err != nil || !op.Kind.OnCustomer() {
		return err
	}

	holder, err := holderOf(ctx, q, op.Tenant, op.Order.Options[customer.Reference], op.ID, op.Subject)
	if err == nil && holder != uuid.Nil {
		err = errReferenceTaken(holder)
	}

	return err
}

func errReferenceTaken(holder uuid.UUID) error {
	f := fault.New(fault.ReferenceTaken, "Another customer has this reference: see customer_id.")
	f.CustomerID = holder

	return f
}

func checkVersion(ctx context.Context, q *sqlc.Queries, op ports.NewOperation) error {
	if op.If.Version == 0 {
		return nil
	}

	versions, err := q.CheckCustomerVersion(ctx, op.Subject)

	switch {
	case err != nil:
		return fmt.Errorf("customer %s: %w", op.Subject, err)
	case len(versions) == 0:
		return errNotFound("customer")
	case versions[0] != op.If.Version:
		f := fault.New(fault.PreconditionFailed, "The customer has changed since you read it: it has another version.")
		f.CustomerID, f.Version = op.Subject, versions[0]

		return f
	default:
		return nil
	}
}

func lockCustomer(ctx context.Context, q *sqlc.Queries, id uuid.UUID) (customer.Customer, time.Time, error) {
	rows, err := q.LockCustomer(ctx, id)

	switch {
	case err != nil:
		return customer.Customer{}, time.Time{}, fmt.Errorf("locking customer %s: %w", id, err)
	case len(rows) == 0:
		return customer.Customer{}, time.Time{}, fmt.Errorf("customer %s: %w", id, pgx.ErrNoRows)
	}

	c, err := customerFromDB(rows[0].Customer)

	return c, rows[0].Now, err
}

// stampedCustomer is c with the version and the time of a change that is written now, by the
// database's clock.
func stampedCustomer(c customer.Customer, now time.Time) customer.Customer {
	c.Version, c.UpdatedAt = c.NextVersion(now), now.UTC()

	return c
}

func insertCustomer(ctx context.Context, q *sqlc.Queries, c customer.Customer) error {
	err := q.InsertCustomer(ctx, sqlc.InsertCustomerParams{
		ID: c.ID, Tenant: int32(c.Tenant), StripeCustomerID: c.ProviderID, Reference: optional(c.Reference),
		Email: optional(c.Email), Name: optional(c.Name), Metadata: nullableJSON(c.Metadata), DeletedAt: optional(c.DeletedAt),
		Version: c.Version, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	})

	switch {
	case violates(err, customerByStripeID):
		return fmt.Errorf("%s is another customer's: %w", c.ProviderID, ports.ErrContradiction)
	case err != nil:
		return fmt.Errorf("inserting customer %s: %w", c.ID, err)
	default:
		return nil
	}
}

func updateCustomer(ctx context.Context, q *sqlc.Queries, c customer.Customer) error {
	err := q.UpdateCustomer(ctx, sqlc.UpdateCustomerParams{
		ID: c.ID, Reference: optional(c.Reference), Email: optional(c.Email), Name: optional(c.Name),
		Metadata: nullableJSON(c.Metadata), DeletedAt: optional(c.DeletedAt), Version: c.Version, UpdatedAt: c.UpdatedAt,
	})
	if err != nil {
		return fmt.Errorf("updating customer %s: %w", c.ID, err)
	}

	return nil
}

func customerFromDB(row sqlc.Customer) (customer.Customer, error) {
	metadata, err := metadataFromDB(row.Metadata)
	if err != nil {
		return customer.Customer{}, fmt.Errorf("customer %s: %w", row.ID, err)
	}

	return customer.Customer{
		ID: row.ID, Tenant: operation.Tenant(row.Tenant), ProviderID: row.StripeCustomerID,
		Reference: deref(row.Reference), Email: deref(row.Email), Name: deref(row.Name), Metadata: metadata,
		DeletedAt: utc(row.DeletedAt), Version: row.Version,
		CreatedAt: row.CreatedAt.UTC(), UpdatedAt: row.UpdatedAt.UTC(),
	}, nil
}
