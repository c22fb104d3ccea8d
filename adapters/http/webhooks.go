package http

import "net/http"

// stripeWebhook is POST /webhooks/stripe. 200 means that the event is durable;
// anything else makes Stripe send it again.
func (s *server) stripeWebhook(w http.ResponseWriter, r *http.Request) {
	payload, err := s.readBody(w, r, maxEventBody)
	if err != nil {
		s.fail(r.Context(), w, err)

		return
	}

	event, err := s.HandleEvent.Verify(payload, r.Header.Get(signatureHeader))
	if err != nil {
		s.failUnsigned(w, r, err)

		return
	}

	ctx := s.startSigned(r.Context())

	if _, err := s.HandleEvent.Do(ctx, event); err != nil {
		s.fail(ctx, w, err)

		return
	}

	s.respond(ctx, w, http.StatusOK, statusBody{Status: "ok"})
}

type statusBody struct {
	Status string `json:"status"`
}
