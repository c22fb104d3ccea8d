package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	prefix         = "pgtest_"
	templatePrefix = "pgtest_template_"
	nameLimit      = 63 // NAMEDATALEN - 1: PostgreSQL cuts what is longer

	// keptDatabases are the failed tests' databases that stay: 8 MB each.
	keptDatabases = 20
)

// Migrations make the schema of a template. The zero value is no schema.
type Migrations struct {
	// Hash differs when the schema does: the hash of the migrations' files.
	Hash string

	// Up migrates the empty database at url. It leaves no connection open.
	Up func(ctx context.Context, url string) error
}

// create makes the database from the template of the migrations.
func create(ctx context.Context, admin *pgx.Conn, name string, migrations Migrations) error {
	template := "template0" // PostgreSQL's own, empty one

	if migrations.Up != nil {
		sum := sha256.Sum256([]byte(migrations.Hash))
		template = templatePrefix + hex.EncodeToString(sum[:8])

		if err := ensureTemplate(ctx, admin, template, migrations); err != nil {
			return err
		}
	}

	if _, err := admin.Exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template)+strategy(admin)); err != nil {
		return fmt.Errorf("cloning the template: %w", err)
	}

	// The service refuses a database that forgets commits, and whose server this is
	// may be set otherwise.
	if _, err := admin.Exec(ctx, "ALTER DATABASE "+quote(name)+" SET synchronous_commit = on"); err != nil {
		return fmt.Errorf("setting the database up: %w", err)
	}

	return nil
}

// strategy is to copy files: with fsync off that takes half the time of
// PostgreSQL's default, WAL_LOG (8 ms to 18 ms for our schema). Before version 15
// there is no other way and no word for it.
func strategy(admin *pgx.Conn) string {
	version, _, _ := strings.Cut(admin.PgConn().ParameterStatus("server_version"), ".")
	if major, err := strconv.Atoi(version); err == nil && major < 15 {
		return ""
	}

	return " STRATEGY FILE_COPY"
}

// ensureTemplate makes the template unless it is there. A template under its
// final name is whole.
func ensureTemplate(ctx context.Context, admin *pgx.Conn, template string, migrations Migrations) (err error) {
	if exists, err := databaseExists(ctx, admin, template); err != nil || exists {
		return err
	}

	if _, err := admin.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", template); err != nil {
		return fmt.Errorf("waiting for the template: %w", err)
	}

	defer func() {
		_, unlockErr := admin.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(hashtextextended($1, 0))", template)
		err = errors.Join(err, unlockErr)
	}()

	if exists, err := databaseExists(ctx, admin, template); err != nil || exists {
		return err
	}

	return makeTemplate(ctx, admin, template, migrations)
}

func makeTemplate(ctx context.Context, admin *pgx.Conn, template string, migrations Migrations) error {
	unfinished := template + "_new"

	if err := drop(ctx, admin, unfinished); err != nil {
		return err
	}

	if _, err := admin.Exec(ctx, "CREATE DATABASE "+quote(unfinished)+" TEMPLATE template0"+strategy(admin)); err != nil {
		return fmt.Errorf("creating the template: %w", err)
	}

	if err := migrations.Up(ctx, urlOf(admin, unfinished)); err != nil {
		return fmt.Errorf("migrating the template: %w", err)
	}

	for _, statement := range []string{
		// A connection to the template would keep it from being cloned.
		"ALTER DATABASE " + quote(unfinished) + " WITH ALLOW_CONNECTIONS false",
		"COMMENT ON DATABASE " + quote(unfinished) + " IS '" + strconv.FormatInt(time.Now().Unix(), 10) + "'",
		"ALTER DATABASE " + quote(unfinished) + " RENAME TO " + quote(template),
	} {
		if _, err := admin.Exec(ctx, statement); err != nil {
			return fmt.Errorf("finishing the template: %w", err)
		}
	}

	return nil
}

func databaseExists(ctx context.Context, admin *pgx.Conn, name string) (bool, error) {
	var exists bool

	err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	if err != nil {
		return false, fmt.Errorf("looking for the database %s: %w", name, err)
	}

	return exists, nil
}

// drop drops a database that may not be there, whoever is connected to it.
func drop(ctx context.Context, admin *pgx.Conn, name string) error {
	if _, err := admin.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("dropping the database %s: %w", name, err)
	}

	return nil
}

// keep marks a failed test's database, and drops the oldest marked ones beyond
// those that somebody may still look at.
func keep(ctx context.Context, admin *pgx.Conn, name string) error {
	if _, err := admin.Exec(ctx, "COMMENT ON DATABASE "+quote(name)+" IS 'kept'"); err != nil {
		return fmt.Errorf("keeping the database: %w", err)
	}

	// A name begins with the time: the newest come first.
	oldest, err := list(ctx, admin, `
		SELECT datname
		  FROM pg_database
		 WHERE starts_with(datname, $1) AND shobj_description(oid, 'pg_database') = 'kept'
		 ORDER BY datname DESC
		OFFSET $2`,
		prefix, keptDatabases)
	if err != nil {
		return err
	}

	for _, name := range oldest {
		if err := drop(ctx, admin, name); err != nil {
			return err
		}
	}

	return nil
}

// sweepTests drops the test databases that were created before the time: those
// kept by failed tests and those of killed ones.
func sweepTests(ctx context.Context, admin *pgx.Conn, before time.Time) error {
	names, err := list(ctx, admin, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", prefix)
	if err != nil {
		return err
	}

	for _, name := range names {
		if created, ok := createdAt(name); ok && created.Before(before) {
			if err := drop(ctx, admin, name); err != nil {
				return err
			}
		}
	}

	return nil
}

// sweepTemplates drops the templates that were finished before the time, and
// unfinished ones. Nobody may be using them.
func sweepTemplates(ctx context.Context, admin *pgx.Conn, before time.Time) error {
	names, err := list(ctx, admin, `
		SELECT datname
		  FROM pg_database
		 WHERE starts_with(datname, $1)
		   AND coalesce(shobj_description(oid, 'pg_database')::bigint, 0) < $2`,
		templatePrefix, before.Unix())
	if err != nil {
		return err
	}

	for _, name := range names {
		if err := drop(ctx, admin, name); err != nil {
			return err
		}
	}

	return nil
}

func list(ctx context.Context, admin *pgx.Conn, query string, arguments ...any) ([]string, error) {
	rows, err := admin.Query(ctx, query, arguments...)
	if err != nil {
		return nil, fmt.Errorf("listing databases: %w", err)
	}

	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("listing databases: %w", err)
	}

	return names, nil
}

// databaseName holds when the database was made, chance, and as much of the
// test's name as there is room for.
func databaseName(test string, now time.Time) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}

		return '_'
	}, strings.ToLower(test))

	name := prefix + strconv.FormatInt(now.Unix(), 10) + "_" + strings.ToLower(rand.Text()[:8]) + "_" + readable

	return name[:min(len(name), nameLimit)]
}

// createdAt reads the time out of a test database's name.
func createdAt(name string) (time.Time, bool) {
	seconds, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "_")

	unix, err := strconv.ParseInt(seconds, 10, 64)

	return time.Unix(unix, 0), err == nil
}

// urlOf is the URL of another database on the server of admin.
func urlOf(admin *pgx.Conn, name string) string {
	address, err := url.Parse(admin.Config().ConnString())
	if err != nil { // join has parsed it
		return admin.Config().ConnString()
	}

	address.Path = "/" + name

	return address.String()
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
