package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/ports"
)

// Binding implements ports.Installation.
func (s *Store) Binding(ctx context.Context) (binding.Binding, error) {
	row, err := query(ctx, s.hot, "reading what the database belongs to",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.GetBindingRow, error) { return q.GetBinding(ctx) })

	return binding.Binding{
		Host: row.StripeHost, Mode: binding.Mode(row.StripeMode), Account: row.StripeAccount,
		System: row.SystemIdentifier, Database: row.DatabaseName,
	}, err
}

// Here implements ports.Installation.
func (s *Store) Here(ctx context.Context) (binding.Binding, error) {
	var now binding.Binding

	err := s.hot.run(ctx, "reading the server's identity", func(ctx context.Context, conn *pgxpool.Conn) error {
		var err error

		q := sqlc.New(conn)
		if now.Database, err = q.GetDatabaseName(ctx); err != nil {
			return err
		}

		now.System, err = q.GetSystemIdentifier(ctx)
		if hasCode(err, pgerrcode.InsufficientPrivilege, pgerrcode.UndefinedFunction, pgerrcode.FeatureNotSupported) {
			return nil // this role may not ask, or this server has no such function
		}

		return err
	})

	return now, err
}

// Bind implements ports.Installation.
func (s *Store) Bind(ctx context.Context, now binding.Binding) (binding.Binding, error) {
	_, err := write(ctx, s.hot, "recording what the database belongs to",
		func(ctx context.Context, q *sqlc.Queries) (int64, error) {
			return q.Bind(ctx, sqlc.BindParams(bindingToDB(now)))
		})
	if err != nil {
		return binding.Binding{}, err
	}

	return s.Binding(ctx)
}

func bindingToDB(b binding.Binding) sqlc.RebindParams {
	return sqlc.RebindParams{
		StripeHost: b.Host, StripeMode: string(b.Mode), StripeAccount: b.Account,
		SystemIdentifier: b.System, DatabaseName: b.Database,
	}
}

// Rebind implements ports.Installation.
func (s *Store) Rebind(ctx context.Context, a ports.Adoption) (int, error) {
	var givenUp int64

	err := s.hot.inTransaction(ctx, "adopting the database", func(ctx context.Context, q *sqlc.Queries) (err error) {
		if err = q.InsertAdoption(ctx, sqlc.InsertAdoptionParams{Actor: a.Actor, Reason: a.Reason}); err != nil {
			return err
		}

		if err = q.Rebind(ctx, bindingToDB(a.To)); err != nil || !a.GiveUp {
			return err
		}

		givenUp, err = q.GiveUpOperations(ctx, "the database was adopted for another Stripe account: "+a.Reason)

		return err
	})

	return int(givenUp), err
}

// Adoptions implements ports.Installation.
func (s *Store) Adoptions(ctx context.Context) ([]ports.Adopted, error) {
	rows, err := query(ctx, s.background, "listing the adoptions",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListAdoptionsRow, error) {
			return q.ListAdoptions(ctx)
		})

	return mapped(rows, func(row sqlc.ListAdoptionsRow) ports.Adopted {
		return ports.Adopted{
			At: row.At.UTC(), Actor: row.Actor, Reason: row.Reason,
			From: binding.Binding{
				Host: row.StripeHost, Mode: binding.Mode(row.StripeMode), Account: row.StripeAccount,
				System: row.SystemIdentifier, Database: row.DatabaseName,
			},
		}
	}), err
}

// NewestIntents implements ports.Installation.
func (s *Store) NewestIntents(ctx context.Context, limit int) ([]string, error) {
	return query(ctx, s.background, "reading the newest payments", func(ctx context.Context, q *sqlc.Queries) ([]string, error) {
		return q.ListNewestIntents(ctx, int32(limit)) //nolint:gosec // a small constant
	})
}

var (
	errSynchronousOff = errors.New("synchronous_commit is off: a crash of PostgreSQL would lose payments that clients " +
		"were told of; set it to on for this server, database and role")
	errSynchronousLocal = errors.New("synchronous_commit is local although synchronous_standby_names is set: a fail-over " +
		"would lose payments that clients were told of; set it to on for this server, database and role")
)

// CheckServer checks the settings that our connections get. It is an error if commits
// are confirmed before they are durable. It is a warning if a crash of the machine may
// lose data, or if the database's collation has changed since its indexes were built:
// that does no harm to keys and ids, which are compared by bytes.
func (s *Store) CheckServer(ctx context.Context) (warnings []string, err error) {
	row, err := query(ctx, s.hot, "reading the server's settings",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.GetServerSettingsRow, error) {
			return q.GetServerSettings(ctx)
		})
	if err != nil {
		return nil, err
	}

	const off = "off"

	switch {
	case row.SynchronousCommit == off:
		return nil, errSynchronousOff
	case row.SynchronousCommit == "local" && row.SynchronousStandbyNames != "":
		return nil, errSynchronousLocal
	}

	if row.Fsync == off {
		warnings = append(warnings, "fsync is off: a crash of the machine may lose or break the database")
	}

	if row.FullPageWrites == off {
		warnings = append(warnings, "full_page_writes is off: a crash of the machine may break the database")
	}

	if row.RecordedCollation != row.ActualCollation {
		warnings = append(warnings, fmt.Sprintf("the database's collation was of version %s and is now of %s: "+
			"REINDEX DATABASE, then ALTER DATABASE … REFRESH COLLATION VERSION", row.RecordedCollation, row.ActualCollation))
	}

	return warnings, nil
}

var errNotDevs = errors.New("this database is neither empty nor made by `marketflow dev`, so `dev` does not use it; " +
	"name an empty database, or none")

// CheckForDev is an error unless `marketflow dev` may use the database: it must be empty
// or made by dev. own: the server is dev's own. There, a database without a binding was
// made by a release that did not mark databases yet.
func CheckForDev(ctx context.Context, url string, own bool) error {
	return connected(ctx, url, func(q *sqlc.Queries) error {
		relations, err := q.CountRelations(ctx)
		if err != nil {
			return fmt.Errorf("checking whether the database is empty: %w", err)
		}

		if relations == 0 {
			return nil
		}

		made, err := q.GetMadeByDev(ctx)
		unmarked := hasCode(err, pgerrcode.UndefinedTable, pgerrcode.UndefinedColumn) // from before the mark's migration

		switch {
		case err != nil && !unmarked:
			return fmt.Errorf("reading who made the database: %w", err)
		case made.MadeByDev, own && !made.Bound: // where it is unmarked, made is zero
			return nil
		default:
			return errNotDevs
		}
	})
}

// MarkMadeByDev marks a migrated database as made by `marketflow dev`, and binds it to
// the address at which dev's sandbox listens now.
func MarkMadeByDev(ctx context.Context, url, sandboxHost string) error {
	return connected(ctx, url, func(q *sqlc.Queries) error {
		if err := q.MarkMadeByDev(ctx, sandboxHost); err != nil {
			return fmt.Errorf("marking the database: %w", err)
		}

		return nil
	})
}

func connected(ctx context.Context, url string, fn func(*sqlc.Queries) error) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return presentable(err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()

	return fn(sqlc.New(conn))
}

// InstallationID implements ports.Installation.
func (s *Store) InstallationID(ctx context.Context) (uuid.UUID, error) {
	return query(ctx, s.hot, "reading the installation's id", func(ctx context.Context, q *sqlc.Queries) (uuid.UUID, error) {
		return q.GetInstallationID(ctx)
	})
}

// SetInstallationID implements ports.Installation.
func (s *Store) SetInstallationID(ctx context.Context, id uuid.UUID) error {
	return s.hot.inTransaction(ctx, "writing the installation's id", func(ctx context.Context, q *sqlc.Queries) error {
		written, err := q.SetInstallationID(ctx, id)
		if err != nil || written == 0 {
			return err
		}

		return q.ForgetReconciliation(ctx)
	})
}
