package sandbox

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
)

// authenticatePage is where the customer of a 3-D Secure payment decides.
//
//nolint:gochecknoglobals // parsed once, never written
var authenticatePage = template.Must(template.New("authenticate").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>3-D Secure test page</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem}
button{font:inherit;padding:.6rem 1.2rem;margin-right:.5rem}</style>
<h1>3-D Secure test page</h1>
{{if .Asks}}<p>A payment of <strong>{{.Amount}}</strong> asks for your authentication.</p>
<form method="post"><input type="hidden" name="client_secret" value="{{.Secret}}">
<button name="result" value="approve">Approve</button><button name="result" value="decline">Decline</button></form>
{{else}}<p>The payment is <strong>{{.Status}}</strong>. You may close this page.</p>{{end}}
</html>
`))

// Authenticate answers an intent's 3-D Secure challenge as the customer would
// on its page. It returns an error where the intent does not ask for one.
func (s *Sandbox) Authenticate(intentID string, approve bool) error {
	account, pay := s.paymentAnywhere(intentID)
	if pay == nil {
		return fmt.Errorf("%w: payment intent %s", errNoObject, intentID)
	}

	var err error

	account.inBackground(func(rq *request) {
		rq.change(pay)

		if pay.intent.Status != statusRequiresAction {
			err = fmt.Errorf("%w: %s has the status %s, not requires_action", errBadControl, intentID, pay.intent.Status)

			return
		}

		account.authenticated(rq, pay, approve)
	})

	return err
}

// authenticated goes on with a locked intent once its customer has decided.
func (s *account) authenticated(rq *request, pay *payment, approved bool) {
	if !approved {
		s.failAuthentication(rq, pay, codeAuthenticationFailure, "The provided PaymentMethod has failed authentication. "+
			"You can provide payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent again.")

		return
	}

	next := *pay.intent
	next.Authenticated, next.Action = true, nil
	pay.intent = &next

	if next.ConfirmationMethod == confirmManual {
		next.Status = statusRequiresConfirmation // the server confirms again

		return
	}

	if no := next.Method.card().decline; no != nil {
		s.declinePayment(rq, pay, no)

		return
	}

	s.pay(rq, pay)
}

// serveAuthenticate is the page at an intent's next_action URL.
func (s *Sandbox) serveAuthenticate(w http.ResponseWriter, r *http.Request) {
	_, pay := s.paymentAnywhere(r.PathValue("id"))
	if pay == nil {
		http.NotFound(w, r)

		return
	}

	pay.mu.Lock()
	before := pay.intent
	pay.mu.Unlock()

	if r.FormValue("client_secret") != before.Secret {
		http.NotFound(w, r)

		return
	}

	if r.Method == http.MethodPost && before.Action != nil {
		approve := r.PostFormValue("result") == "approve"
		if err := s.Authenticate(before.ID, approve); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)

			return
		}

		if before.Action.ReturnURL != "" {
			http.Redirect(w, r, returnURL(before, approve), http.StatusSeeOther)

			return
		}
	}

	s.showAuthenticate(w, pay)
}

func (s *Sandbox) showAuthenticate(w http.ResponseWriter, pay *payment) {
	pay.mu.Lock()
	i := pay.intent
	pay.mu.Unlock()

	w.Header().Set("Content-Type", "text/html; charset=utf-8")

	err := authenticatePage.Execute(w, map[string]any{
		"Asks": i.Action != nil, "Secret": i.Secret, "Status": i.Status,
		"Amount": currencies[i.Currency].digits(i.Amount) + " " + strings.ToUpper(i.Currency),
	})
	if err != nil {
		s.log.Debug("the client hung up before its page", "error", err)
	}
}

// returnURL is where the customer goes back to, with what Stripe appends.
func returnURL(i *paymentIntent, approved bool) string {
	target, err := url.Parse(i.Action.ReturnURL)
	if err != nil {
		return i.Action.ReturnURL // it was parsed when it came
	}

	status := statusSucceeded
	if !approved {
		status = statusFailed
	}

	query := target.Query()
	query.Set("payment_intent", i.ID)
	query.Set("payment_intent_client_secret", i.Secret)
	query.Set("redirect_status", status)
	target.RawQuery = query.Encode()

	return target.String()
}
