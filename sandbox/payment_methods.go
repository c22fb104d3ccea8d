package sandbox

// getPaymentMethod is GET /v1/payment_methods/:id: one use of a test card.
func (s *account) getPaymentMethod(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	method, ok := s.books.methods.get(rq.objectID)
	if !ok {
		return missing("PaymentMethod", rq.objectID, objectMethod)
	}

	rq.body = method

	return nil
}
