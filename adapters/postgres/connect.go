package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Ping connects to the database. Its error tells an operator what to change.
func Ping(ctx context.Context, pool *pgxpool.Pool) error {
	err := pool.Ping(ctx)
	if err == nil {
		return nil
	}

	return fmt.Errorf("%w%s", presentable(err), advice(err))
}

// advice is what to change, where PostgreSQL's or the driver's message does not say so.
func advice(err error) string {
	pg, isPG := errors.AsType[*pgconn.PgError](err)

	switch {
	case isReadOnly(err):
		return "; it is a standby, or default_transaction_read_only is on: " +
			"name the server that can be written, or several with commas between"
	case isPG && strings.Contains(pg.Message, "unsupported startup parameter"):
		return "; a pooler does not let our settings through: add default_query_exec_mode=exec to DATABASE_URL, " +
			"or see docs/operations.md, Behind PgBouncer"
	default:
		return ""
	}
}

// errURL replaces pgx's own error, which shows the URL without the part that pgx
// takes for the password.
var errURL = errors.New("DATABASE_URL is not a PostgreSQL URL such as postgres://user:password@localhost:5432/marketflow")

// presentable removes from an error what it shows of DATABASE_URL, except host, port
// and database. After a mistake such as `user= password=X` or an @ that is not
// escaped, a part of the password stands in the place of the user or an option, and
// both pgx and PostgreSQL repeat those. errors.Is and errors.As still find the
// original error.
func presentable(err error) error {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		return errURL
	}

	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}

	return &connectError{
		text: "connecting to PostgreSQL at " + target(failed.Config) + " (DATABASE_URL): " +
			strings.Join(reasons(failed.Unwrap(), nil), "; "),
		err: err,
	}
}

// connectError is err with another text.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }

func (e *connectError) Unwrap() error { return e.err }

// target names every host and port that was tried, and the database.
func target(c *pgconn.Config) string {
	hosts := make([]string, 0, 1+len(c.Fallbacks))
	hosts = append(hosts, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))))

	for _, other := range c.Fallbacks {
		hosts = append(hosts, net.JoinHostPort(other.Host, strconv.Itoa(int(other.Port))))
	}

	slices.Sort(hosts)

	return strings.Join(slices.Compact(hosts), ", ") + ", database " + strconv.Quote(c.Database)
}

// reasons are why the attempts failed, each reason once. They are the innermost
// errors: the errors around them repeat parts of the URL.
func reasons(err error, list []string) []string {
	if pg, ok := err.(*pgconn.PgError); ok { //nolint:errorlint // this is the walk along the chain
		return appendOnce(list, serverReason(pg.Code))
	}

	switch wrapper := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() []error }:
		for _, one := range wrapper.Unwrap() {
			list = reasons(one, list)
		}

		return list
	case interface{ Unwrap() error }:
		if inner := wrapper.Unwrap(); inner != nil {
			return reasons(inner, list)
		}
	}

	return appendOnce(list, err.Error())
}

func appendOnce(list []string, one string) []string {
	if slices.Contains(list, one) {
		return list
	}

	return append(list, one)
}

// serverReason says why PostgreSQL refused the connection, without the names that
// its own message shows.
func serverReason(code string) string {
	says := "PostgreSQL refused the connection"

	switch code {
	case pgerrcode.InvalidPassword:
		says = "wrong user or password"
	case pgerrcode.InvalidAuthorizationSpecification:
		says = "this user may not connect from here (see pg_hba.conf), or does not exist"
	case pgerrcode.InvalidCatalogName:
		says = "this database does not exist"
	case pgerrcode.TooManyConnections:
		says = "too many connections"
	case pgerrcode.CannotConnectNow:
		says = "PostgreSQL is starting or stopping"
	case pgerrcode.UndefinedObject, pgerrcode.InvalidParameterValue, pgerrcode.CantChangeRuntimeParam:
		says = "PostgreSQL does not know a parameter of DATABASE_URL, or its value"
	}

	return says + " (SQLSTATE " + code + ")"
}
