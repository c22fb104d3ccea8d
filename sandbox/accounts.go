package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultAccount is the account that every test key opens where Options.Accounts
// names none. Its id is fixed, so that a sandbox that starts anew is still the
// account that a client has come to know.
const DefaultAccount = "acct_1SandboxPayments"

// Account is a Stripe account with books of its own: objects, events, webhook
// endpoints and idempotency keys.
type Account struct {
	// ID begins with acct_.
	ID string
	// Keys are its secret keys: sk_test_… and, for live mode, sk_live_…, restricted
	// ones, rk_…, and publishable ones, pk_…. Live mode has books apart from those of test mode.
	Keys []string
	// Platform is the account that this one is connected to, whose keys may act
	// for it through the Stripe-Account header. Empty: none.
	Platform string
}

var errAccounts = errors.New("accounts")

// account is one mode, test or live, of a Stripe account.
type account struct {
	*Sandbox

	id       string
	live     bool
	platform *account // of the same mode; nil where it is connected to none

	books    *books
	keys     *idempotency
	webhooks *webhooks

	ledger  ledger
	waiting waitingRefunds
}

// openAccounts makes the accounts that the options name. The first is the one
// of every test key that no account lists.
func (s *Sandbox) openAccounts() error {
	named := s.options.Accounts
	if len(named) == 0 {
		named = []Account{{ID: DefaultAccount}}
	}

	if err := checkAccounts(named, s.options.Restricted); err != nil {
		return err
	}

	for _, each := range named {
		for _, live := range []bool{false, true} {
			made := &account{Sandbox: s, id: each.ID, live: live, books: newBooks(), keys: newIdempotency(s.clock)}
			made.webhooks = newWebhooks(made)
			s.accounts = append(s.accounts, made)
		}

		for _, key := range each.Keys {
			s.opens[key] = s.account(each.ID, isLive(key))
		}
	}

	for _, each := range named {
		for _, live := range []bool{false, true} {
			s.account(each.ID, live).platform = s.account(each.Platform, live)
		}
	}

	return nil
}

func checkAccounts(named []Account, restricted map[string][]string) error {
	ids, keys := map[string]bool{}, map[string]bool{}

	for _, each := range named {
		if !strings.HasPrefix(each.ID, "acct_") || ids[each.ID] || strings.ContainsAny(each.ID, "/:.") {
			return fmt.Errorf("%w: %q is no id of an account, or named twice", errAccounts, each.ID)
		}

		ids[each.ID] = true

		for _, key := range each.Keys {
			if !isKey(key) || keys[key] {
				return fmt.Errorf("%w: the keys of %s must begin with sk_test_, sk_live_, rk_test_, rk_live_, pk_test_ or "+
					"pk_live_, and be listed once", errAccounts, each.ID)
			}

			keys[key] = true
		}
	}

	for _, each := range named {
		if each.Platform != "" && (!ids[each.Platform] || each.Platform == each.ID) {
			return fmt.Errorf("%w: the platform of %s, %q, is no other account here", errAccounts, each.ID, each.Platform)
		}
	}

	return checkRestricted(restricted)
}

// isKey tells whether a text has the form of a secret, restricted or publishable key.
func isKey(key string) bool {
	kinds := []string{"sk_test_", "sk_live_", "rk_test_", "rk_live_", "pk_test_", "pk_live_"}

	return slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(key, kind) && len(key) > len(kind) })
}

func isLive(key string) bool { return strings.HasPrefix(key[len("sk"):], "_live_") }

// account returns one mode of an account, or nil.
func (s *Sandbox) account(id string, live bool) *account {
	index := slices.IndexFunc(s.accounts, func(a *account) bool { return a.id == id && a.live == live })
	if index < 0 {
		return nil
	}

	return s.accounts[index]
}

// home is the test mode of the account that test keys open by default.
func (s *Sandbox) home() *account { return s.accounts[0] }

// hasKey tells whether one of the configured keys opens the account.
func (s *account) hasKey() bool {
	for _, opens := range s.opens {
		if opens == s {
			return true
		}
	}

	return false
}

// scope begins the account's keys in the state file. The default account has
// none: its objects are found as they were before there were others.
func (s *account) scope() string {
	switch {
	case s.live:
		return s.id + ".live:"
	case s.id == DefaultAccount:
		return ""
	default:
		return s.id + ".test:"
	}
}

// paymentAnywhere finds a payment in whichever account it is; nil where it is in
// none.
func (s *Sandbox) paymentAnywhere(intentID string) (*account, *payment) {
	for _, a := range s.accounts {
		if pay, ok := a.books.payments.get(intentID); ok {
			return a, pay
		}
	}

	return nil, nil
}

// eventAnywhere finds an event in whichever account it is, or nil.
func (s *Sandbox) eventAnywhere(id string) *event {
	for _, a := range s.accounts {
		if e, ok := a.books.events.get(id); ok {
			return e
		}
	}

	return nil
}

// getOwnAccount is GET /v1/account: the account that the key opens, or that
// Stripe-Account names.
func (s *account) getOwnAccount(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	rq.body = s

	return nil
}

// getAccount is GET /v1/accounts/:id: one's own, or one that is connected.
func (s *account) getAccount(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	found := s.account(rq.objectID, s.live)
	if found != s && (found == nil || found.platform != s) {
		return noAccess(rq.access.key, rq.objectID)
	}

	rq.body = found

	return nil
}

// listAccounts is GET /v1/accounts: those that are connected to one's own.
func (s *account) listAccounts(rq *request) *refusal {
	var items []shelved[*account]

	for _, a := range s.accounts {
		if a.platform == s {
			items = append(items, shelved[*account]{id: a.id, created: accountsCreated, object: a})
		}
	}

	return list(rq, listing[*account]{
		kind: objectAccount, url: "/v1/" + resourceAccounts, items: items,
		position: func(id string) (int, bool) {
			index := slices.IndexFunc(items, func(item shelved[*account]) bool { return item.id == id })

			return index, index >= 0
		},
		show: func(w *jsonWriter, a *account, _ expansion) { a.writeJSON(w) },
	})
}

// accountsCreated is when every account was made: the day of the API version.
const accountsCreated = 1697414400

// writeJSON writes the Account. It has no livemode, as at Stripe: both modes
// are one account.
func (s *account) writeJSON(w *jsonWriter) {
	w.beginObject()
	w.str("id", s.id)
	w.str("object", objectAccount)
	s.writeBusiness(w)
	w.object("capabilities")
	w.str("card_payments", "active")
	w.str("transfers", "active")
	w.endObject()
	w.boolean("charges_enabled", true)
	w.object("controller")
	w.str("type", "account")
	w.endObject()
	w.str("country", "US")
	w.num("created", accountsCreated)
	w.str("default_currency", defaultCurrency)
	w.boolean("details_submitted", true)
	w.str("email", "sandbox@example.com")
	w.object("external_accounts")
	w.str("object", "list")
	w.array("data")
	w.endArray()
	w.boolean("has_more", false)
	w.str("url", "/v1/accounts/"+s.id+"/external_accounts")
	w.endObject()
	writeRequirements(w, "future_requirements")
	w.emptyObject("metadata")
	w.boolean("payouts_enabled", true)
	writeRequirements(w, "requirements")
	s.writeSettings(w)
	w.object("tos_acceptance")
	w.null("date")
	w.null("ip")
	w.null("user_agent")
	w.endObject()
	w.str("type", "standard")
	w.endObject()
}

func (s *account) writeBusiness(w *jsonWriter) {
	w.object("business_profile")

	for _, field := range []string{
		"annual_revenue", "estimated_worker_count", "mcc", "name", "product_description", "support_address",
		"support_email", "support_phone", "support_url", "url",
	} {
		w.null(field)
	}

	w.endObject()
	w.null("business_type")
}

// writeRequirements writes that nothing is asked of the account.
func writeRequirements(w *jsonWriter, name string) {
	w.object(name)

	for _, field := range []string{"alternatives", "currently_due", "errors", "eventually_due", "past_due", "pending_verification"} {
		w.array(field)
		w.endArray()
	}

	w.null("current_deadline")
	w.null("disabled_reason")
	w.endObject()
}

func (s *account) writeSettings(w *jsonWriter) {
	w.object("settings")
	w.object("bacs_debit_payments")
	w.endObject()
	w.object("branding")
	w.null("icon")
	w.null("logo")
	w.null("primary_color")
	w.null("secondary_color")
	w.endObject()
	w.object("card_issuing")
	w.object("tos_acceptance")
	w.null("date")
	w.null("ip")
	w.endObject()
	w.endObject()
	w.object("card_payments")
	w.null("statement_descriptor_prefix")
	w.null("statement_descriptor_prefix_kana")
	w.null("statement_descriptor_prefix_kanji")
	w.endObject()
	w.object("dashboard")
	w.str("display_name", "Sandbox")
	w.str("timezone", "Etc/UTC")
	w.endObject()
	w.object("payments")
	w.str("statement_descriptor", "SANDBOX")
	w.null("statement_descriptor_kana")
	w.null("statement_descriptor_kanji")
	w.endObject()
	w.object("payouts")
	w.boolean("debit_negative_balances", false)
	w.object("schedule")
	w.num("delay_days", int64(settlement.Hours()/hoursOfDay))
	w.str("interval", "daily")
	w.endObject()
	w.null("statement_descriptor")
	w.endObject()
	w.emptyObject("sepa_debit_payments")
	w.endObject()
}
