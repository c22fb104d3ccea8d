package http

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// Authenticate is the use case that tells whose key a request carries.
type Authenticate interface {
	// Do returns the key, from memory. One that does not work is fault.InvalidAPIKey.
	Do(ctx context.Context, secret tenant.Secret) (tenant.Key, error)
	// Again looks whether a key that did not work has been made just now.
	Again(ctx context.Context, secret tenant.Secret) (tenant.Key, error)
}

// Access says who may use the API, and how much of it.
type Access struct {
	// Authenticate is nil if everybody may do everything.
	Authenticate Authenticate
	// Clients shares the API among keys, or addresses where there are no keys.
	Clients ports.RateLimiter
	// Failures counts requests without a key that works, by address.
	Failures ports.RateLimiter
	// Proxies are the addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
}

// endpoint is what serves a method of a path. Only open and needs make one, so no route is
// without a decision about who may use it.
type endpoint struct{ http.Handler }

// open is an endpoint that needs no key.
func (*edge) open(h http.Handler) endpoint { return endpoint{h} }

// needs is an endpoint for keys with a scope. It is checked before a byte of the body is read.
func (e *edge) needs(scope tenant.Scope, next handler) endpoint {
	if e.access.Authenticate == nil {
		return endpoint{e.limited(acting(next))}
	}

	allowed := e.limited(func(w http.ResponseWriter, r *http.Request) (answer, error) {
		if !callerOf(r.Context()).Scopes.Has(scope) {
			return answer{}, e.insufficient(w, scope)
		}

		return acting(next)(w, r)
	})

	return endpoint{handler(func(w http.ResponseWriter, r *http.Request) (answer, error) {
		if err := e.authenticate(r); err != nil {
			if fault.KindOf(err) == fault.InvalidAPIKey {
				w.Header().Set("WWW-Authenticate", `Bearer realm="marketflow"`)
			}

			return answer{}, err
		}

		return allowed(w, r)
	})}
}

// acting tells the use cases who acts, for the audit.
func acting(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (answer, error) {
		actor, err := actorOf(r)
		if err != nil {
			return answer{}, err
		}

		if actor != (ports.Actor{}) {
			r = r.WithContext(ports.WithActor(r.Context(), actor))
		}

		return next(w, r)
	}
}

// insufficient tells which scope is missing, also as RFC 6750 section 3.1 says.
func (*edge) insufficient(w http.ResponseWriter, scope tenant.Scope) error {
	w.Header().Set("WWW-Authenticate", `Bearer realm="marketflow", error="insufficient_scope", scope="`+string(scope)+`"`)

	f := fault.Newf(fault.InsufficientScope, "This API key does not have the scope %s.", scope)
	f.RequiredScope = string(scope)

	return f
}

// caller is who asks.
type caller struct {
	secret tenant.Secret
	key    tenant.Key
	err    error
}

// callerOf is the key of a request. It is the zero Key where keys are not asked for.
func callerOf(ctx context.Context) tenant.Key { return exchangeOf(ctx).caller.key }

// tenantOf is whose payments and customers a request is about: the key's tenant, or the default
// one where keys are not asked for.
func tenantOf(r *http.Request) operation.Tenant {
	return cmp.Or(callerOf(r.Context()).Tenant, operation.DefaultTenant)
}

// identify says who asks, as far as memory tells. It comes before the request's span: whoever
// has no key leaves no trace, and cannot use up what the sampler allows.
func (e *edge) identify(r *http.Request) (c caller) {
	if e.access.Authenticate == nil || byProbe(r) || fromOutside(r) {
		return c
	}

	if c.secret, c.err = presented(r.Header); c.err == nil {
		c.key, c.err = e.access.Authenticate.Do(r.Context(), c.secret)
	}

	return c
}

// authenticate ends a request without a key that works. Only failures count against its
// address, and a key that works is served also from an address that has failed too often:
// many may share it.
func (e *edge) authenticate(r *http.Request) error {
	c := &exchangeOf(r.Context()).caller
	if c.err == nil || fault.KindOf(c.err) != fault.InvalidAPIKey {
		return c.err
	}

	if a := e.access.Failures.Allow(r.Context(), clientOf(r)); a.Denied {
		return fault.Wrap(rateLimited, c.err, "Too many requests without a valid API key from this address.").
			After(max(a.RetryAfter, time.Millisecond))
	}

	if c.secret == (tenant.Secret{}) {
		return c.err
	}

	c.key, c.err = e.access.Authenticate.Again(r.Context(), c.secret)

	return c.err
}

// presented is the key that a request carries: as a bearer token (RFC 6750 section 2.1), or
// as the user of Basic, without a password (RFC 7617), which is what curl -u sends.
func presented(h http.Header) (tenant.Secret, error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return tenant.Secret{}, fault.New(fault.InvalidAPIKey,
			"This needs an API key: send Authorization: Bearer mf_… (marketflow keys create makes one).")
	}

	scheme, credentials, _ := strings.Cut(values[0], " ")
	credentials = strings.TrimSpace(credentials)

	switch {
	case len(values) > 1:
		credentials = ""
	case strings.EqualFold(scheme, "Bearer"):
	case strings.EqualFold(scheme, "Basic"):
		credentials = userOf(credentials)
	default:
		credentials = ""
	}

	return tenant.ParseKey(credentials)
}

// userOf is the user of Basic credentials without a password; empty if they are others.
func userOf(credentials string) string {
	const most = 200 // a key is shorter

	if len(credentials) > most {
		return ""
	}

	text, err := base64.StdEncoding.DecodeString(credentials)
	user, password, _ := strings.Cut(string(text), ":")

	if err != nil || password != "" {
		return ""
	}

	return user
}
