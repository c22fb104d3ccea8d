package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Statuses of a PaymentIntent (Stripe, "How PaymentIntents work").
const (
	statusRequiresPaymentMethod = "requires_payment_method"
	statusRequiresConfirmation  = "requires_confirmation"
	statusRequiresAction        = "requires_action"
	statusRequiresCapture       = "requires_capture"
	statusProcessing            = "processing"
	statusSucceeded             = "succeeded"
	statusCanceled              = "canceled"
	statusFailed                = "failed"
)

// Values of capture_method, confirmation_method and allow_redirects.
const (
	captureAutomatic      = "automatic"
	captureAutomaticAsync = "automatic_async"
	captureManual         = "manual"
	confirmAutomatic      = "automatic"
	confirmManual         = "manual"
	redirectsAlways       = "always"
	redirectsNever        = "never"
	secureAutomatic       = "automatic"
)

// intentsURL is where payment intents are made and listed.
const intentsURL = "/v1/payment_intents"

// typeOfCards is the usual type of payment methods.
const typeOfCards = "card"

// paymentIntent is one version of a PaymentIntent.
type paymentIntent struct {
	intentText
	methodTypes

	ID                 string
	Seq                int64
	Secret             string
	Amount             int64
	AmountCapturable   int64
	AmountReceived     int64
	Currency           string
	Status             string
	Live               bool
	Created            int64
	Customer           string `json:"customer,omitempty"`
	CanceledAt         int64
	CancellationReason string
	CaptureMethod      string
	ConfirmationMethod string
	Method             *paymentMethod
	LatestCharge       string
	LastError          *paymentError
	Metadata           metadata
	Action             *nextAction
	// OffSession is true where the last confirmation was the merchant's alone.
	OffSession bool `json:"off_session,omitempty"`
	// Authenticated is true between a passed 3-D Secure and the second
	// confirmation of an intent that is confirmed by hand.
	Authenticated bool
	// Failures counts the confirmations that failed.
	Failures int `json:"failures,omitempty"`
	// Key is the Idempotency-Key that created it: for the books, not the API.
	Key string
}

// methodTypes are the payment methods that an intent takes.
type methodTypes struct {
	// Redirects is automatic_payment_methods[allow_redirects], or empty
	// where the intent lists its payment method types itself.
	Redirects string
	Types     []string
}

// intentText is what an intent only carries and hands back.
type intentText struct {
	Description      string
	ReceiptEmail     string
	Descriptor       string
	DescriptorSuffix string
	FutureUsage      string
	TransferGroup    string
	Request3DS       string
	Shipping         *shipping
}

// paymentError is an intent's last_payment_error.
type paymentError struct {
	Kind        string
	Code        string
	DeclineCode string
	Message     string
	Charge      string
	Method      *paymentMethod
}

// nextAction is where the customer proves who they are.
type nextAction struct {
	URL       string
	ReturnURL string
}

func (i *paymentIntent) writeJSON(w *jsonWriter) { i.write(w, view{}) }

func (i *paymentIntent) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", i.ID)
	w.str("object", objectIntent)
	w.num("amount", i.Amount)
	w.num("amount_capturable", i.AmountCapturable)
	w.object("amount_details")
	w.emptyObject("tip")
	w.endObject()
	w.num("amount_received", i.AmountReceived)
	w.null("application")
	w.null("application_fee_amount")
	i.writeAutomaticMethods(w)
	w.numOrNull("canceled_at", i.CanceledAt)
	w.strOrNull("cancellation_reason", i.CancellationReason)
	w.str("capture_method", i.CaptureMethod)
	w.str("client_secret", i.Secret)
	w.str("confirmation_method", i.ConfirmationMethod)
	w.num("created", i.Created)
	w.str("currency", i.Currency)
	v.ref(w, objectCustomer, i.Customer)
	w.strOrNull("description", i.Description)
	w.null("invoice")
	i.LastError.write(w, "last_payment_error")
	v.ref(w, latestCharge, i.LatestCharge)
	w.boolean("livemode", i.Live)
	i.Metadata.write(w)
	i.Action.write(w)
	w.null(onBehalfOf)
	v.ref(w, objectMethod, i.methodID())
	w.null("payment_method_configuration_details")
	i.writeMethodOptions(w)
	w.strings("payment_method_types", i.Types)
	w.null("processing")
	w.strOrNull("receipt_email", i.ReceiptEmail)
	w.null("review")
	w.strOrNull("setup_future_usage", i.FutureUsage)
	i.Shipping.write(w)
	w.null("source")
	w.strOrNull("statement_descriptor", i.Descriptor)
	w.strOrNull("statement_descriptor_suffix", i.DescriptorSuffix)
	w.str("status", i.Status)
	w.null("transfer_data")
	w.strOrNull("transfer_group", i.TransferGroup)
	w.endObject()
}

func (i *paymentIntent) methodID() string {
	if i.Method == nil {
		return ""
	}

	return i.Method.ID
}

func (t *methodTypes) writeAutomaticMethods(w *jsonWriter) {
	if t.Redirects == "" {
		w.null("automatic_payment_methods")

		return
	}

	w.object("automatic_payment_methods")
	w.str("allow_redirects", t.Redirects)
	w.boolean("enabled", true)
	w.endObject()
}

func (e *paymentError) write(w *jsonWriter, name string) {
	if e == nil {
		w.null(name)

		return
	}

	w.object(name)
	writeIfSet(w, "charge", e.Charge)
	w.str("code", e.Code)
	writeIfSet(w, "decline_code", e.DeclineCode)
	w.str("doc_url", docsOf(e.Code))
	w.str("message", e.Message)

	if e.Method != nil {
		w.doc(objectMethod, e.Method)
	}

	w.str("type", e.Kind)
	w.endObject()
}

func (a *nextAction) write(w *jsonWriter) {
	if a == nil {
		w.null("next_action")

		return
	}

	w.object("next_action")

	if a.ReturnURL == "" {
		w.str("type", "use_stripe_sdk")
		w.object("use_stripe_sdk")
		w.str("stripe_js", a.URL)
		w.str("type", "three_d_secure_redirect")
	} else {
		w.object("redirect_to_url")
		w.str("return_url", a.ReturnURL)
		w.str("url", a.URL)
		w.endObject()
		w.str("type", "redirect_to_url")
	}

	if a.ReturnURL == "" {
		w.endObject()
	}

	w.endObject()
}

func (i *paymentIntent) writeMethodOptions(w *jsonWriter) {
	w.object("payment_method_options")

	for _, later := range payLaters {
		if slices.Contains(i.Types, later.kind) {
			later.writeOptions(w)
		}
	}

	if slices.Contains(i.Types, typeOfBank) {
		w.object(typeOfBank)
		w.str("verification_method", "automatic")
		w.endObject()
	}

	if slices.Contains(i.Types, typeOfCards) {
		w.object("card")
		w.null("installments")
		w.null("mandate_options")
		w.null("network")
		w.str("request_three_d_secure", i.Request3DS)
		w.endObject()
	}

	w.endObject()
}

// intentParams is what create, update and confirm read beside the amount.
type intentParams struct {
	method     methodChoice
	returnURL  string
	offSession bool
	errorOn3DS bool
}

// createPaymentIntent is POST /v1/payment_intents.
func (s *account) createPaymentIntent(rq *request) *refusal {
	p := rq.params
	intent := &paymentIntent{Status: statusRequiresPaymentMethod}

	readNewIntent(p, intent)

	confirm, _ := p.boolean("confirm")
	with := readConfirmation(p)

	if !confirm {
		refuseWithoutConfirm(p)
	}

	if r := rq.finish(); r != nil {
		return r
	}

	if r := s.checkCustomer(intent.Customer); r != nil {
		return r
	}

	if with.method.sent() {
		method, r := s.findMethod(rq, with.method, intent.Customer, speaksOfPayment)
		if r != nil {
			return r
		}

		intent.Method, intent.Status = method, statusRequiresConfirmation
	}

	if confirm {
		if r := checkConfirmable(intent, with); r != nil {
			return r
		}
	}

	pay := s.open(rq, intent)

	if confirm {
		if r := s.confirm(rq, pay, with); r != nil {
			return r
		}
	}

	rq.answer(pay, pay.intent)

	return nil
}

// open enters a new intent into the books, locked until the request is done.
func (s *account) open(rq *request, intent *paymentIntent) *payment {
	intent.ID = newID("pi_3")
	intent.Secret = newClientSecret(intent.ID)
	intent.Created, intent.Seq = s.clock.seconds(), s.books.sequence.Add(1)
	intent.Key, intent.Live = rq.idempotencyKey, s.live

	pay := &payment{intent: intent}
	rq.change(pay)
	s.keepMethod(pay, intent.Method)
	s.books.payments.add(intent.ID, intent.Created, pay)
	rq.emit("payment_intent.created", intent, nil)

	return pay
}

// keepMethod enters a payment method into the books when it is new.
func (s *account) keepMethod(pay *payment, method *paymentMethod) {
	if method == nil {
		return
	}

	if _, known := s.books.wallet.methods.get(method.ID); known {
		return
	}

	m := &keptMethod{}
	m.version.Store(method)

	pay.methods = append(pay.methods, method)
	s.books.wallet.methods.add(method.ID, method.Created, m)
}

func readNewIntent(p *params, intent *paymentIntent) {
	amount, sent := p.integer("amount")
	if !sent {
		p.required("amount")
	}

	currency, rule := readCurrency(p)

	if sent && rule.step != 0 {
		if r := checkAmount(amount, currency, rule, "amount"); r != nil {
			p.refuse(r)
		}
	}

	intent.Amount, intent.Currency = amount, currency
	intent.CaptureMethod = captureAutomatic
	readCaptureMethod(p, intent)

	intent.ConfirmationMethod = orDefault(p.oneOf("confirmation_method", confirmAutomatic, confirmManual),
		confirmAutomatic)
	intent.Metadata = readMetadata(p, nil)

	readMethodTypes(p, &intent.methodTypes)
	readIntentText(p, &intent.intentText)
	intent.Customer = p.text(objectCustomer)
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}

	return value
}

// readMethodTypes decides between payment_method_types and
// automatic_payment_methods. Since API version 2023-08-16 an intent that names
// neither has the latter.
func readMethodTypes(p *params, intent *methodTypes) {
	readTypes(p, intent)

	automatic := p.child("automatic_payment_methods")
	if automatic == nil {
		if intent.Types == nil {
			intent.Redirects, intent.Types = redirectsAlways, []string{typeOfCards}
		}

		return
	}

	if !automatic.has("enabled") {
		automatic.required("enabled")
	}

	enabled, _ := automatic.boolean("enabled")
	redirects := automatic.oneOf("allow_redirects", redirectsAlways, redirectsNever)

	if enabled && intent.Types != nil {
		p.refuse(invalid("You may only specify one of these parameters: automatic_payment_methods, payment_method_types.",
			"payment_method_types", codeParametersExclusive))
	}

	if enabled {
		intent.Redirects = orDefault(redirects, redirectsAlways)
	}

	if intent.Types == nil {
		intent.Types = []string{typeOfCards}
	}
}

// readTypes reads payment_method_types, which take the place of automatic ones.
func readTypes(p *params, intent *methodTypes) {
	if !p.has("payment_method_types") {
		return
	}

	intent.Types, intent.Redirects = p.list("payment_method_types"), ""
	for _, kind := range intent.Types {
		if kind != typeOfCards && kind != typeOfBank && payLaterOf(kind) == nil {
			p.refuse(invalid("The sandbox knows the payment method types card, us_bank_account, klarna, affirm and "+
				"afterpay_clearpay only, not "+kind+".", "payment_method_types", ""))
		}
	}
}

// readCaptureMethod reads capture_method where it was sent.
func readCaptureMethod(p *params, intent *paymentIntent) {
	asked := p.oneOf("capture_method", captureAutomatic, captureAutomaticAsync, captureManual)
	intent.CaptureMethod = orDefault(asked, intent.CaptureMethod)
}

func readIntentText(p *params, text *intentText) {
	text.Request3DS = orDefault(text.Request3DS, secureAutomatic)

	setText(p, "description", &text.Description)
	setText(p, "transfer_group", &text.TransferGroup)
	readDescriptors(p, text)
	readCheckout(p, text)
}

// readCheckout reads what a confirmation may say as well as create and update.
func readCheckout(p *params, text *intentText) {
	setText(p, "receipt_email", &text.ReceiptEmail)

	if p.has("setup_future_usage") {
		text.FutureUsage = p.oneOf("setup_future_usage", usageOffSession, usageOnSession)
	}

	if card := p.child("payment_method_options").child("card"); card != nil {
		if asked := card.oneOf("request_three_d_secure", "any", secureAutomatic, "challenge"); asked != "" {
			text.Request3DS = asked
		}
	}

	if p.has("shipping") {
		text.Shipping = readShipping(p.child("shipping"))
	}
}

// setText takes a parameter over where it was sent; an empty one unsets.
func setText(p *params, name string, into *string) {
	if value, sent := p.textOrEmpty(name); sent {
		*into = value
	}
}

// readConfirmation reads what tells how an intent is confirmed.
func readConfirmation(p *params) intentParams {
	with := intentParams{method: readMethod(p), returnURL: readReturnURL(p)}

	// off_session is true, false, one_off or recurring.
	switch off := p.oneOf("off_session", textTrue, textFalse, "one_off", "recurring"); off {
	case "", textFalse:
	default:
		with.offSession = true
	}

	with.errorOn3DS, _ = p.boolean("error_on_requires_action")

	readMandate(p)

	// Either page works: the sandbox has but one.
	p.boolean("use_stripe_sdk")

	return with
}

// readReturnURL reads where the customer goes back to, a page or an app.
func readReturnURL(p *params) string {
	text := p.text("return_url")
	if u, err := url.Parse(text); text != "" && (err != nil || u.Scheme == "") {
		p.refuse(invalid("Not a valid URL", "return_url", codeURLInvalid))
	}

	return text
}

// refuseWithoutConfirm refuses parameters that only make sense with confirm.
func refuseWithoutConfirm(p *params) {
	for _, name := range []string{"return_url", "off_session", "error_on_requires_action"} {
		if p.has(name) {
			p.refuse(invalid("The parameter `"+name+"` cannot be passed when creating a PaymentIntent unless "+
				"`confirm` is set to true.", name, ""))
		}
	}
}

// getPaymentIntent is GET /v1/payment_intents/:id.
func (s *account) getPaymentIntent(rq *request) *refusal {
	secret := rq.readSecret()

	if r := rq.finish(); r != nil {
		return r
	}

	pay, r := s.findPayment(rq.objectID)
	if r != nil {
		return r
	}

	rq.read(pay)

	if secret != "" && secret != pay.intent.Secret {
		return wrongSecret(speaksOfPayment)
	}

	rq.answer(pay, pay.intent)

	return nil
}

func (s *account) findPayment(id string) (*payment, *refusal) {
	pay, ok := s.books.payments.get(id)
	if !ok {
		return nil, missing(objectIntent, id, "intent")
	}

	return pay, nil
}

// confirmPaymentIntent is POST /v1/payment_intents/:id/confirm.
func (s *account) confirmPaymentIntent(rq *request) *refusal {
	secret := rq.readSecret()
	with := readConfirmation(rq.params)

	// Read first onto an intent that is thrown away, as for an update.
	readConfirmed(rq.params, &paymentIntent{})

	if r := rq.finish(); r != nil {
		return r
	}

	pay, r := s.findPayment(rq.objectID)
	if r != nil {
		return r
	}

	rq.change(pay)

	if r := rq.checkConfirm(pay.intent, secret); r != nil {
		return r
	}

	next := *pay.intent
	readConfirmed(rq.params, &next)

	if r := s.chooseMethod(rq, &next, with.method); r != nil {
		return r
	}

	if r := checkConfirmable(&next, with); r != nil {
		return r
	}

	s.keepMethod(pay, next.Method)
	pay.intent = &next

	if r := s.confirm(rq, pay, with); r != nil {
		return r
	}

	rq.answer(pay, pay.intent)

	return nil
}

// checkConfirm tells why the request cannot confirm an intent, or nil.
func (rq *request) checkConfirm(i *paymentIntent, secret string) *refusal {
	switch {
	case secret != "" && secret != i.Secret:
		return wrongSecret(speaksOfPayment)
	case rq.access.publishable && i.ConfirmationMethod == confirmManual:
		return unexpected(i, "This PaymentIntent "+i.ID+" cannot be confirmed using your publishable key because its "+
			"`confirmation_method` is set to `manual`. Please use your secret key instead, or create a PaymentIntent with "+
			"`confirmation_method` set to `automatic`.")
	default:
		return confirmState(i)
	}
}

// chooseMethod gives an intent that is being confirmed the payment method that
// the request names, or the current version of the one it has.
func (s *account) chooseMethod(rq *request, next *paymentIntent, c methodChoice) *refusal {
	switch {
	case c.sent():
		next.Authenticated = false
	case next.Method != nil:
		c.name = next.Method.ID
	default:
		return nil
	}

	method, r := s.findMethod(rq, c, next.Customer, speaksOfPayment)
	if r != nil {
		return r
	}

	next.Method = method

	return nil
}

// readConfirmed reads what a confirmation changes of its intent.
func readConfirmed(p *params, next *paymentIntent) {
	readCaptureMethod(p, next)
	readTypes(p, &next.methodTypes)
	readCheckout(p, &next.intentText)
}

func confirmState(i *paymentIntent) *refusal {
	switch i.Status {
	case statusSucceeded:
		return unexpected(i, "You cannot confirm this PaymentIntent because it has already succeeded after being "+
			"previously confirmed.")
	case statusRequiresPaymentMethod, statusRequiresConfirmation, statusRequiresAction:
		return nil
	default:
		return unexpected(i, "You cannot confirm this PaymentIntent because it has a status of "+i.Status+
			". Only a PaymentIntent with one of the following statuses may be confirmed: requires_payment_method, "+
			"requires_confirmation, requires_action.")
	}
}

// unexpected is the refusal for an intent that is in the wrong status.
func unexpected(i *paymentIntent, message string) *refusal {
	r := refused(message, codeUnexpectedState)
	r.intent = i

	return r
}

// checkConfirmable refuses a confirmation that lacks something.
func checkConfirmable(i *paymentIntent, with intentParams) *refusal {
	if i.Method == nil {
		r := unexpected(i, "You cannot confirm this PaymentIntent because it's missing a payment method. You can either "+
			"update the PaymentIntent with a payment method and then confirm it again, or confirm it again directly "+
			"with a payment method or ConfirmationToken.")
		if i.ID == "" { // create with confirm=true: there is no intent to show
			r.intent, r.executed = nil, false
		}

		return r
	}

	if r := i.checkType(); r != nil {
		return r
	}

	if later := i.Method.card().later; later != nil {
		return later.check(i, with.returnURL)
	}

	return i.checkReturn(with.returnURL, speaksOfPayment)
}

// checkReturn refuses a confirmation that may redirect the customer and does not
// say where to.
func (t *methodTypes) checkReturn(returnURL, what string) *refusal {
	if t.Redirects == redirectsAlways && returnURL == "" {
		return invalid("This "+what+" is configured to accept payment methods enabled in your Dashboard. Because "+
			"some of these payment methods might redirect your customer off of your page, you must provide a "+
			"`return_url`. If you don't want to accept redirect-based payment methods, set "+
			"`automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to `never` "+
			"when creating Setup Intents and Payment Intents.", "return_url", "")
	}

	return nil
}

// confirm tries to pay a locked intent with its payment method.
func (s *account) confirm(rq *request, pay *payment, with intentParams) *refusal {
	i := pay.intent
	card := i.Method.card()
	i = i.withSession(with.offSession)
	pay.intent = i
	challenged := !i.Authenticated && i.Method.challenges(with.offSession, i.wantsSecure())

	switch {
	case challenged && with.offSession:
		return s.declinePayment(rq, pay, &decline{
			Code:        codeAuthenticationRequired,
			DeclineCode: codeAuthenticationRequired,
			Message:     "Your card was declined. This transaction requires authentication.",
		})
	case challenged && with.errorOn3DS:
		return s.failAuthentication(rq, pay, codeAuthenticationRequired, "This payment required an authentication "+
			"action to complete, but `error_on_requires_action` was set. When you're ready, you can upgrade your "+
			"integration to handle actions at https://stripe.com/docs/payments/payment-intents/upgrade-to-handle-actions.")
	case challenged:
		s.requireAction(rq, pay, with.returnURL)

		return nil
	case card.decline != nil:
		return s.declinePayment(rq, pay, card.decline)
	case card.bank != nil:
		s.process(rq, pay)

		return nil
	default:
		s.pay(rq, pay)

		return nil
	}
}

// withSession is the intent's next version, confirmed with its customer present
// or not.
func (i *paymentIntent) withSession(off bool) *paymentIntent {
	if i.OffSession == off {
		return i
	}

	next := *i
	next.OffSession = off

	return &next
}

// wantsSecure tells whether the merchant asked for 3-D Secure.
func (i *paymentIntent) wantsSecure() bool { return i.Request3DS != secureAutomatic }

// requireAction sends the customer to the 3-D Secure page.
func (s *account) requireAction(rq *request, pay *payment, returnURL string) {
	next := *pay.intent
	next.Status = statusRequiresAction
	next.LastError = nil
	next.Action = &nextAction{
		URL:       rq.baseURL + authenticatePath + next.ID + "?client_secret=" + next.Secret,
		ReturnURL: returnURL,
	}
	pay.intent = &next

	rq.emit("payment_intent.requires_action", &next, nil)
}

// failAuthentication puts an intent back to where another card may be tried.
func (s *account) failAuthentication(rq *request, pay *payment, code, message string) *refusal {
	next := *pay.intent
	next.Status, next.Action = statusRequiresPaymentMethod, nil
	next.LastError = &paymentError{
		Kind: typeInvalidRequest, Code: code, Message: message, Method: next.Method,
	}
	next.Method = nil

	if code == codeAuthenticationRequired {
		next.LastError.Kind, next.LastError.DeclineCode = typeCard, "authentication_not_handled"
	}

	pay.intent = &next

	s.countFailure(rq, pay)

	return cardRefusal(pay.intent)
}

// countFailure tells of an intent's failed confirmation and cancels one that has
// failed too often ("How PaymentIntents work": confirmed too many times).
func (s *account) countFailure(rq *request, pay *payment) {
	next := *pay.intent
	next.Failures++
	pay.intent = &next

	rq.emit("payment_intent.payment_failed", &next, nil)

	if next.Failures >= s.options.ConfirmLimit {
		s.cancel(rq, pay, reasonAutomatic)
	}
}

// reasonAutomatic is the cancellation reason that Stripe writes by itself.
const reasonAutomatic = "automatic"

// declinePayment books the failed charge of a card that was declined.
func (s *account) declinePayment(rq *request, pay *payment, no *decline) *refusal {
	failed := s.newCharge(pay, no)

	next := *pay.intent
	next.Status, next.Action, next.Authenticated = statusRequiresPaymentMethod, nil, false
	next.LatestCharge = failed.ID
	next.LastError = &paymentError{
		Kind: typeCard, Code: no.Code, DeclineCode: no.DeclineCode, Message: no.Message,
		Charge: failed.ID, Method: next.Method,
	}
	next.Method = nil
	pay.intent = &next

	rq.emit("charge.failed", failed, nil)
	s.countFailure(rq, pay)

	return cardRefusal(pay.intent)
}

// cardRefusal is the 402 that speaks of the intent's last error.
func cardRefusal(i *paymentIntent) *refusal {
	e := i.LastError

	return &refusal{
		status: http.StatusPaymentRequired, kind: e.Kind, code: e.Code, declineCode: e.DeclineCode,
		message: e.Message, charge: e.Charge, intent: i, method: e.Method, executed: true,
	}
}

// pay books the charge that goes through.
func (s *account) pay(rq *request, pay *payment) {
	made := s.newCharge(pay, nil)

	next := *pay.intent
	next.LastError, next.Action, next.Authenticated = nil, nil, false
	next.LatestCharge = made.ID

	if next.CaptureMethod == captureManual {
		next.Status, next.AmountCapturable = statusRequiresCapture, next.Amount
		pay.intent = &next
		s.saveMethod(rq, pay)

		rq.emit("charge.succeeded", made, nil)
		rq.emit("payment_intent.amount_capturable_updated", pay.intent, nil)
		s.lapseLater(pay, made)

		return
	}

	next.Status, next.AmountReceived = statusSucceeded, next.Amount
	pay.intent = &next
	s.saveMethod(rq, pay)
	rq.emit("payment_intent.succeeded", pay.intent, nil)
	rq.emit("charge.succeeded", made, nil)

	if made.Transaction == "" {
		s.bookLater(pay, made)

		return
	}

	s.disputeIfAsked(rq, pay)
}

// disputeIfAsked opens the dispute that a captured charge's card stands for.
func (s *account) disputeIfAsked(rq *request, pay *payment) {
	card := pay.intent.Method.card()

	index := len(pay.charges) - 1
	left := pay.charges[index].AmountCaptured

	for n, kind := range card.disputes {
		part := left / int64(len(card.disputes)-n) // each a part of the charge
		left -= part
		s.openDispute(rq, pay, index, part, kind)
	}

	if card.warned {
		s.warn(rq, pay, pay.charges[index], usualFraud)
	}
}

// cancelPaymentIntent is POST /v1/payment_intents/:id/cancel.
func (s *account) cancelPaymentIntent(rq *request) *refusal {
	reason := rq.params.oneOf("cancellation_reason", "duplicate", reasonFraudulent, "requested_by_customer", "abandoned")

	if r := rq.finish(); r != nil {
		return r
	}

	pay, r := s.findPayment(rq.objectID)
	if r != nil {
		return r
	}

	rq.change(pay)

	cancelable := []string{
		statusRequiresPaymentMethod, statusRequiresCapture, statusRequiresConfirmation, statusRequiresAction,
		statusProcessing, // of bank debits, and there is nothing else that processes
	}
	if !slices.Contains(cancelable, pay.intent.Status) {
		return unexpected(pay.intent, "You cannot cancel this PaymentIntent because it has a status of "+
			pay.intent.Status+". Only a PaymentIntent with one of the following statuses may be canceled: "+
			strings.Join(cancelable, ", ")+".")
	}

	s.cancel(rq, pay, reason)

	rq.answer(pay, pay.intent)

	return nil
}

// cancel ends a locked intent and lets go of what it holds on the card.
func (s *account) cancel(rq *request, pay *payment, reason string) {
	next := *pay.intent
	next.Status, next.Action, next.AmountCapturable = statusCanceled, nil, 0
	next.CanceledAt, next.CancellationReason = s.clock.seconds(), reason

	if pay.intent.Status == statusProcessing {
		s.stopDebit(rq, pay)
	}

	if pay.intent.Status == statusRequiresCapture {
		index := len(pay.charges) - 1
		before := pay.charges[index]
		pay.charges[index] = s.release(pay, before, before.Amount)
		rq.emit("charge.refunded", pay.charges[index], changes(before, pay.charges[index]))
	}

	pay.intent = &next
	rq.emit("payment_intent.canceled", &next, nil)
}
