package sandbox

// getPaymentMethod is GET /v1/payment_methods/:id: one use of a test card.
func (s *Sandbox) getPaymentMethod(rq *request) (document, *refusal) {
	if r := rq.finish(); r != nil {
		return nil, r
	}

	method, ok := s.books.methods.get(rq.objectID)
	if !ok {
		return nil, missing("PaymentMethod", rq.objectID, "payment_method")
	}

	return method, nil
}
