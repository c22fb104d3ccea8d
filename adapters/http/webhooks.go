package http

import "net/http"

// stripeWebhook is POST /webhooks/stripe. 200 means that the event is durable;
// anything else makes Stripe send it again.
func (s *server) stripeWebhook(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()

	payload, err := readBody(w, r, maxEventBody)
	if err != nil {
		s.fail(ctx, w, err)

		return
	}

	if _, err := s.HandleEvent.Do(ctx, payload, r.Header.Get("Stripe-Signature")); err != nil {
		s.fail(ctx, w, err)

		return
	}

	s.respond(ctx, w, http.StatusOK, statusBody{Status: "ok"})
}

type statusBody struct {
	Status string `json:"status"`
}
