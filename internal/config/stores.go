package config

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

const (
	databaseExample = "postgres://user:password@localhost:5432/marketflow" //nolint:gosec // an example
	redisExample    = "redis://localhost:6379/0; leave it empty to run without Redis"
	escape          = "; in a password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"
)

func (c Config) checkStores(found *problems) {
	if c.DatabaseURL == "" {
		found.sayf(nameDatabase, "is not set; for example %s", databaseExample)
	} else if wrong := c.wrongDatabase(); wrong != "" {
		found.sayf(nameDatabase, "%s", wrong)
	}

	if c.RedisURL != "" {
		if wrong := c.wrongRedis(); wrong != "" {
			found.sayf("REDIS_URL", "%s", wrong)
		}
	}
}

var (
	// namesHost finds the host in a keyword/value string. Without one pgx connects to
	// any server on this machine.
	namesHost = regexp.MustCompile(`(^|\s)(host|hostaddr|service)\s*=\s*[^\s=]+(\s|$)`)
	parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
	// swallowed finds a keyword that was taken for the value of the one before it:
	// `user= password=…` has the user "password=…".
	swallowed = regexp.MustCompile(`^(host|hostaddr|port|user|password|dbname|database|sslmode)\s*=`)
)

// wrongDatabase finds mistakes that pgx accepts: they put a part of the password where
// it would be printed, or lead to another server.
func (c Config) wrongDatabase() string {
	text := c.DatabaseURL.Reveal()

	wrong := ""
	if strings.Contains(text, "://") {
		wrong = wrongDatabaseURL(text)
	} else if !namesHost.MatchString(text) && !hostElsewhere() {
		wrong = "has no host; it must be a URL such as " + databaseExample
	}

	if wrong != "" {
		return wrong
	}

	parsed, err := pgxpool.ParseConfig(text)

	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return "names a file that cannot be read (sslrootcert, sslcert, sslkey or servicefile)"
	}

	if err != nil {
		return "is not a PostgreSQL URL such as " + databaseExample + escape
	}

	conn := parsed.ConnConfig

	if slices.ContainsFunc([]string{conn.User, conn.Password, conn.Host, conn.Database}, swallowed.MatchString) {
		return "has a keyword without a value; an empty value is written ''"
	}

	for name := range conn.RuntimeParams {
		if !parameter.MatchString(name) {
			return "has a parameter with a name that PostgreSQL does not allow" + escape
		}
	}

	switch {
	case !hostname.MatchString(conn.Host) && !strings.HasPrefix(conn.Host, "/"):
		return "has a host that is not a name or an address" + escape
	case strings.ContainsAny(conn.Database, "@/?#"):
		return "has a database name that looks like a part of the password" + escape
	case stopgapPassword.MatchString(conn.Password):
		return "holds a placeholder for the password; set the real one"
	case c.live() && conn.Password == publicPassword:
		return "has the password of docker-compose.yml, which everybody knows; choose another one for live payments"
	}

	return ""
}

// hostElsewhere tells whether libpq's own variables say the host
// (https://www.postgresql.org/docs/current/libpq-envars.html).
func hostElsewhere() bool { return os.Getenv("PGHOST") != "" || os.Getenv("PGSERVICE") != "" }

func wrongDatabaseURL(text string) string {
	u, err := url.Parse(firstHost(text))

	switch {
	case err != nil, u.Scheme != "postgres" && u.Scheme != "postgresql":
		return "is not a PostgreSQL URL such as " + databaseExample + escape
	case u.Fragment != "" || strings.Contains(text, "#"):
		return "holds a #, which ends a URL" + escape
	case u.Hostname() == "" && u.Query().Get("host") == "" && u.Query().Get("service") == "" && !hostElsewhere():
		return "has no host; it must be a URL such as " + databaseExample +
			", or end with ?host=/var/run/postgresql for a Unix socket"
	}

	for name := range u.Query() {
		if !parameter.MatchString(name) {
			return "has a parameter with a name that PostgreSQL does not allow" + escape
		}
	}

	return ""
}

// severalHosts finds host:port,host:port, which url.Parse rejects as a wrong port.
var severalHosts = regexp.MustCompile(`^([a-z]+://(?:[^/?#]*@)?[^/?#,]*),[^/?#]*`)

func firstHost(text string) string { return severalHosts.ReplaceAllString(text, "$1") }

func (c Config) wrongRedis() string {
	text := c.RedisURL.Reveal()

	var (
		u     *url.URL
		wrong string
	)

	if strings.HasPrefix(text, "unix://") {
		u, _ = url.Parse(text)
		if u == nil || u.Path == "" || u.Fragment != "" {
			wrong = "must be a URL such as unix:///run/redis.sock"
		}
	} else {
		u, wrong = parseURL(text, redisExample, "redis", "rediss")
	}

	if wrong != "" {
		return wrong
	}

	if _, err := redis.ParseURL(text); err != nil {
		return "must be a URL such as " + redisExample + escape
	}

	if password, _ := u.User.Password(); stopgapPassword.MatchString(password) {
		return "holds a placeholder for the password; set the real one"
	}

	return ""
}

// warnings name settings that work and are seldom right.
func (c Config) warnings(dev bool) []string {
	var list []string

	if host, _, err := net.SplitHostPort(c.HTTPAddr); c.Auth == AuthOff && (!dev || err != nil || !isLoopback(host)) {
		list = append(list, "AUTH: is off, so whoever reaches HTTP_ADDR can create, capture, read and cancel payments; make keys "+
			"with `marketflow keys create` and set AUTH=keys")
	}

	if host := c.plainDatabase(); host != "" {
		list = append(list, "DATABASE_URL: the connection to "+host+
			" may be unencrypted and show every query; add sslmode=verify-full (or at least sslmode=require)")
	}

	if u, err := url.Parse(c.RedisURL.Reveal()); err == nil && u.Scheme == "redis" && !isLoopback(u.Hostname()) {
		list = append(list, "REDIS_URL: the connection to "+u.Hostname()+" is not encrypted; use rediss:// for TLS")
	}

	if u, err := url.Parse(c.StripeAPIBase); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		list = append(list, "STRIPE_API_BASE: the key goes to "+u.Hostname()+" over plain http")
	}

	if host, _, err := net.SplitHostPort(c.PprofAddr); err == nil && !isLoopback(host) {
		list = append(list, "PPROF_ADDR: profiles reveal much about the process, and whoever reaches this address can "+
			"read them; listen on 127.0.0.1")
	}

	return list
}

// plainDatabase is a host on another machine that is connected to without TLS, at
// first or as a fallback.
func (c Config) plainDatabase() string {
	parsed, err := pgxpool.ParseConfig(c.DatabaseURL.Reveal())
	if err != nil {
		return ""
	}

	conn := parsed.ConnConfig

	plain := slices.DeleteFunc(slices.Clone(conn.Fallbacks), func(f *pgconn.FallbackConfig) bool { return f.TLSConfig != nil })
	if conn.TLSConfig == nil {
		plain = append(plain, &pgconn.FallbackConfig{Host: conn.Host})
	}

	for _, f := range plain {
		if !strings.HasPrefix(f.Host, "/") && !isLoopback(f.Host) {
			return f.Host
		}
	}

	return ""
}
