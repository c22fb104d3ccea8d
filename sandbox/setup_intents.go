package sandbox

import (
	"net/http"
	"slices"
)

const (
	// setupsURL is where setup intents are made and listed, and setupPrefix what
	// their ids begin with.
	setupsURL   = "/v1/setup_intents"
	setupPrefix = "seti_"
)

// Values of usage and of setup_future_usage.
const (
	usageOffSession = "off_session"
	usageOnSession  = "on_session"
)

// setupIntent is one version of a SetupIntent.
type setupIntent struct {
	methodTypes

	ID                 string
	Seq                int64
	Secret             string
	Created            int64
	Live               bool
	Status             string
	CancellationReason string `json:"cancellation_reason,omitempty"`
	Customer           string `json:"customer,omitempty"`
	Description        string `json:"description,omitempty"`
	// Method is the payment method's id: its current version is in the wallet.
	Method     string        `json:"method,omitempty"`
	LastError  *paymentError `json:"last_error,omitempty"`
	Metadata   metadata      `json:"metadata,omitempty"`
	Action     *nextAction   `json:"action,omitempty"`
	Request3DS string
	Usage      string
}

func (i *setupIntent) writeJSON(w *jsonWriter) { i.write(w, view{}) }

func (i *setupIntent) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", i.ID)
	w.str("object", objectSetup)
	w.null("application")

	i.writeAutomaticMethods(w)
	w.strOrNull("cancellation_reason", i.CancellationReason)
	w.str("client_secret", i.Secret)
	w.num("created", i.Created)
	v.ref(w, objectCustomer, i.Customer)
	w.strOrNull("description", i.Description)
	w.null("flow_directions")
	i.LastError.write(w, "last_setup_error")
	w.null("latest_attempt")
	w.boolean("livemode", i.Live)
	w.null("mandate")
	i.Metadata.write(w)
	i.Action.write(w)
	w.null(onBehalfOf)
	v.ref(w, objectMethod, i.Method)
	w.null("payment_method_configuration_details")
	i.writeMethodOptions(w)
	w.strings("payment_method_types", i.Types)
	w.null("single_use_mandate")
	w.str("status", i.Status)
	w.str("usage", i.Usage)
	w.endObject()
}

func (i *setupIntent) writeMethodOptions(w *jsonWriter) {
	w.object("payment_method_options")

	if slices.Contains(i.Types, typeOfBank) {
		w.object(typeOfBank)
		w.str("verification_method", "automatic")
		w.endObject()
	}

	if slices.Contains(i.Types, typeOfCards) {
		w.object(typeOfCards)
		w.null("mandate_options")
		w.null("network")
		w.str("request_three_d_secure", i.Request3DS)
		w.endObject()
	}

	w.endObject()
}

// createSetupIntent is POST /v1/setup_intents.
func (s *account) createSetupIntent(rq *request) *refusal {
	p := rq.params
	i := &setupIntent{Status: statusRequiresPaymentMethod, Request3DS: secureAutomatic, Usage: usageOffSession}

	readMethodTypes(p, &i.methodTypes)
	readSetup(p, i)

	confirm, _ := p.boolean("confirm")
	with := readSetupConfirmation(p)

	if !confirm && p.has("return_url") {
		p.refuse(invalid("The parameter `return_url` cannot be passed when creating a SetupIntent unless `confirm` is set to "+
			"true.", "return_url", ""))
	}

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	if r := s.checkCustomer(i.Customer); r != nil {
		return r
	}

	if with.method.sent() {
		if r := s.chooseSetupMethod(rq, i, with.method); r != nil {
			return r
		}
	}

	if confirm {
		if r := s.checkSetup(i, with); r != nil {
			r.setup, r.executed = nil, false // there is no intent to show

			return r
		}
	}

	opened := s.openSetup(rq, i)

	if confirm {
		if r := s.confirmSetup(rq, opened, with.returnURL); r != nil {
			return r
		}
	}

	rq.answer(nil, opened.now())

	return nil
}

// openSetup enters a new setup intent into the wallet.
func (s *account) openSetup(rq *request, i *setupIntent) *keptSetup {
	i.ID = newID(setupPrefix + "1")
	i.Secret = newClientSecret(i.ID)
	i.Created, i.Seq, i.Live = s.clock.seconds(), s.books.sequence.Add(1), s.live

	opened := &keptSetup{}
	replace(rq, &opened.kept, keySetup, i.ID, i)
	s.books.wallet.setups.add(i.ID, i.Created, opened)
	rq.emit("setup_intent.created", i, nil)

	return opened
}

// readSetup reads what create and update have in common.
func readSetup(p *params, i *setupIntent) {
	i.Customer = orDefault(p.text(objectCustomer), i.Customer)
	setText(p, "description", &i.Description)
	i.Metadata = readMetadata(p, i.Metadata)
	i.Usage = orDefault(p.oneOf("usage", usageOffSession, usageOnSession), i.Usage)
	readSetupOptions(p, i)
	refuseAttachToSelf(p)

	for _, kind := range i.Types {
		if payLaterOf(kind) != nil {
			p.refuse(invalid("The payment method type "+kind+" cannot be set up.", "payment_method_types", ""))
		}
	}
}

// refuseAttachToSelf refuses payouts to a saved method, which the sandbox has not.
func refuseAttachToSelf(p *params) {
	if attach, _ := p.boolean("attach_to_self"); attach {
		p.refuse(notSupported("attach_to_self"))
	}
}

func readSetupOptions(p *params, i *setupIntent) {
	if card := p.child("payment_method_options").child(typeOfCards); card != nil {
		i.Request3DS = orDefault(card.oneOf("request_three_d_secure", "any", secureAutomatic, "challenge"), i.Request3DS)
	}
}

// readSetupConfirmation reads what tells how a setup intent is confirmed.
func readSetupConfirmation(p *params) intentParams {
	with := intentParams{method: readMethod(p), returnURL: readReturnURL(p)}
	readMandate(p)
	p.boolean("use_stripe_sdk")

	return with
}

// findSetup finds the setup intent that the path names.
func (s *account) findSetup(rq *request) (*keptSetup, *refusal) {
	found, ok := s.books.wallet.setups.get(rq.objectID)
	if !ok {
		return nil, missing("setupintent", rq.objectID, "intent")
	}

	return found, nil
}

// getSetupIntent is GET /v1/setup_intents/:id.
func (s *account) getSetupIntent(rq *request) *refusal {
	secret := rq.readSecret()

	if r := rq.finish(); r != nil {
		return r
	}

	found, r := s.findSetup(rq)
	if r != nil {
		return r
	}

	if secret != "" && secret != found.now().Secret {
		return wrongSecret(speaksOfSetup)
	}

	rq.answer(nil, found.now())

	return nil
}

// updateSetupIntent is POST /v1/setup_intents/:id. Stripe sends no event for it.
func (s *account) updateSetupIntent(rq *request) *refusal {
	readSetupUpdate(rq.params, &setupIntent{})

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	found, r := s.findSetup(rq)
	if r != nil {
		return r
	}

	next := *found.now()
	choice := readSetupUpdate(rq.params, &next)

	if r := rq.params.finish(); r != nil { // merged, the metadata may be too much
		return r
	}

	if r := s.updateSetup(rq, found.now(), &next, choice); r != nil {
		return r
	}

	replace(rq, &found.kept, keySetup, next.ID, &next)
	rq.answer(nil, &next)

	return nil
}

func readSetupUpdate(p *params, next *setupIntent) methodChoice {
	readTypes(p, &next.methodTypes)
	readSetup(p, next)

	return readMethod(p)
}

// updateSetup checks an update against the version before it, and carries out
// what it says of the payment method.
func (s *account) updateSetup(rq *request, before, next *setupIntent, choice methodChoice) *refusal {
	changed := next.Customer != before.Customer

	if r := s.checkCustomer(next.Customer); changed && r != nil {
		return r
	}

	switch {
	case !choice.sent() && changed && next.Status == statusRequiresConfirmation: // it may be another customer's
		return s.chooseSetupMethod(rq, next, methodChoice{name: next.Method})
	case !choice.sent():
		return nil
	case next.Status == statusSucceeded:
		return unexpectedSetup(next, "You cannot update this SetupIntent because it has already succeeded.")
	case next.Status == statusCanceled:
		return unexpectedSetup(next, "You cannot update this SetupIntent because it has been canceled.")
	}

	next.Action = nil

	return s.chooseSetupMethod(rq, next, choice)
}

// chooseSetupMethod gives a setup intent a payment method that it may have. The
// wallet is open.
func (s *account) chooseSetupMethod(rq *request, i *setupIntent, choice methodChoice) *refusal {
	method, r := s.findMethod(rq, choice, i.Customer, speaksOfSetup)
	if r != nil {
		return r.aboutSetup(i)
	}

	if kind := method.card().methodType(); !slices.Contains(i.Types, kind) {
		return i.notTaken(kind, speaksOfSetup, "setup_intent_invalid_parameter").aboutSetup(i)
	}

	if _, known := s.books.wallet.methods.get(method.ID); !known {
		m := &keptMethod{}
		replace(rq, &m.kept, keyMethod, method.ID, method)
		s.keepNewMethod(m)
	}

	i.Method, i.Status = method.ID, statusRequiresConfirmation

	return nil
}

// aboutSetup adds the setup intent to an error that came of one that exists.
func (r *refusal) aboutSetup(i *setupIntent) *refusal {
	if i.ID != "" {
		r.setup = i
	}

	return r
}

func unexpectedSetup(i *setupIntent, message string) *refusal {
	return refused(message, codeSetupUnexpectedState).aboutSetup(i)
}

// confirmSetupIntent is POST /v1/setup_intents/:id/confirm.
func (s *account) confirmSetupIntent(rq *request) *refusal {
	secret := rq.readSecret()
	with := readSetupConfirmation(rq.params)
	readSetupOptions(rq.params, &setupIntent{})

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	found, r := s.findSetup(rq)
	if r != nil {
		return r
	}

	before := found.now()
	if secret != "" && secret != before.Secret {
		return wrongSecret(speaksOfSetup)
	}

	next := *before
	readSetupOptions(rq.params, &next)

	if !with.method.sent() {
		with.method.name = next.Method
	}

	// Without a payment method Stripe says that, whatever the status is.
	if with.method.sent() {
		switch before.Status {
		case statusSucceeded:
			return unexpectedSetup(before, "You cannot confirm this SetupIntent because it has already succeeded.")
		case statusCanceled:
			return unexpectedSetup(before, "You cannot confirm this SetupIntent because it has been canceled.")
		}

		if r := s.chooseSetupMethod(rq, &next, with.method); r != nil {
			return r.aboutSetup(before)
		}
	}

	if r := s.checkSetup(&next, with); r != nil {
		return r
	}

	replace(rq, &found.kept, keySetup, next.ID, &next)

	if r := s.confirmSetup(rq, found, with.returnURL); r != nil {
		return r
	}

	rq.answer(nil, found.now())

	return nil
}

// checkSetup tells why a setup intent cannot be confirmed so, or nil.
func (s *account) checkSetup(i *setupIntent, with intentParams) *refusal {
	if i.Method == "" {
		return unexpectedSetup(i, "You cannot confirm this SetupIntent because it's missing a payment method. You can either "+
			"update the SetupIntent with a payment method and then confirm it again, or confirm it again directly with a payment "+
			"method or ConfirmationToken.")
	}

	return i.checkReturn(with.returnURL, speaksOfSetup)
}

// confirmSetup sets up the payment method of an intent in the open wallet.
func (s *account) confirmSetup(rq *request, k *keptSetup, returnURL string) *refusal {
	next := *k.now()

	m, _ := s.books.wallet.methods.get(next.Method)
	if !m.now().challenges(false, next.Request3DS != secureAutomatic) {
		return s.concludeSetup(rq, k, m)
	}

	next.Status, next.LastError = statusRequiresAction, nil
	next.Action = &nextAction{
		URL:       rq.baseURL + authenticatePath + next.ID + "?client_secret=" + next.Secret,
		ReturnURL: returnURL,
	}
	replace(rq, &k.kept, keySetup, next.ID, &next)
	rq.emit("setup_intent.requires_action", &next, nil)

	return nil
}

// concludeSetup asks the bank, once the customer has proved who they are where
// that was asked for.
func (s *account) concludeSetup(rq *request, k *keptSetup, m *keptMethod) *refusal {
	method := *m.now()

	if no := method.card().decline; no != nil && !method.card().attaches {
		return s.failSetup(rq, k, &paymentError{
			Kind: typeCard, Code: no.Code, DeclineCode: no.DeclineCode, Message: no.Message, Method: m.now(),
		})
	}

	next := *k.now()
	method.Saved, method.SetUp = true, method.SetUp || next.Usage == usageOffSession
	method.Used = method.Used || next.Customer == "" // once, unless it becomes a customer's
	s.saveFor(rq, m, &method, next.Customer)

	next.Status, next.LastError, next.Action = statusSucceeded, nil, nil
	replace(rq, &k.kept, keySetup, next.ID, &next)
	rq.emit("setup_intent.succeeded", &next, nil)

	return nil
}

// failSetup puts a setup intent back to where another card may be tried.
func (s *account) failSetup(rq *request, k *keptSetup, failure *paymentError) *refusal {
	next := *k.now()
	next.Status, next.Action, next.Method, next.LastError = statusRequiresPaymentMethod, nil, "", failure
	replace(rq, &k.kept, keySetup, next.ID, &next)
	rq.emit("setup_intent.setup_failed", &next, nil)

	return &refusal{
		status: http.StatusPaymentRequired, kind: failure.Kind, code: failure.Code, declineCode: failure.DeclineCode,
		message: failure.Message, setup: &next, method: failure.Method, executed: true,
	}
}

// authenticateSetup is Authenticate of a setup intent.
func (s *Sandbox) authenticateSetup(id string, approve bool) error {
	a, k := s.setupAnywhere(id)
	if k == nil {
		return noIntent(id)
	}

	var err error

	a.inBackground(func(rq *request) {
		rq.openWallet()

		i := k.now()
		if i.Status != statusRequiresAction {
			err = asksNothing(id, i.Status)

			return
		}

		m, _ := a.books.wallet.methods.get(i.Method)

		if approve {
			a.concludeSetup(rq, k, m)

			return
		}

		a.failSetup(rq, k, &paymentError{
			Kind: typeInvalidRequest, Code: codeSetupAuthentication, Method: m.now(),
			Message: "The latest attempt to set up the payment method has failed because authentication failed.",
		})
	})

	return err
}

// setupAnywhere finds a setup intent in whichever account it is; nil where it is
// in none.
func (s *Sandbox) setupAnywhere(id string) (*account, *keptSetup) {
	for _, a := range s.accounts {
		if k, ok := a.books.wallet.setups.get(id); ok {
			return a, k
		}
	}

	return nil, nil
}

// cancelSetupIntent is POST /v1/setup_intents/:id/cancel.
func (s *account) cancelSetupIntent(rq *request) *refusal {
	reason := rq.params.oneOf("cancellation_reason", "abandoned", "requested_by_customer", "duplicate")

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	found, r := s.findSetup(rq)
	if r != nil {
		return r
	}

	before := found.now()

	switch before.Status {
	case statusCanceled:
		return unexpectedSetup(before, "You cannot cancel this SetupIntent because it is already canceled.")
	case statusSucceeded:
		return unexpectedSetup(before, "You cannot cancel this SetupIntent because it has a status of succeeded. Only a "+
			"SetupIntent with one of the following statuses may be canceled: `requires_payment_method`, "+
			"`requires_confirmation`, or `requires_action`.")
	}

	next := *before
	next.Status, next.Action, next.CancellationReason = statusCanceled, nil, reason
	replace(rq, &found.kept, keySetup, next.ID, &next)
	rq.emit("setup_intent.canceled", &next, nil)
	rq.answer(nil, &next)

	return nil
}

// listSetupIntents is GET /v1/setup_intents.
func (s *account) listSetupIntents(rq *request) *refusal {
	customerID, methodID := s.readCustomerFilter(rq.params), rq.params.text(objectMethod)

	refuseAttachToSelf(rq.params)

	return list(rq, listing[*keptSetup]{
		kind: "setupintent", url: setupsURL,
		items: s.books.wallet.setups.all(), position: s.books.wallet.setups.position,
		keep: func(k *keptSetup) bool {
			i := k.now()

			return (customerID == "" || i.Customer == customerID) && (methodID == "" || i.Method == methodID)
		},
		show: func(w *jsonWriter, k *keptSetup, expand expansion) { k.now().write(w, s.look(expand, nil)) },
	})
}
