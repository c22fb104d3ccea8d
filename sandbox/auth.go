package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// access is what a key opens, and what it may do there.
type access struct {
	key string
	// permissions are those of a restricted key; nil allows everything.
	permissions []string
	// publishable is true for the key of a customer's page.
	publishable bool
}

// authenticate finds the account that a request is for by its key and by
// Stripe-Account. It refuses others in Stripe's words.
func (s *Sandbox) authenticate(r *http.Request, key string) (*account, access, *refusal) {
	opened := s.opens[key]
	if opened == nil && isKey(key) && !isLive(key) {
		opened = s.home()
	}

	if opened == nil {
		return nil, access{}, badKey(key)
	}

	opened, refusal := opened.acting(r.Header.Get("Stripe-Account"), key)

	return opened, access{key: key, permissions: s.options.Restricted[key], publishable: isPublishable(key)}, refusal
}

func badKey(key string) *refusal {
	if key == "" {
		return unauthorized("You did not provide an API key. You need to provide your API key in the Authorization " +
			"header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See " +
			"https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.")
	}

	return unauthorized("Invalid API Key provided: " + redact(key))
}

// apiKey is the key in a request's header, as Bearer token or as the user of
// Basic authentication, or "".
func apiKey(r *http.Request) string {
	header := r.Header.Get("Authorization")

	scheme, token, _ := strings.Cut(header, " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}

	user, _, _ := r.BasicAuth()

	return user
}

func unauthorized(message string) *refusal {
	return &refusal{status: http.StatusUnauthorized, kind: typeInvalidRequest, message: message}
}

// acting is the account that Stripe-Account names: one's own, or one that is
// connected to it.
func (s *account) acting(id, key string) (*account, *refusal) {
	if id == "" || id == s.id {
		return s, nil
	}

	named := s.account(id, s.live)
	if named == nil || named.platform != s {
		return nil, noAccess(key, id)
	}

	return named, nil
}

// noAccess is the refusal for an account that a key does not open.
func noAccess(key, account string) *refusal {
	return &refusal{
		status: http.StatusForbidden, kind: typeInvalidRequest, code: codeAccountInvalid,
		message: "The provided key '" + redact(key) + "' does not have access to account '" + account +
			"' (or that account does not exist). Application access may have been revoked.",
	}
}

// Permissions of restricted keys are a resource of the API, or * for all, and
// one of these; writing includes reading.
const (
	resourceAccounts = "accounts"
	permissionRead   = ":read"
	permissionWrite  = ":write"
)

// checkRestricted refuses permissions that could never be asked for.
func checkRestricted(restricted map[string][]string) error {
	resources := map[string]bool{"*": true}
	for known := range routes {
		resources[permissionOf(known.resource)] = true
	}

	for key, permissions := range restricted {
		if !strings.HasPrefix(key, "rk_") {
			return fmt.Errorf("%w: only restricted keys, rk_…, have permissions", errAccounts)
		}

		for _, permission := range permissions {
			resource, kind, _ := strings.Cut(permission, ":")
			if !resources[resource] || (":"+kind != permissionRead && ":"+kind != permissionWrite) {
				return fmt.Errorf("%w: %q is no permission: write payment_intents:write, charges:read or *:read",
					errAccounts, permission)
			}
		}
	}

	return nil
}

// permissionOf is the resource that a permission names.
func permissionOf(resource string) string {
	if resource == objectAccount {
		return resourceAccounts
	}

	first, _, _ := strings.Cut(resource, ".")

	return first
}

// permitted tells what a restricted or publishable key lacks for the request. The caller knows
// that there is such an endpoint.
func (rq *request) permitted() *refusal {
	if rq.access.publishable {
		return rq.public()
	}

	if rq.access.permissions == nil {
		return nil
	}

	resource, _, _ := strings.Cut(strings.TrimPrefix(rq.path, "/v1/"), "/")
	resource = permissionOf(resource)
	allowed := func(kind string) bool {
		return slices.Contains(rq.access.permissions, resource+kind) || slices.Contains(rq.access.permissions, "*"+kind)
	}

	kind := permissionWrite
	if rq.method == http.MethodGet {
		kind = permissionRead
	}

	if allowed(kind) || allowed(permissionWrite) {
		return nil
	}

	return &refusal{
		status: http.StatusForbidden, kind: typeInvalidRequest,
		message: "The provided key '" + redact(rq.access.key) + "' does not have the required permissions for this " +
			"endpoint on account '" + rq.account.id + "'. Having the 'rak_" + strings.TrimSuffix(resource, "s") + "_" +
			kind[1:] + "' permission would allow this request to continue.",
	}
}

// redact shows as much of a key as Stripe does: its kind and last four.
func redact(key string) string {
	const (
		shownPrefix = len("sk_test_")
		shownSuffix = 4
	)

	if len(key) <= shownPrefix+shownSuffix {
		return strings.Repeat("*", len(key))
	}

	hidden := len(key) - shownPrefix - shownSuffix

	return key[:shownPrefix] + strings.Repeat("*", hidden) + key[len(key)-shownSuffix:]
}
