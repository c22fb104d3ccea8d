package sandbox

import (
	"net/http"
	"strings"
)

// authenticate accepts any test key, as Bearer token or as the user of Basic
// authentication, and refuses others in Stripe's words.
func authenticate(r *http.Request) *refusal {
	key := apiKey(r)

	switch {
	case key == "":
		return unauthorized("You did not provide an API key. You need to provide your API key in the Authorization " +
			"header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See " +
			"https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.")
	case strings.HasPrefix(key, "sk_test_"), strings.HasPrefix(key, "rk_test_"):
		return noAccount(r)
	case strings.HasPrefix(key, "pk_"):
		refusal := unauthorized("This API call cannot be made with a publishable API key. Please use a secret API key. " +
			"You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.")
		refusal.code = codeSecretKeyRequired

		return refusal
	default:
		return unauthorized("Invalid API Key provided: " + redact(key))
	}
}

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

// noAccount refuses Stripe-Account: the sandbox has no connected accounts.
func noAccount(r *http.Request) *refusal {
	account := r.Header.Get("Stripe-Account")
	if account == "" {
		return nil
	}

	return &refusal{
		status: http.StatusForbidden, kind: typeInvalidRequest, code: codeAccountInvalid,
		message: "The provided key '" + redact(apiKey(r)) + "' does not have access to account '" + account +
			"' (or that account does not exist). Application access may have been revoked.",
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
