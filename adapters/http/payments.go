package http

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
)

// createPayment is POST /payments.
func (s *server) createPayment(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()

	if err := requireJSON(r.Header); err != nil {
		s.fail(ctx, w, err)

		return
	}

	form, err := s.readBody(w, r, maxCreateBody)
	if err != nil {
		s.fail(ctx, w, err)

		return
	}

	request, err := decodeCreate(form, r.Header)
	if err != nil {
		s.fail(ctx, w, err)

		return
	}

	answer, err := s.CreatePayment.Do(ctx, payments.CreateCommand{
		Key: request.key, Order: request.order, RequestID: requestID(ctx),
	})
	if err != nil {
		s.fail(ctx, w, err)

		return
	}

	if answer.Response.Status == http.StatusCreated {
		w.Header().Set("Location", "/payments/"+answer.PaymentID.String())
	}

	if answer.Replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}

	s.respondFrozen(ctx, w, answer.Response)
}

// getPayment is GET /payments/{id}.
func (s *server) getPayment(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()

	text := mux.Vars(r)["id"]

	// Parse takes other spellings, too; a payment has one address.
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		s.fail(ctx, w, fault.New(fault.Invalid, "The payment id in the path is not a UUID."))

		return
	}

	p, err := s.GetPayment.Do(ctx, id)
	if err != nil {
		s.fail(ctx, w, err)

		return
	}

	s.respond(ctx, w, http.StatusOK, toPaymentBody(p))
}
