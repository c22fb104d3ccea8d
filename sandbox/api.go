package sandbox

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxBody is far above Stripe's largest honest request.
const maxBody = 1 << 20

// endpoint is one operation of the API: what runs it and, for expand[], which
// kind of object it answers, or lists.
type endpoint struct {
	run    func(*account, *request) *refusal
	kind   string
	isList bool
	// public is true for what a publishable key may do.
	public bool
}

// route is what an endpoint is found by: /v1/resource[/:id[/action[/*]]].
type route struct {
	method   string
	resource string
	hasID    bool
	action   string
}

// routes is the sandbox's part of Stripe's API.
//
//nolint:gochecknoglobals // a table, never written
var routes = routeTable()

//nolint:goconst // a table of Stripe's names
func routeTable() map[route]endpoint {
	const post, get, del = http.MethodPost, http.MethodGet, http.MethodDelete

	return map[route]endpoint{
		{post, "payment_intents", false, ""}:       {run: (*account).createPaymentIntent, kind: objectIntent},
		{get, "payment_intents", false, ""}:        {run: (*account).listPaymentIntents, kind: objectIntent, isList: true},
		{get, "payment_intents", true, ""}:         {run: (*account).getPaymentIntent, kind: objectIntent, public: true},
		{post, "payment_intents", true, ""}:        {run: (*account).updatePaymentIntent, kind: objectIntent},
		{post, "payment_intents", true, "confirm"}: {run: (*account).confirmPaymentIntent, kind: objectIntent, public: true},
		{post, "payment_intents", true, "capture"}: {run: (*account).capturePaymentIntent, kind: objectIntent},
		{post, "payment_intents", true, "cancel"}:  {run: (*account).cancelPaymentIntent, kind: objectIntent},

		{get, "charges", false, ""}: {run: (*account).listCharges, kind: objectCharge, isList: true},
		{get, "charges", true, ""}:  {run: (*account).getCharge, kind: objectCharge},

		{get, "charges", true, "refunds"}: {run: (*account).listRefunds, kind: objectRefund, isList: true},

		{post, "refunds", false, ""}: {run: (*account).createRefund, kind: objectRefund},
		{get, "refunds", false, ""}:  {run: (*account).listRefunds, kind: objectRefund, isList: true},
		{get, "refunds", true, ""}:   {run: (*account).getRefund, kind: objectRefund},
		{post, "refunds", true, ""}:  {run: (*account).updateRefund, kind: objectRefund},

		{post, "refunds", true, "cancel"}: {run: (*account).cancelRefund, kind: objectRefund},

		{get, "disputes", false, ""}:      {run: (*account).listDisputes, kind: objectDispute, isList: true},
		{get, "disputes", true, ""}:       {run: (*account).getDispute, kind: objectDispute},
		{post, "disputes", true, ""}:      {run: (*account).updateDispute, kind: objectDispute},
		{post, "disputes", true, "close"}: {run: (*account).closeDispute, kind: objectDispute},

		{get, "radar.early_fraud_warnings", false, ""}: {
			run: (*account).listWarnings, kind: objectWarning, isList: true,
		},
		{get, "radar.early_fraud_warnings", true, ""}: {run: (*account).getWarning, kind: objectWarning},

		{get, "balance_transactions", false, ""}: {
			run: (*account).listTransactions, kind: objectTransaction, isList: true,
		},
		{get, "balance_transactions", true, ""}: {run: (*account).getTransaction, kind: objectTransaction},

		{post, "customers", false, ""}: {run: (*account).createCustomer, kind: objectCustomer},
		{get, "customers", false, ""}:  {run: (*account).listCustomers, kind: objectCustomer, isList: true},
		{get, "customers", true, ""}:   {run: (*account).getCustomer, kind: objectCustomer},
		{post, "customers", true, ""}:  {run: (*account).updateCustomer, kind: objectCustomer},
		{del, "customers", true, ""}:   {run: (*account).deleteCustomer, kind: objectCustomer},

		{get, "customers", true, "payment_methods"}: {
			run: (*account).listCustomerMethods, kind: objectMethod, isList: true,
		},
		{get, "customers", true, "payment_methods/*"}: {run: (*account).getCustomerMethod, kind: objectMethod},

		{post, "payment_methods", false, ""}:      {run: (*account).createPaymentMethod, kind: objectMethod, public: true},
		{get, "payment_methods", false, ""}:       {run: (*account).listPaymentMethods, kind: objectMethod, isList: true},
		{get, "payment_methods", true, ""}:        {run: (*account).getPaymentMethod, kind: objectMethod},
		{post, "payment_methods", true, ""}:       {run: (*account).updatePaymentMethod, kind: objectMethod},
		{post, "payment_methods", true, "attach"}: {run: (*account).attachPaymentMethod, kind: objectMethod},
		{post, "payment_methods", true, "detach"}: {run: (*account).detachPaymentMethod, kind: objectMethod},

		{post, "setup_intents", false, ""}:       {run: (*account).createSetupIntent, kind: objectSetup},
		{get, "setup_intents", false, ""}:        {run: (*account).listSetupIntents, kind: objectSetup, isList: true},
		{get, "setup_intents", true, ""}:         {run: (*account).getSetupIntent, kind: objectSetup, public: true},
		{post, "setup_intents", true, ""}:        {run: (*account).updateSetupIntent, kind: objectSetup},
		{post, "setup_intents", true, "confirm"}: {run: (*account).confirmSetupIntent, kind: objectSetup, public: true},
		{post, "setup_intents", true, "cancel"}:  {run: (*account).cancelSetupIntent, kind: objectSetup},

		{post, "tokens", false, ""}: {run: (*account).createToken, kind: objectToken, public: true},
		{get, "tokens", true, ""}:   {run: (*account).getToken, kind: objectToken},

		{get, "account", false, ""}:  {run: (*account).getOwnAccount},
		{get, "accounts", false, ""}: {run: (*account).listAccounts, isList: true},
		{get, "accounts", true, ""}:  {run: (*account).getAccount},
		{get, "balance", false, ""}:  {run: (*account).getBalance},

		{get, "events", false, ""}: {run: (*account).listEvents, isList: true},
		{get, "events", true, ""}:  {run: (*account).getEvent},

		{post, "webhook_endpoints", false, ""}: {run: (*account).createWebhookEndpoint},
		{get, "webhook_endpoints", false, ""}:  {run: (*account).listWebhookEndpoints, isList: true},
		{get, "webhook_endpoints", true, ""}:   {run: (*account).getWebhookEndpoint},
		{post, "webhook_endpoints", true, ""}:  {run: (*account).updateWebhookEndpoint},
		{del, "webhook_endpoints", true, ""}:   {run: (*account).deleteWebhookEndpoint},
	}
}

// request is one API request on its way through the sandbox.
type request struct {
	id             string
	method         string
	path           string
	objectID       string
	innerID        string // of an object within the one that objectID names
	idempotencyKey string
	baseURL        string
	params         *params
	endpoint       endpoint
	expand         expansion
	plan           plan

	// pay is the payment the request has locked, changed whether it writes.
	pay     *payment
	changed bool
	// walletOpen is true while the request has the wallet locked, and kept what it
	// put there.
	walletOpen bool
	kept       []keeping
	events     []*event
	body       document // what the endpoint answers
	sandbox    *Sandbox

	// account is whose books the request reads and writes; access is what its
	// key may do there. Without them, denied says why.
	account *account
	access  access
	denied  *refusal
	// dashboard is true for what a person does there.
	dashboard bool
}

// reply is what goes back to the client.
type reply struct {
	status      int
	body        document
	replayOf    string // the original request's id
	shouldRetry string
	fault       *rule // how the answer is spoilt; nil mostly
}

func (s *Sandbox) serveAPI(w http.ResponseWriter, r *http.Request) {
	rq, refusal := s.newRequest(r)
	if refusal != nil {
		s.write(w, r, rq, rq.refuse(refusal))

		return
	}

	if rq.denied == nil {
		rq.denied = rq.fromElsewhere(r)
	}

	s.write(w, r, rq, s.serve(rq, r))
}

// serve answers a request as the fault rules want it.
func (s *Sandbox) serve(rq *request, r *http.Request) reply {
	if s.hung(r) {
		panic(http.ErrAbortHandler) // net/http closes the connection without a word
	}

	rq.plan = s.forRequest(rq)

	if instead := s.meddleBefore(rq, r); instead != nil {
		return *instead
	}

	answer := rq.handle()
	s.meddleAfter(rq.plan, r, &answer)

	return answer
}

// newRequest reads a request's parameters from its query and its body.
func (s *Sandbox) newRequest(r *http.Request) (*request, *refusal) {
	rq := &request{
		id: newRequestID(), method: r.Method, path: r.URL.Path, sandbox: s,
		idempotencyKey: r.Header.Get("Idempotency-Key"), baseURL: s.baseURL(r),
		params: newParams(&form{}),
	}

	key := apiKey(r)
	parsed, refusal := readForm(r)

	if key == "" && refusal == nil {
		key = parsed.takePublishable()
	}

	rq.account, rq.access, rq.denied = s.authenticate(r, key)
	if refusal != nil {
		return rq, refusal
	}

	rq.params = newParams(parsed)

	if rq.access.publishable {
		rq.params.state.pageYear = int64(s.clock.now().UTC().Year())
	}

	return rq, nil
}

func readForm(r *http.Request) (*form, *refusal) {
	text := r.URL.RawQuery

	if r.Method == http.MethodPost || r.Method == http.MethodDelete {
		body, refusal := readBody(r)
		if refusal != nil {
			return nil, refusal
		}

		if text != "" && body != "" {
			text += "&"
		}

		text += body
	}

	return parseForm(text)
}

func readBody(r *http.Request) (string, *refusal) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))

	var tooLarge *http.MaxBytesError

	switch {
	case errors.As(err, &tooLarge):
		return "", &refusal{
			status: http.StatusRequestEntityTooLarge, kind: typeInvalidRequest, message: "The request body is too large.",
		}
	case err != nil:
		return "", invalid("The request body could not be read.", "", "")
	case len(body) == 0:
		return "", nil
	}

	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if media = strings.TrimSpace(media); media != "" && !strings.EqualFold(media, "application/x-www-form-urlencoded") {
		return "", invalid("Invalid request (check that your POST content type is application/x-www-form-urlencoded). "+
			"If you have any questions, we can help at https://support.stripe.com/.", "", "")
	}

	return string(body), nil
}

// handle takes a request through Stripe's layers: authentication, routing,
// idempotency, execution.
func (rq *request) handle() reply {
	if rq.denied != nil {
		return rq.refuse(rq.denied)
	}

	found, refusal := rq.route()
	if refusal != nil {
		return rq.refuse(refusal)
	}

	rq.endpoint = found

	if refusal := rq.permitted(); refusal != nil {
		return rq.refuse(refusal)
	}

	if rq.method != http.MethodPost || rq.idempotencyKey == "" {
		return rq.account.execute(rq, nil)
	}

	claimed, earlier, refusal := rq.account.keys.claim(rq)

	switch {
	case refusal != nil:
		return rq.refuse(refusal)
	case earlier != nil:
		return earlier.replay()
	default:
		return rq.account.execute(rq, claimed)
	}
}

// route finds the endpoint and the object's id in the path.
func (rq *request) route() (endpoint, *refusal) {
	rest, ok := strings.CutPrefix(rq.path, "/v1/")
	if inner, isRadar := strings.CutPrefix(rest, "radar/"); isRadar { // whose resources have two words
		rest = "radar." + inner
	}

	to := route{method: rq.method}

	to.resource, rest, to.hasID = strings.Cut(strings.Trim(rest, "/"), "/")
	rq.objectID, to.action, _ = strings.Cut(rest, "/")

	if action, id, inner := strings.Cut(to.action, "/"); inner {
		rq.innerID, to.action = id, action+"/*"
	}

	found, known := routes[to]
	if !ok || !known || rq.objectID == "search" { // which Stripe has and the sandbox has not
		return endpoint{}, rq.notCovered(permissionOf(to.resource))
	}

	return found, nil
}

// notCovered is the refusal for an endpoint that the sandbox has not: by name
// where Stripe may have it, in Stripe's words otherwise.
func (rq *request) notCovered(resource string) *refusal {
	r := &refusal{status: http.StatusNotFound, kind: typeInvalidRequest}

	if slices.Contains(stripeResources, resource) && strings.HasPrefix(rq.path, "/v1/") {
		r.message = "The sandbox does not cover " + rq.method + " " + rq.path + ", which Stripe may have. Its README tells " +
			"what it covers."
	} else {
		r.message = "Unrecognized request URL (" + rq.method + ": " + rq.path + "). Please see https://stripe.com/docs or " +
			"we can help at https://support.stripe.com/."
	}

	return r
}

// stripeResources are the first words of the paths of Stripe's API.
//
//nolint:gochecknoglobals // a table, never written
var stripeResources = strings.Fields(`account account_links account_sessions accounts apple_pay application_fees apps balance
	balance_settings balance_transactions billing billing_portal charges checkout climate confirmation_tokens
	country_specs coupons credit_notes customer_sessions customers disputes entitlements ephemeral_keys events
	exchange_rates external_accounts file_links files financial_connections forwarding identity invoice_payments
	invoice_rendering_templates invoiceitems invoices issuing link_account_sessions linked_accounts mandates
	payment_attempt_records payment_intents payment_links payment_method_configurations payment_method_domains
	payment_methods payment_records payouts plans prices products promotion_codes quotes radar refunds reporting reviews
	setup_attempts setup_intents shipping_rates sigma sources subscription_items subscription_schedules subscriptions tax
	tax_codes tax_ids tax_rates terminal test_helpers tokens topups transfers treasury webhook_endpoints`)

// execute runs an endpoint, commits what it changed and lets go of its locks.
// The key's record is nil where the request has none.
func (s *account) execute(rq *request, record *idempotencyRecord) reply {
	s.holdBefore(rq.plan)

	if instead := s.meddleInstead(rq); instead != nil {
		return s.commit(rq, record, rq.refuse(instead), true)
	}

	defer s.dispatch(rq)
	defer rq.unlock()

	refused := rq.endpoint.run(s, rq)

	if effect := refused == nil || refused.status == http.StatusPaymentRequired; effect && rq.plan.is(Saved500) {
		s.faults.fire(rq.plan.fault)

		refused = saved500()
	}

	answer := reply{status: http.StatusOK, body: rq.body}
	if refused != nil {
		answer = rq.refuse(refused)
	}

	return s.commit(rq, record, answer, refused == nil || refused.executed)
}

// commit enters a request's events into the books and keeps its answer under
// its key; the key of a request that did not execute is free again.
func (s *account) commit(rq *request, record *idempotencyRecord, answer reply, executed bool) reply {
	for _, e := range rq.events {
		s.enter(e)
	}

	if record != nil && !executed {
		s.keys.drop(record)

		record = nil
	}

	if err := s.save(rq, record, answer); err != nil {
		s.log.Error("the sandbox's state is no longer saved", "error", err)

		answer = rq.refuse(&refusal{status: http.StatusInternalServerError, kind: typeAPI, message: err.Error()})
	}

	if record != nil {
		s.keys.finish(record, answer.status, answer.body)
	}

	return answer
}

// enter puts an event into the books, with whom it is to be delivered to.
func (s *account) enter(e *event) {
	s.webhooks.expect(e)
	s.books.events.add(e.id, e.created, e)
}

// dispatch sends a request's events on their way, with no lock held.
func (s *account) dispatch(rq *request) {
	for _, e := range rq.events {
		s.webhooks.send(e)
	}
}

// inBackground changes something that no API request asked for.
func (s *account) inBackground(change func(*request)) {
	rq := &request{sandbox: s.Sandbox, account: s}

	defer s.dispatch(rq)
	defer rq.unlock()

	change(rq)
	s.commit(rq, nil, reply{}, true)
}

// refuse answers an error, with where Stripe's dashboard would show its request:
// nowhere, for one without a key.
func (rq *request) refuse(r *refusal) reply {
	if r.status != http.StatusUnauthorized && rq.id != "" {
		mode := "test/"
		if rq.account != nil && rq.account.live {
			mode = ""
		}

		r.logURL = "https://dashboard.stripe.com/" + mode + "logs/" + rq.id + "?t=" +
			strconv.FormatInt(rq.sandbox.clock.seconds(), 10)
	}

	r.public = rq.access.publishable

	retry := r.shouldRetry
	if retry == "" && r.status < http.StatusInternalServerError && r.status != http.StatusTooManyRequests {
		retry = textFalse
	}

	return reply{status: r.status, body: r, shouldRetry: retry}
}

// finish reads the parameters that every endpoint has and tells what is wrong
// with any of them.
func (rq *request) finish() *refusal {
	rq.expand = readExpansion(rq.params, rq.endpoint.kind, rq.endpoint.isList)

	return rq.params.finish()
}

// read locks a payment for the rest of the request.
func (rq *request) read(pay *payment) {
	pay.mu.Lock()
	rq.pay = pay
}

// change locks a payment that the request may write.
func (rq *request) change(pay *payment) {
	rq.read(pay)
	rq.changed = true
}

func (rq *request) unlock() {
	if rq.walletOpen {
		rq.account.books.wallet.lock.Unlock()
		rq.walletOpen = false
	}

	if rq.pay != nil {
		rq.pay.mu.Unlock()
		rq.pay = nil
	}
}

// answer answers an object as the request wants to see it. Expanded objects are
// rendered here, under the payment's lock: what they refer to may change later.
func (rq *request) answer(pay *payment, object viewable) {
	if len(rq.expand) == 0 && !datedKind(object) && !rq.access.publishable {
		rq.body = object

		return
	}

	w := jsonWriter{buf: make([]byte, 0, renderedSize)}
	object.write(&w, rq.account.look(rq.expand, pay))
	rq.body = rawDocument(w.buf)

	if rq.access.publishable {
		rq.body = publicly(w.buf, object)
	}
}

// datedKind tells whether an object's fields depend on when it is looked at.
func datedKind(object viewable) bool {
	switch object.(type) {
	case *balanceTransaction, *dispute: // a dispute has its transactions
		return true
	default:
		return false
	}
}

// emit records that something happened to an object; previous is nil where
// Stripe sends no previous_attributes.
func (rq *request) emit(kind string, object document, previous rawDocument) {
	e := &event{
		account: rq.account, id: newID("evt_3"), seq: rq.account.books.sequence.Add(1), kind: kind,
		created: rq.sandbox.clock.seconds(), object: object, previous: previous, requestID: rq.id, idempotencyKey: rq.idempotencyKey,
	}

	if rq.pay != nil {
		e.intent, e.metadata = rq.pay.intent.ID, rq.pay.intent.Metadata
	}

	rq.events = append(rq.events, e)
}

// write sends a reply with the headers that Stripe's have.
func (s *Sandbox) write(w http.ResponseWriter, r *http.Request, rq *request, answer reply) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Request-Id"] = []string{rq.id}
	header["Stripe-Version"] = []string{apiVersion}

	if answer.shouldRetry != "" {
		header["Stripe-Should-Retry"] = []string{answer.shouldRetry}
	}

	if answer.status == http.StatusUnauthorized {
		header["Www-Authenticate"] = []string{`Basic realm="Stripe"`}
	}

	if rq.idempotencyKey != "" && r.Method == http.MethodPost {
		header["Idempotency-Key"] = []string{rq.idempotencyKey}
		header["Original-Request"] = []string{orDefault(answer.replayOf, rq.id)}
	}

	if answer.replayOf != "" {
		header["Idempotent-Replayed"] = []string{textTrue}
	}

	var body []byte
	if answer.body != nil {
		body = render(answer.body)
	}

	if answer.fault != nil {
		s.spoil(w, answer.fault, body)

		return
	}

	s.send(w, answer.status, body)
}

func (s *Sandbox) send(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)

	if _, err := w.Write(body); err != nil {
		s.log.Debug("the client hung up before its answer", "error", err)
	}
}
