package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// dashboardPath is where the control API does what a person does in Stripe's
// Dashboard; the path of an endpoint follows, such as v1/refunds.
const dashboardPath = "/_sandbox/dashboard/"

// errDashboard is returned for what the Dashboard refuses to do.
var errDashboard = errors.New("dashboard")

// Dashboard does what somebody does in Stripe's Dashboard: it calls an endpoint,
// such as /v1/refunds, in the account whose payment the path or the form names. No
// idempotency key is used, no fault rule acts, and events name no request. It
// returns the object, or an error that says why it was refused.
func (s *Sandbox) Dashboard(path string, form url.Values) (json.RawMessage, error) {
	parsed, wrong := parseForm(form.Encode())
	if wrong != nil {
		return nil, fmt.Errorf("%w: %s", errDashboard, wrong.message)
	}

	answer := s.actInDashboard(path, parsed, s.options.PublicURL)
	if refused, is := answer.body.(*refusal); is {
		return nil, fmt.Errorf("%w: %s", errDashboard, refused.message)
	}

	return render(answer.body), nil
}

func (s *Sandbox) actInDashboard(path string, form *form, baseURL string) reply {
	rq := &request{
		method: http.MethodPost, path: "/" + strings.TrimPrefix(path, "/"), sandbox: s, params: newParams(form),
		baseURL: baseURL, dashboard: true, account: s.owner(path, form),
	}

	return rq.handle()
}

// owner is the account of the payment that a call is about: that of the first
// object that it names, or the first account.
func (s *Sandbox) owner(path string, form *form) *account {
	names := strings.Split(path, "/")

	for _, name := range []string{objectIntent, objectCharge} {
		if member := form.find(name); member != nil {
			names = append(names, member.value)
		}
	}

	for _, a := range s.accounts {
		if slices.ContainsFunc(names, a.books.has) {
			return a
		}
	}

	return s.home()
}

// has tells whether an object of a payment is in the books.
func (b *books) has(id string) bool {
	_, is := b.payments.get(id)

	for _, shelf := range []*shelf[member]{b.charges, b.refunds, b.disputes} {
		_, there := shelf.get(id)
		is = is || there
	}

	return is
}

// serveDashboard is Dashboard over HTTP: a JSON object in the place of the form.
func (s *Sandbox) serveDashboard(w http.ResponseWriter, r *http.Request) {
	var body map[string]any

	fields := url.Values{}

	err := decodeIfAny(r, &body)
	if err == nil {
		err = flatten(fields, "", body)
	}

	parsed, refused := parseForm(fields.Encode())
	if err == nil && refused != nil {
		err = fmt.Errorf("%w: %s", errBadControl, refused.message)
	}

	if err != nil {
		s.control(func(*http.Request) (any, error) { return nil, err })(w, r)

		return
	}

	answer := s.actInDashboard(r.PathValue("path"), parsed, s.baseURL(r))

	w.Header().Set("Content-Type", "application/json")
	s.send(w, answer.status, render(answer.body))
}

// flatten writes JSON as Stripe's forms have it: metadata[a]=b, expand[0]=c.
func flatten(into url.Values, name string, value any) error {
	under := func(key string) string {
		if name == "" {
			return key
		}

		return name + "[" + key + "]"
	}

	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			if err := flatten(into, under(key), inner); err != nil {
				return err
			}
		}
	case []any:
		for i, inner := range value {
			if err := flatten(into, under(strconv.Itoa(i)), inner); err != nil {
				return err
			}
		}
	case string:
		into.Set(name, value)
	case bool:
		into.Set(name, strconv.FormatBool(value))
	case float64:
		if value != float64(int64(value)) {
			return fmt.Errorf("%w: %s is no whole number", errBadControl, name)
		}

		into.Set(name, strconv.FormatInt(int64(value), 10))
	case nil: // unsets
		into.Set(name, "")
	}

	return nil
}
