package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
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

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/secret"
)

// problems keeps the first problem with each variable. No value is ever shown: a
// secret may be pasted into any variable by mistake.
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

// unfilled finds a placeholder that no template and no shell has replaced: ${NAME},
// $(NAME), {{name}}, <name>, or $NAME as the whole value.
var unfilled = regexp.MustCompile(`\$\{[^{}]*\}|\$\([^()]*\)|\{\{.*\}\}|<[^<>]*>|^\$[A-Za-z_][A-Za-z0-9_]*$`)

// tidy returns the named variables without the white space around their values, such
// as the line break at the end of a file. It reports what no value may contain.
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
	case reflect.TypeFor[[]netip.Prefix]():
		p.sayf(variable, "must list networks such as 10.0.0.0/8,2001:db8::/32, separated by commas; of one address 10.0.0.7/32")
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
	c.checkSecretsKey(found)
	c.checkAddresses(found)

	if c.Auth != AuthKeys && c.Auth != AuthOff {
		found.sayf("AUTH", "must be keys or off")
	}

	c.checkRanges(found)
	c.checkMetadataIndex(found)

	if c.LogLevel < zapcore.DebugLevel || c.LogLevel > zapcore.ErrorLevel {
		found.sayf("LOG_LEVEL", levels)
	}
}

// checkSecretsKey reads every key of the list.
func (c Config) checkSecretsKey(found *problems) {
	if _, err := c.SealingKeys(); err != nil {
		found.sayf(nameSecretsKey, "%v", err)
	}
}

// SealingKeys are the keys of SECRETS_KEY; none if it is not set. FromEnvironment has checked them.
func (c Config) SealingKeys() (secret.Keys, error) {
	list := make([]secret.Key, 0, len(c.SecretsKey))

	for i, text := range c.SecretsKey {
		key, err := secret.ParseKey(text.Reveal())
		if err != nil && len(c.SecretsKey) > 1 {
			err = fmt.Errorf("key %d of %d %w", i+1, len(c.SecretsKey), err)
		}

		if err != nil {
			return secret.Keys{}, err
		}

		list = append(list, key)
	}

	return secret.NewKeys(list...)
}

// maxIndexedNames bounds what a payment's commit writes.
const maxIndexedNames = 8

// checkMetadataIndex lets through only names that metadata can have.
func (c Config) checkMetadataIndex(found *problems) {
	seen := map[string]bool{}

	for _, name := range c.MetadataIndex {
		_, err := payment.ParseMetadata(map[string]string{name: ""})

		switch {
		case err != nil, strings.TrimSpace(name) != name:
			found.sayf(nameMetadataIndex, "must list names of metadata, separated by commas and without spaces, such as "+
				"order_id,shop; a name has at most %d characters, no square bracket, and is none of ours", payment.MaxMetadataKeyLength)
		case seen[name]:
			found.sayf(nameMetadataIndex, "lists a name twice")
		}

		seen[name] = true
	}

	if len(c.MetadataIndex) > maxIndexedNames {
		found.sayf(nameMetadataIndex, "lists %d names; the most is %d", len(c.MetadataIndex), maxIndexedNames)
	}
}

// checkRanges compares the numbers and durations with the tags of their fields.
func (c Config) checkRanges(found *problems) {
	config := reflect.ValueOf(c)

	for _, field := range reflect.VisibleFields(config.Type()) {
		from, to := field.Tag.Get("from"), field.Tag.Get("to")
		if from == "" {
			continue
		}

		value, zero := config.FieldByIndex(field.Index).Int(), field.Tag.Get("zero")

		switch {
		case value >= bound(field, from) && value <= bound(field, to):
		case zero == "":
			found.sayf(field.Tag.Get("env"), "must be from %s to %s", from, to)
		case value != 0:
			found.sayf(field.Tag.Get("env"), "must be 0 (%s) or from %s to %s", zero, from, to)
		}
	}
}

// bound reads a tag as its field's value is read.
func bound(field reflect.StructField, text string) int64 {
	duration, err := time.ParseDuration(text)
	if field.Type.Kind() == reflect.Int64 && err == nil {
		return int64(duration)
	}

	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s: %s is not a bound", field.Name, text)) // the tests read every tag
	}

	return number
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

// checkProxies checks what net/http reads on each call: its error would show the value
// with its password.
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

// isAddress tells whether text is host:port. The host is not looked up.
func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || port == "" || !hostname.MatchString(host) {
		return false
	}

	_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)

	return err == nil
}

// isLoopback tells whether host is this machine, by its name alone.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)

	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// parseURL reads an absolute URL. wrong shows nothing of it, unlike the errors of
// url.Parse.
func parseURL(text, example string, schemes ...string) (u *url.URL, wrong string) {
	u, err := url.Parse(text)

	switch {
	case err != nil, !slices.Contains(schemes, u.Scheme):
		return nil, "must be a URL such as " + example
	case u.Hostname() == "" || !hostname.MatchString(u.Hostname()):
		return nil, "has no host; it must be a URL such as " + example
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
