package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	// DevSecretKey is the key that `marketflow dev` uses at its sandbox. Everybody
	// knows it, so nothing else accepts it.
	DevSecretKey = "sk_test_marketflow" //nolint:gosec // the sandbox's
	// publicPassword is that of docker-compose.yml's database.
	publicPassword = "marketflow"

	liveMode = "_live_"
	// minSecretKey: Stripe's oldest keys have 32 characters.
	minSecretKey = 20
	// minWebhookSecret is what Stripe's secrets have after whsec_.
	minWebhookSecret = 32
	maxSecret        = 512
)

const (
	kindSecret     = "a secret API key" //nolint:gosec // a name
	kindRestricted = "a restricted API key"
)

// kindOf says which of Stripe's keys and ids a value is; people mix them up.
func kindOf(value string) string {
	for _, kind := range []struct{ prefix, is string }{
		{"sk_org_", "the API key of an organization"},
		{"sk_", kindSecret},
		{"rk_", kindRestricted},
		{"pk_", "a publishable API key, which is for browsers"},
		{"whsec_", "a webhook's signing secret"},
		{"we_", "the id of a webhook endpoint"},
		{"acct_", "the id of an account"},
		{"evt_", "the id of an event"},
		{"pi_", "the id of a PaymentIntent"},
		{"ca_", "the id of a Connect application"},
	} {
		if strings.HasPrefix(value, kind.prefix) {
			return kind.is
		}
	}

	return ""
}

// Words of placeholders. In a real secret of Stripe one run of letters and digits
// follows the prefix, so it has none of these as a whole word.
var (
	stopgapWord = regexp.MustCompile(`(?i)(^|[^a-z0-9])(your|change|changeme|replace|replaceme|placeholder|` +
		`example|dummy|todo|fixme|insert|enter|paste|here|redacted|secret|key|x{3,})([^a-z0-9]|$)`)
	stopgapStart = regexp.MustCompile(`(?i)^(your|change|replace|placeholder|example|dummy|insert|paste|x{4,})`)
	// stopgapPassword matches the whole: a real password may contain such a word.
	stopgapPassword = regexp.MustCompile(`(?i)^(change[_-]?(me|this|it)|replace[_-]?(me|this)|` +
		`(your|my|the)[_-]?((db|database|redis|secret)[_-]?)?pass(word)?([_-]?here)?|password[_-]?here|` +
		`placeholder|todo|fixme|redacted|x{3,}|\*+|\.{3,}|…)$`)
	secretBody = regexp.MustCompile(`^[0-9A-Za-z_]*$`)
	// signingBody allows base64, which other programs that sign as Stripe does use.
	signingBody = regexp.MustCompile(`^[0-9A-Za-z_+/=-]*$`)
	lettersOnly = regexp.MustCompile(`[^0-9A-Za-z]+`)
)

// isStopgap tells whether body is a placeholder. It is what follows a secret's prefix,
// or the whole value where there is none.
func isStopgap(body string) bool {
	bare := lettersOnly.ReplaceAllString(body, "")

	return body != "" && (stopgapWord.MatchString(body) || stopgapStart.MatchString(body) ||
		bare == "" || strings.Trim(bare, bare[:1]) == "") // ..., ***, 0000
}

func (c Config) checkStripe(found *problems, dev bool) {
	if wrong := wrongSecretKey(c.StripeSecretKey.Reveal(), dev); wrong != "" {
		found.sayf(nameSecretKey, "%s", wrong)
	}

	if len(c.StripeWebhookSecrets) == 0 && len(c.SecretsKey) == 0 {
		found.sayf(nameWebhookSecret,
			"is not set; see https://dashboard.stripe.com/webhooks (or keep it in the database, with SECRETS_KEY)")
	}

	for i, secret := range c.StripeWebhookSecrets {
		if wrong := wrongWebhookSecret(secret.Reveal(), dev); wrong != "" {
			which := ""
			if len(c.StripeWebhookSecrets) > 1 {
				which = fmt.Sprintf("secret %d of %d ", i+1, len(c.StripeWebhookSecrets))
			}

			found.sayf(nameWebhookSecret, "%s%s", which, wrong)
		}
	}

	c.checkAPIBase(found)
}

func wrongSecretKey(key string, dev bool) string {
	const must = "it must begin with sk_test_, sk_live_, rk_test_ or rk_live_ (https://dashboard.stripe.com/apikeys)"

	mode, body := splitKey(key)
	kind := kindOf(key)

	switch {
	case key == "":
		return "is not set; see https://dashboard.stripe.com/apikeys"
	case key == DevSecretKey && dev:
		return ""
	case key == DevSecretKey:
		return "is the key of `marketflow dev`, which everybody knows; only dev accepts it"
	case isQuoted(key):
		return "is in quotes; write it without them"
	case kind != "" && kind != kindSecret && kind != kindRestricted:
		return "is " + kind + "; " + must
	case isStopgap(body):
		return "is a placeholder; set the real key, see https://dashboard.stripe.com/apikeys"
	case mode == "":
		return "is not a secret key of Stripe; " + must
	default:
		return wrongForm(key, secretBody.MatchString(body), len(key) < minSecretKey)
	}
}

// splitKey returns the mode, _test_ or _live_, or "" if key is not a secret key.
func splitKey(key string) (mode, body string) {
	for _, kind := range []string{"sk", "rk"} {
		for _, mode := range []string{"_test_", liveMode} {
			if body, ok := strings.CutPrefix(key, kind+mode); ok {
				return mode, body
			}
		}
	}

	return "", key
}

func wrongForm(secret string, wellFormed, short bool) string {
	switch {
	case !wellFormed:
		return "holds a space or another character that such a secret never has"
	case short:
		return "is too short; a part of it is missing"
	case len(secret) > maxSecret:
		return "is too long"
	default:
		return ""
	}
}

// CheckWebhookSecret says in clear words what is wrong with a webhook's signing secret, and
// nothing of it. Only dev takes secrets that everybody knows.
func CheckWebhookSecret(secret Secret, dev bool) error {
	if wrong := wrongWebhookSecret(secret.Reveal(), dev); wrong != "" {
		return errors.New("the secret " + wrong) //nolint:err113 // for a person
	}

	return nil
}

func wrongWebhookSecret(secret string, dev bool) string {
	const must = "it must begin with whsec_ (https://dashboard.stripe.com/webhooks)"

	body, ok := strings.CutPrefix(secret, "whsec_")

	switch {
	case secret == "": // It would accept events that anybody can sign.
		return "is empty; separate several by one comma"
	case isQuoted(secret):
		return "is in quotes; write it without them"
	case !ok && kindOf(secret) != "":
		return "is " + kindOf(secret) + "; " + must
	case !dev && strings.HasPrefix(strings.ToLower(body), "marketflow"):
		return "is a secret of MarketFlow's own, which everybody knows"
	case isStopgap(body):
		return "is a placeholder; set the real secret, see https://dashboard.stripe.com/webhooks"
	case !ok:
		return "is not a signing secret of Stripe; " + must
	default:
		return wrongForm(secret, signingBody.MatchString(body), len(body) < minWebhookSecret)
	}
}

// live tells whether the key moves real money.
func (c Config) live() bool {
	mode, _ := splitKey(c.StripeSecretKey.Reveal())

	return mode == liveMode
}

func (c Config) checkAPIBase(found *problems) {
	if c.StripeAPIBase == "" {
		return
	}

	const example = "http://localhost:12111; leave it empty for Stripe itself"

	u, wrong := parseURL(c.StripeAPIBase, example, "http", "https")

	switch {
	case wrong != "":
	case u.User != nil:
		wrong = "must not hold a user or password; the key belongs in STRIPE_SECRET_KEY"
	case u.RawQuery != "" || u.ForceQuery:
		wrong = "must not hold a query"
	case u.Scheme == "https":
	case strings.HasSuffix("."+u.Hostname(), ".stripe.com"):
		wrong = "must begin with https:// for Stripe; leave it empty"
	case c.live() && !isLoopback(u.Hostname()):
		wrong = "must begin with https://: a live key never goes over plain http to another machine"
	}

	if wrong != "" {
		found.sayf("STRIPE_API_BASE", "%s", wrong)
	}
}
