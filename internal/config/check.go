package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caarlos0/env/v11"
	"go.uber.org/zap/zapcore"
)

// problems keeps the first problem with each variable. No value is ever shown:
// whatever is pasted into the wrong variable may be a secret.
type problems struct{ about map[string]error }

func newProblems() *problems { return &problems{about: map[string]error{}} }

func (p *problems) sayf(variable, format string, args ...any) {
	if p.about[variable] == nil {
		p.about[variable] = errors.New(variable + ": " + fmt.Sprintf(format, args...))
	}
}

func (p *problems) join() error {
	list := make([]error, 0, len(p.about))
	for _, variable := range slices.Sorted(maps.Keys(p.about)) {
		list = append(list, p.about[variable])
	}

	return errors.Join(list...)
}

// names are the variables of Config.
func names() []string {
	var list []string

	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if name := field.Tag.Get("env"); name != "" {
			list = append(list, name)
		}
	}

	return list
}

// unfilled is what a template or a shell has not filled in: ${NAME}, $(NAME),
// {{name}}, <name>, or a whole value that is $NAME.
var unfilled = regexp.MustCompile(`\$\{[^{}]*\}|\$\([^()]*\)|\{\{.*\}\}|<[^<>]*>|^\$[A-Za-z_][A-Za-z0-9_]*$`)

// tidy returns the named variables without white space around them, such as the
// line break at the end of a file, and says what no variable may hold.
func tidy(variables map[string]string, names []string, found *problems) map[string]string {
	tidied := make(map[string]string, len(names))

	for _, name := range names {
		value, set := variables[name]
		if !set {
			continue
		}

		value = strings.TrimSpace(value)
		tidied[name] = value

		switch {
		case isQuoted(value):
			found.sayf(name, "is in quotes; write it without them (Docker's --env-file keeps quotes as part of the value)")
		case unfilled.MatchString(value):
			found.sayf(name, "is a placeholder that was not filled in; set the real value")
		case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
			found.sayf(name, "holds a line break or an invisible character; write it again by hand")
		}
	}

	return tidied
}

func isQuoted(value string) bool {
	return len(value) > 0 && strings.ContainsRune("\"'`“”‘’", []rune(value)[0])
}

// unreadable says what kind of value a variable must have.
func (p *problems) unreadable(err error) {
	parse, ok := errors.AsType[env.ParseError](err)
	if !ok {
		p.sayf("environment", "cannot be read")

		return
	}

	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)

	switch variable := field.Tag.Get("env"); field.Type {
	case reflect.TypeFor[time.Duration]():
		p.sayf(variable, "must be a duration with its unit, such as 500ms, 8s or 5m")
	case reflect.TypeFor[zapcore.Level]():
		p.sayf(variable, levels)
	default:
		p.sayf(variable, "must be a whole number")
	}
}

const levels = "must be debug, info, warn or error"

func (c Config) check(found *problems, dev bool) {
	c.checkStores(found)
	c.checkStripe(found, dev)
	c.checkAddresses(found)

	between(found, "SHUTDOWN_TIMEOUT", c.ShutdownTimeout, 100*time.Millisecond, time.Hour)
	between(found, "DRAIN_DELAY", c.DrainDelay, 0, time.Hour)
	between(found, "STRIPE_TIMEOUT", c.StripeTimeout, 100*time.Millisecond, 2*time.Minute)
	between(found, "RECOVERY_INTERVAL", c.RecoveryInterval, 100*time.Millisecond, time.Hour)

	if c.ReconcileInterval != 0 {
		between(found, "RECONCILE_INTERVAL", c.ReconcileInterval, time.Second, 24*time.Hour, "0 (never) or ")
	}

	between(found, "DATABASE_MAX_CONNS", c.DatabaseMaxConns, 1, 1000)
	between(found, "STRIPE_MAX_IN_FLIGHT", c.StripeMaxInFlight, 1, 100_000)
	between(found, "RATE_LIMIT", c.RateLimit, 0, 1_000_000)

	if c.LogLevel < zapcore.DebugLevel || c.LogLevel > zapcore.ErrorLevel {
		found.sayf("LOG_LEVEL", levels)
	}
}

// between: or names another value that is fine.
func between[T time.Duration | int | int32](found *problems, variable string, value, least, most T, or ...string) {
	if value < least || value > most {
		found.sayf(variable, "must be %sfrom %v to %v", strings.Join(or, ""), plain(least), plain(most))
	}
}

// plain writes 1h0m0s as 1h.
func plain(value any) string {
	text := fmt.Sprint(value)

	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}

	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}

	return text
}

func (c Config) checkAddresses(found *problems) {
	aside := map[string]string{"METRICS_ADDR": c.MetricsAddr, "PPROF_ADDR": c.PprofAddr}

	for variable, addr := range aside {
		if addr == c.HTTPAddr && !strings.HasSuffix(addr, ":0") {
			found.sayf(variable, "must not be the address of HTTP_ADDR")
		}
	}

	aside["HTTP_ADDR"] = c.HTTPAddr

	for variable, addr := range aside {
		if addr != "" && !isAddress(addr) {
			found.sayf(variable, "must be host:port, such as 127.0.0.1:3000, or :3000 for every address of this machine")
		}
	}
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9._:%-]*$`)

// checkProxies: net/http reads these whenever it calls, and its error shows them,
// password included.
func checkProxies(variables map[string]string, found *problems) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		proxy := variables[name]
		if proxy == "" {
			continue
		}

		if !strings.Contains(proxy, "://") {
			proxy = "http://" + proxy
		}

		if _, wrong := parseURL(proxy, "http://proxy:3128", "http", "https", "socks5", "socks5h"); wrong != "" {
			found.sayf(name, "%s", wrong)
		}
	}
}

// isAddress: something to listen on; whether this machine has the host is not
// asked.
func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" || !hostname.MatchString(host) {
		return false
	}

	_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)

	return err == nil
}

// isLoopback: on this machine, as far as the name tells.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)

	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// parseURL reads an absolute URL. What is wrong comes in words that show nothing
// of it, because url.Parse's own errors do.
func parseURL(text, example string, schemes ...string) (u *url.URL, wrong string) {
	u, err := url.Parse(text)

	switch {
	case err != nil, !slices.Contains(schemes, u.Scheme):
		return nil, "must be a URL such as " + example
	case u.Hostname() == "" || !hostname.MatchString(u.Hostname()):
		return nil, "names no host; it must be a URL such as " + example
	case u.Fragment != "":
		return nil, "holds a #, which ends a URL; write it as %23"
	case strings.Contains(u.Path, "@"): // a password with a slash in it
		return nil, "holds an @ after its host; in a password write / as %2F"
	}

	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, "has a port that is not from 1 to 65535"
		}
	}

	return u, ""
}
