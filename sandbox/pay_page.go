package sandbox

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// payPath is where the customer of a payment or setup intent pays, as on a shop's
// page with Stripe.js: /pay/pi_…?client_secret=…&return_url=….
const payPath = "/pay/"

// checkout is what a customer sees of a payment or setup intent.
type checkout struct {
	account *account
	isSetup bool

	ID, Secret, Status, Description, Amount string
	Types                                   []string
	Later                                   *payLater // whom the customer is sent to
	Action                                  *nextAction
	LastError                               *paymentError
}

// checkout finds what a customer with its secret may see; nil where there is
// nothing.
func (s *Sandbox) checkout(id, secret string) *checkout {
	found := s.findCheckout(id)
	if found == nil || secret != found.Secret {
		return nil
	}

	return found
}

func (s *Sandbox) findCheckout(id string) *checkout {
	if a, k := s.setupAnywhere(id); k != nil {
		i := k.now()

		return &checkout{
			account: a, isSetup: true, ID: i.ID, Secret: i.Secret, Status: i.Status, Description: i.Description, Types: i.Types,
			Action: i.Action, LastError: i.LastError,
		}
	}

	a, pay := s.paymentAnywhere(id)
	if pay == nil {
		return nil
	}

	pay.mu.Lock()
	i := pay.intent
	pay.mu.Unlock()

	found := &checkout{
		account: a, ID: i.ID, Secret: i.Secret, Status: i.Status, Description: i.Description, Types: i.Types, Action: i.Action,
		LastError: i.LastError, Amount: pageMoney(i.Amount, i.Currency),
	}

	if i.Method != nil {
		found.Later = i.Method.card().later
	}

	return found
}

// page is where the intent's customer can pay; empty where there is nothing to pay.
func (i *paymentIntent) page() string {
	if !slices.Contains(updatable, i.Status) {
		return ""
	}

	return payURL(i.ID, i.Secret)
}

func payURL(id, secret string) string {
	return payPath + id + "?client_secret=" + url.QueryEscape(secret)
}

// isOpen tells whether a payment method can be tried now.
func (c *checkout) isOpen() bool { return slices.Contains(updatable, c.Status) }

// outcome is the redirect_status that Stripe appends.
func (c *checkout) outcome() string {
	switch c.Status {
	case statusSucceeded, statusRequiresCapture, statusRequiresConfirmation: // the last: the server confirms again
		return statusSucceeded
	case statusProcessing:
		return refundPending
	default:
		return statusFailed
	}
}

// back is where the customer goes back to, with what Stripe appends.
func (c *checkout) back(to string) string {
	target, err := url.Parse(to)
	if err != nil {
		return to // it was parsed when it came
	}

	kind := objectIntent
	if c.isSetup {
		kind = objectSetup
	}

	query := target.Query()
	query.Set(kind, c.ID)
	query.Set(kind+"_client_secret", c.Secret)
	query.Set("redirect_status", c.outcome())
	target.RawQuery = query.Encode()

	return target.String()
}

// cardChoice is a test payment method that the page offers.
type cardChoice struct{ Name, Label, Does string }

// choiceGroup is what the page offers under one heading.
type choiceGroup struct {
	Title   string
	Choices []cardChoice
}

// choices are what the page offers for an intent. Everything else is in a list of
// names.
func (c *checkout) choices() []choiceGroup {
	cards := []choiceGroup{
		{"Works", []cardChoice{
			choice("pm_card_visa", ""), choice("pm_card_mastercard", ""), choice("pm_card_amex", ""),
		}},
		{"Asks for 3-D Secure", []cardChoice{
			choice("pm_card_authenticationRequired", "every time"),
			choice("pm_card_authenticationRequiredOnSetup", "until it has been set up"),
			choice("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "then has insufficient funds"),
		}},
		{"Is declined", []cardChoice{
			choice("pm_card_chargeDeclined", "without a reason"),
			choice("pm_card_chargeDeclinedInsufficientFunds", "insufficient funds"),
			choice("pm_card_chargeDeclinedExpiredCard", "expired"), choice("pm_card_chargeDeclinedIncorrectCvc", "wrong security code"),
			choice("pm_card_chargeDeclinedProcessingError", "processing error"),
		}},
	}

	if !c.isSetup {
		cards = append(cards, choiceGroup{"Works, with a sequel", []cardChoice{
			choice("pm_card_createDispute", "is disputed"), choice("pm_card_refundFail", "its refund fails"),
		}})
	}

	if !slices.Contains(c.Types, typeOfCards) {
		cards = nil
	}

	later := choiceGroup{Title: "Pays later"}

	for _, each := range payLaters {
		if slices.Contains(c.Types, each.kind) {
			later.Choices = append(later.Choices, choice("pm_"+each.kind, "asks on its own page"))
		}
	}

	if later.Choices != nil {
		cards = append(cards, later)
	}

	if slices.Contains(c.Types, typeOfBank) {
		cards = append(cards, choiceGroup{"Bank account, takes days", []cardChoice{
			choice("pm_usBankAccount_success", "then pays"), choice("pm_usBankAccount_insufficientFunds", "then has insufficient funds"),
			choice("pm_usBankAccount_processing", "is processed for ever"),
		}})
	}

	return cards
}

func choice(name, does string) cardChoice {
	card := testCards[name]

	switch {
	case card.bank != nil:
		return cardChoice{Name: name, Label: "Bank •••• " + card.bank.last4, Does: does}
	case card.later != nil:
		return cardChoice{Name: name, Label: card.later.Name, Does: does}
	}

	brand := strings.Replace(tokenBrands[card.brand], "MasterCard", "Mastercard", 1) // as it writes itself today

	return cardChoice{Name: name, Label: brand + " •••• " + card.last4, Does: does}
}

// otherChoices are the names of all test cards that the intent takes.
func (c *checkout) otherChoices() []string {
	names := slices.Sorted(maps.Keys(testCards))

	return slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, "tok_") || !slices.Contains(c.Types, testCards[name].methodType())
	})
}

// servePay shows an intent to its customer and takes the payment method.
func (s *Sandbox) servePay(w http.ResponseWriter, r *http.Request) {
	c := s.checkout(r.PathValue("id"), r.FormValue("client_secret"))
	if c == nil {
		s.showPage(w, http.StatusNotFound, "nothing", nil)

		return
	}

	to := r.FormValue("return_url")
	if u, err := url.Parse(to); to != "" && (err != nil || !isWeb(u)) {
		http.Error(w, "return_url must be an address that begins with http:// or https://", http.StatusBadRequest)

		return
	}

	if r.Method != http.MethodPost {
		s.showCheckout(w, http.StatusOK, c, to, "")

		return
	}

	answer := c.confirm(r, to)
	c = s.findCheckout(c.ID)

	switch failure, failed := answer.body.(*refusal); {
	case answer.fault != nil:
		s.showCheckout(w, http.StatusBadGateway, c, to, "The answer was spoilt by a fault rule. See below how it stands.")
	case failed:
		s.showCheckout(w, answer.status, c, to, failure.message)
	case c.Action != nil:
		http.Redirect(w, r, c.Action.URL, http.StatusSeeOther)
	default:
		// It is Stripe's return_url, and who sends it knows the client secret.
		http.Redirect(w, r, c.back(orDefault(to, c.page())), http.StatusSeeOther) //nolint:gosec // see above
	}
}

func (c *checkout) page() string { return payURL(c.ID, c.Secret) }

// confirm confirms the intent as Stripe.js would, with a publishable key.
func (c *checkout) confirm(r *http.Request, to string) reply {
	name := r.PostFormValue("payment_method")
	if name == "other" {
		name = r.PostFormValue("other")
	}

	path := intentsURL
	if c.isSetup {
		path = setupsURL
	}

	form := url.Values{
		"client_secret": {c.Secret}, objectMethod: {name},
		"return_url": {orDefault(to, c.account.baseURL(r)+c.page())},
	}

	return c.account.asCustomer(r, path+"/"+c.ID+"/confirm", form)
}

// asCustomer carries out what a customer's page asks the API for.
func (s *account) asCustomer(r *http.Request, path string, form url.Values) reply {
	parsed, refusal := parseForm(form.Encode())
	rq := &request{
		id: newRequestID(), method: http.MethodPost, path: path, sandbox: s.Sandbox, baseURL: s.baseURL(r), account: s,
		params: newParams(parsed), access: access{publishable: true},
	}

	if refusal != nil {
		return rq.refuse(refusal)
	}

	return s.serve(rq, r)
}

func (s *Sandbox) showCheckout(w http.ResponseWriter, status int, c *checkout, to, failure string) {
	if failure == "" && c.isOpen() && c.LastError != nil {
		failure = c.LastError.Message
	}

	view := map[string]any{
		"Intent": c, "IsSetup": c.isSetup, "Open": c.isOpen(), "Error": failure, "ReturnURL": to, "Groups": c.choices(),
		"Others": c.otherChoices(), "Outcome": c.outcome(),
	}

	if to != "" && !c.isOpen() {
		view["Back"] = c.back(to)
	}

	s.showPage(w, status, "pay", view)
}

// serveAuthenticate is the page at an intent's next_action URL, where the customer
// approves or declines.
func (s *Sandbox) serveAuthenticate(w http.ResponseWriter, r *http.Request) {
	before := s.checkout(r.PathValue("id"), r.FormValue("client_secret"))
	if before == nil {
		s.showPage(w, http.StatusNotFound, "nothing", nil)

		return
	}

	if r.Method == http.MethodPost && before.Action != nil {
		if err := s.Authenticate(before.ID, r.PostFormValue("result") == "approve"); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)

			return
		}

		if to := before.Action.ReturnURL; to != "" {
			http.Redirect(w, r, s.findCheckout(before.ID).back(to), http.StatusSeeOther)

			return
		}
	}

	c := s.findCheckout(before.ID)
	s.showPage(w, http.StatusOK, "authenticate", map[string]any{"Intent": c, "IsSetup": c.isSetup})
}

func (s *Sandbox) showPage(w http.ResponseWriter, status int, name string, view map[string]any) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer") // the address has the client secret
	w.WriteHeader(status)

	if err := customerPages.ExecuteTemplate(w, name, view); err != nil {
		s.log.Debug("the client hung up before its page", "error", err)
	}
}

// isWeb tells whether an address is one that browsers go to.
func isWeb(u *url.URL) bool { return u.Scheme == "http" || u.Scheme == "https" }
