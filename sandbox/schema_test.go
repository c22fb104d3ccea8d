package sandbox_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-mock/embedded"

	"github.com/marketflow/marketflow/sandbox"
)

// schema is the part of a JSON schema that Stripe's OpenAPI document uses.
//
//nolint:tagliatelle // the names are JSON schema's
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Enum                 []any              `json:"enum"`
	Nullable             bool               `json:"nullable"`
	AnyOf                []*schema          `json:"anyOf"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	Items                *schema            `json:"items"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	MaxLength            int                `json:"maxLength"`
	Pattern              string             `json:"pattern"`
}

// stripeSchemas are the objects of Stripe's own document.
var stripeSchemas = sync.OnceValues(func() (map[string]*schema, error) {
	var document struct {
		Components struct {
			Schemas map[string]*schema `json:"schemas"`
		} `json:"components"`
	}

	err := json.Unmarshal(embedded.OpenAPISpec, &document)

	return document.Components.Schemas, err
})

// inspection holds objects against the document: what is wrong, which fields
// they have that the document has not, and which it has that none of them had.
type inspection struct {
	schemas map[string]*schema
	wrong   []string
	more    map[string]bool
	seen    map[string]bool // every field of the document that could be, true if it was
	lacking map[string]bool // every field that has to be in each object, and was not in one
}

func newInspection(schemas map[string]*schema) *inspection {
	return &inspection{schemas: schemas, more: map[string]bool{}, seen: map[string]bool{}, lacking: map[string]bool{}}
}

// otherProducts are parts of an Account that have nothing to do with payments by
// card.
func otherProducts(path string) bool {
	return slices.ContainsFunc([]string{"account_", "balance_amount_by_source_type.", "card_issuing_", "transfer_schedule."},
		func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// otherMethods are the objects with a hash for each type of payment method,
// here of cards alone.
func otherMethods(path string) bool {
	object, field, _ := strings.Cut(path, ".")

	return slices.Contains([]string{
		"payment_method", "payment_method_details", "payment_intent_payment_method_options", "payment_intent_next_action",
		"refund_destination_details", "dispute_payment_method_details", "setup_intent_payment_method_options",
		"setup_intent_next_action", "token",
	}, object) && !slices.Contains([]string{"allow_redisplay", "customer_account", "radar_options"}, field)
}

// sometimes are the fields that the document asks of each object and only some had.
func (in *inspection) sometimes() []string {
	fields := []string{}

	for path := range in.lacking {
		if in.seen[path] {
			fields = append(fields, path)
		}
	}

	slices.Sort(fields)

	return fields
}

func (in *inspection) neverSeen() []string {
	fields := []string{}

	for path, was := range in.seen {
		if !was && !otherMethods(path) && !otherProducts(path) {
			fields = append(fields, path)
		}
	}

	slices.Sort(fields)

	return fields
}

func (in *inspection) check(path string, value any, s *schema) {
	if name, isRef := strings.CutPrefix(s.Ref, "#/components/schemas/"); isRef {
		in.check(name, value, in.schemas[name])

		return
	}

	switch {
	case value == nil && s.Nullable:
	case len(s.AnyOf) > 0:
		in.checkAny(path, value, s)
	case value == nil:
		in.wrong = append(in.wrong, path+": null")
	case s.Type == "array":
		items, ok := value.([]any)
		if !ok {
			in.wrong = append(in.wrong, fmt.Sprintf("%s: %T is no array", path, value))
		}

		for _, item := range items {
			in.check(path+"[]", item, s.Items)
		}
	case s.Type == "object":
		in.checkObject(path, value, s)
	default:
		in.checkScalar(path, value, s)
	}
}

// checkAny takes the alternative that finds the least wrong.
func (in *inspection) checkAny(path string, value any, s *schema) {
	var best *inspection

	for _, alternative := range s.AnyOf {
		try := newInspection(in.schemas)
		try.check(path, value, alternative)

		if best == nil || try.badness() < best.badness() {
			best = try
		}
	}

	in.wrong = append(in.wrong, best.wrong...)
	maps.Copy(in.more, best.more)
	maps.Copy(in.lacking, best.lacking)

	for path, was := range best.seen {
		in.seen[path] = in.seen[path] || was
	}
}

func (in *inspection) badness() int {
	return 1000*len(in.wrong) + 10*len(in.more) + len(in.neverSeen())
}

func (in *inspection) checkObject(path string, value any, s *schema) {
	fields, ok := value.(map[string]any)
	if !ok {
		in.wrong = append(in.wrong, fmt.Sprintf("%s: %T is no object", path, value))

		return
	}

	var additional schema

	free := string(s.AdditionalProperties) == "true" || json.Unmarshal(s.AdditionalProperties, &additional) == nil

	for name, field := range fields {
		property := s.Properties[name]

		switch {
		case property != nil:
			in.check(path+"."+name, field, property)
		case free && additional.Type != "":
			in.check(path+"."+name, field, &additional)
		case !free && len(s.Properties) > 0:
			in.more[path+"."+name] = true
		}
	}

	for name := range s.Properties {
		_, has := fields[name]
		in.seen[path+"."+name] = in.seen[path+"."+name] || has

		if !has && slices.Contains(s.Required, name) {
			in.lacking[path+"."+name] = true
		}
	}
}

func (in *inspection) checkScalar(path string, value any, s *schema) {
	ok := true

	switch s.Type {
	case "string":
		text, isText := value.(string)
		ok = isText && (s.MaxLength == 0 || len(text) <= s.MaxLength) && regexp.MustCompile(s.Pattern).MatchString(text)
	case "integer":
		number, isNumber := value.(json.Number)
		_, err := number.Int64()
		ok = isNumber && err == nil
	case "number":
		_, ok = value.(json.Number)
	case "boolean":
		_, ok = value.(bool)
	}

	if !ok {
		in.wrong = append(in.wrong, fmt.Sprintf("%s: %v (%T) is no %s", path, value, value, s.Type))
	}

	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		in.wrong = append(in.wrong, fmt.Sprintf("%s: %v is none of %v", path, value, s.Enum))
	}
}

// TestSchema holds every object that the sandbox returns, in every state it
// knows, against Stripe's OpenAPI document.
func TestSchema(t *testing.T) {
	t.Parallel()

	schemas, err := stripeSchemas()
	require.NoError(t, err)

	in := newInspection(schemas)
	kinds := map[string]int{}

	for _, object := range append(everyObject(t), connectedEvent(t)) {
		kind, _ := object["object"].(string)
		kinds[kind]++

		switch {
		case kind == "list":
			continue
		case object["deleted"] == true:
			kind = "deleted_" + kind
		case object["error"] != nil:
			kind, object = "api_errors", object["error"].(map[string]any) //nolint:forcetypeassert // fails the test
		}

		require.Contains(t, schemas, kind)
		in.check(kind, object, schemas[kind])
	}

	for _, kind := range []string{
		"payment_intent", "charge", "refund", "dispute", "event", "balance_transaction", "webhook_endpoint",
		"payment_method", "account", "balance", "list", "radar.early_fraud_warning", "customer", "setup_intent", "token",
	} {
		require.NotZero(t, kinds[kind], kind)
	}

	slices.Sort(in.wrong)
	require.Empty(t, slices.Compact(in.wrong))
	require.Empty(t, in.sometimes(), "fields that each object must have")
	require.Equal(t, readmeList(t, "more"), slices.Sorted(maps.Keys(in.more)), "fields that the document has not")
	require.Equal(t, readmeList(t, "fewer"), in.neverSeen(), "fields that are left out")
}

// readmeList reads a list of fields that the README states, so that it cannot
// differ from what is returned.
func readmeList(t *testing.T, name string) []string {
	t.Helper()

	text, err := os.ReadFile("README.md")
	require.NoError(t, err)

	_, rest, found := strings.Cut(string(text), "<!-- "+name+" -->")
	require.True(t, found)

	list, _, found := strings.Cut(rest, "<!-- end -->")
	require.True(t, found)

	fields := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" `,\n", r) })
	slices.Sort(fields)

	return fields
}

// everyObject drives a sandbox through all that it can do and returns what it
// answered.
func everyObject(t *testing.T) []map[string]any {
	t.Helper()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{SettleDelay: time.Hour}))

	var objects []map[string]any

	call := func(method, path, form string) map[string]any {
		object := callAPI(t, server.URL, method, path, form)
		objects = append(objects, object)

		return object
	}
	create := func(more string) string {
		object := call("POST", "/v1/payment_intents", "amount=2000&currency=usd&metadata[a]=b&"+more)
		if failure, failed := object["error"].(map[string]any); failed {
			object, _ = failure["payment_intent"].(map[string]any)
		}

		id, _ := object["id"].(string)

		return id
	}

	const card = "payment_method_types[]=card&confirm=true&payment_method="

	create("shipping[name]=A&shipping[address][city]=B&description=c&setup_future_usage=off_session")
	canceled := create("capture_method=manual&" + card + "pm_card_visa")
	call("POST", "/v1/payment_intents/"+canceled+"/cancel", "cancellation_reason=duplicate")

	partly := create("capture_method=manual&" + card + "pm_card_mastercard")
	call("POST", "/v1/payment_intents/"+partly+"/capture", "amount_to_capture=1500")
	create(card + "pm_card_chargeDeclined")
	create(card + "pm_card_authenticationRequired")
	approved := create(card + "pm_card_authenticationRequired&return_url=https://shop.example/")
	require.NoError(t, server.Authenticate(approved, true))

	rejected := create(card + "pm_card_authenticationRequired")
	require.NoError(t, server.Authenticate(rejected, false))

	for _, name := range []string{"pm_card_visa", "pm_card_pendingRefund", "pm_card_refundFail", "pm_card_refundRequiresAction"} {
		call("POST", "/v1/refunds", "reason=duplicate&payment_intent="+create(card+name))
	}

	call("POST", "/v1/refunds", "instructions_email=a@b.example&payment_intent="+create(card+"pm_card_refundRequiresAction"))

	reversed := call("POST", "/v1/refunds", "payment_intent="+create(card+"pm_card_visa"))
	reversal, _ := reversed["id"].(string)
	require.NoError(t, server.MoveRefund(reversal, sandbox.RefundMove{Reversal: true}))

	inquired := create(card + "pm_card_createDisputeInquiry")
	create(card + "pm_card_createIssuerFraudRecord")

	_, err := server.OpenDispute(approved, sandbox.Complaint{Reason: "check_returned", Final: true})
	require.NoError(t, err)

	debit := func(account string) string {
		object := call("POST", "/v1/payment_intents", "amount=2000&currency=usd&payment_method_types[]=us_bank_account"+
			"&confirm=true&payment_method=pm_usBankAccount_"+account)
		id, _ := object["id"].(string)

		return id
	}
	debited := debit("success")
	debit("dispute")

	for n, later := range []string{"klarna", "affirm", "afterpay_clearpay", "klarna"} {
		id := create("payment_method_types[]=" + later + "&confirm=true&payment_method_data[type]=" + later +
			"&return_url=https://shop.example/")
		require.NoError(t, server.Authenticate(id, n < 3))
	}

	lapsing := create("capture_method=manual&" + card + "pm_card_amex")
	disputed := create(card + "pm_card_createDispute")
	_ = lapsing

	server.Advance(8 * 24 * time.Hour)
	require.Eventually(t, func() bool {
		return callAPI(t, server.URL, "GET", "/v1/payment_intents/"+lapsing, "")["status"] == "canceled"
	}, patience, glance)

	require.Eventually(t, func() bool {
		return callAPI(t, server.URL, "POST", "/v1/refunds", "payment_intent="+debited)["object"] == "refund"
	}, patience, glance)

	inquiries, _ := call("GET", "/v1/disputes?payment_intent="+inquired, "")["data"].([]any)
	inquiry, _ := inquiries[0].(map[string]any)["id"].(string)
	require.NoError(t, server.DecideDispute(inquiry, sandbox.Decision{Status: "needs_response"}))

	made := call("POST", "/v1/webhook_endpoints", "url=http://127.0.0.1:9/&enabled_events[]=*")
	endpoint, _ := made["id"].(string)

	dispute, _ := call("GET", "/v1/disputes?payment_intent="+disputed, "")["data"].([]any)
	id, _ := dispute[0].(map[string]any)["id"].(string)
	call("POST", "/v1/disputes/"+id, "evidence[uncategorized_text]=winning_evidence")

	charge, _ := reversed["charge"].(string)

	for _, path := range []string{
		"payment_intents?limit=100&expand[]=data.latest_charge.balance_transaction&expand[]=data.payment_method",
		"payment_intents?limit=100", "charges?limit=100", "charges?limit=100&expand[]=data.refunds", "refunds?limit=100",
		"disputes", "events?limit=100", "radar/early_fraud_warnings", "charges/" + charge + "/refunds",
		"balance_transactions?limit=100", "webhook_endpoints",
	} {
		data, _ := call("GET", "/v1/"+path, "")["data"].([]any)
		require.NotEmpty(t, data)

		for _, item := range data {
			object, _ := item.(map[string]any)
			objects = append(objects, object)
		}
	}

	everyWalletObject(t, server, call)

	call("GET", "/v1/account", "")
	call("GET", "/v1/balance", "")
	call("GET", "/v1/payment_intents/pi_none", "")
	call("DELETE", "/v1/webhook_endpoints/"+endpoint, "")

	for _, object := range slices.Clone(objects) {
		if data, ok := object["data"].(map[string]any); ok && object["object"] == "event" {
			snapshot, _ := data["object"].(map[string]any)
			objects = append(objects, snapshot)
		}

		for _, name := range []string{"payment_method", "customer"} {
			if expanded, ok := object[name].(map[string]any); ok {
				objects = append(objects, expanded)
			}
		}
	}

	return objects
}

// everyWalletObject drives a sandbox through what it can do with customers, payment
// methods and setup intents.
func everyWalletObject(t *testing.T, server *sandbox.Server, call func(method, path, form string) map[string]any) {
	t.Helper()

	create := func(path, form string) string {
		id, _ := call("POST", "/v1/"+path, form)["id"].(string)

		return id
	}

	const address = "address[line1]=1+Main+St&address[city]=Berlin&address[country]=DE"

	customer := create("customers", "name=Jenny&email=jenny@example.com&phone=1&description=d&balance=-5&metadata[a]=b&"+
		"preferred_locales[]=de&tax_exempt=reverse&payment_method=pm_card_visa&shipping[name]=J&shipping[address][city]=B&"+address)
	method := create("payment_methods/pm_card_authenticationRequiredOnSetup/attach", "customer="+customer)
	call("POST", "/v1/customers/"+customer, "invoice_settings[default_payment_method]="+method+
		"&invoice_settings[footer]=f&invoice_settings[custom_fields][0][name]=n&invoice_settings[custom_fields][0][value]=v"+
		"&invoice_settings[rendering_options][amount_tax_display]=exclude_tax")
	call("POST", "/v1/payment_methods/"+method, "billing_details[email]=j@example.com&metadata[k]=v&card[exp_year]=2050")
	call("GET", "/v1/customers/"+customer+"?expand[]=invoice_settings.default_payment_method.customer", "")
	call("GET", "/v1/customers/"+customer+"/payment_methods/"+method+"?expand[]=customer", "")
	call("POST", "/v1/payment_methods", "type=card&card[token]=tok_visa&billing_details[address][city]=Berlin")
	require.NoError(t, server.RenewCard(method, "1881"))

	call("POST", "/v1/payment_intents", "amount=2000&currency=usd&payment_method_types[]=card&confirm=true&customer="+customer+
		"&payment_method="+method+"&expand[]=customer&expand[]=latest_charge.customer")

	const types = "payment_method_types[]=card&"

	create("setup_intents", "payment_method_types[]=us_bank_account&confirm=true&payment_method=pm_usBankAccount_success")
	create("setup_intents", "customer="+customer+"&description=d&metadata[a]=b&usage=on_session")
	create("setup_intents", types+"confirm=true&payment_method=pm_card_visa&customer="+customer)
	create("setup_intents", types+"confirm=true&payment_method=pm_card_chargeDeclined")
	asks := create("setup_intents", types+"confirm=true&payment_method=pm_card_authenticationRequired")
	require.NoError(t, server.Authenticate(asks, false))

	asks = create("setup_intents", types+"confirm=true&payment_method=pm_card_threeDSecureOptional&return_url=https://shop.example/"+
		"&payment_method_options[card][request_three_d_secure]=any")
	call("POST", "/v1/setup_intents/"+asks+"/cancel", "cancellation_reason=abandoned")

	got := caller{t, server.URL, "pk_test_1", ""}.call("POST", "/v1/tokens",
		"card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2050&card[cvc]=123&card[name]=Jenny")
	token, _ := got.body["id"].(string)
	call("GET", "/v1/tokens/"+token, "")

	for _, path := range []string{
		"customers?expand[]=data.invoice_settings.default_payment_method", "setup_intents?expand[]=data.payment_method",
		"setup_intents", "customers/" + customer + "/payment_methods", "payment_methods?type=card&customer=" + customer,
	} {
		require.NotEmpty(t, call("GET", "/v1/"+path, "")["data"], path)
	}

	call("POST", "/v1/payment_methods/"+method+"/detach", "")
	call("DELETE", "/v1/customers/"+customer, "")
}

// callAPI calls without a client library and returns the decoded answer.
func callAPI(t *testing.T, base, method, path, form string) map[string]any {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(form))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+testKey)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	_, err = url.ParseQuery(form)
	require.NoError(t, err)

	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)

	defer func() { require.NoError(t, response.Body.Close()) }()

	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)

	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()

	var object map[string]any

	require.NoError(t, decoder.Decode(&object), string(body))

	return object
}
