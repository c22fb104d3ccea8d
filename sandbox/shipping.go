package sandbox

// shipping is where the goods go; the sandbox only hands it back.
type shipping struct {
	Name           string
	Phone          string
	Carrier        string
	TrackingNumber string
	Address        [6]string
}

// addressLines are the parts of an address, in shipping.Address's order.
//
//nolint:gochecknoglobals // a table, never written
var addressLines = [6]string{"city", "country", "line1", "line2", "postal_code", "state"}

func readShipping(p *params) *shipping {
	if p == nil { // shipping= unsets it
		return nil
	}

	s := &shipping{Name: p.required("name")}
	s.Phone, _ = p.textOrEmpty("phone")
	s.Carrier, _ = p.textOrEmpty("carrier")
	s.TrackingNumber, _ = p.textOrEmpty("tracking_number")

	if !p.has("address") {
		p.required("address")

		return s
	}

	address := p.child("address")

	for i, line := range addressLines {
		s.Address[i], _ = address.textOrEmpty(line)
	}

	return s
}

func (s *shipping) write(w *jsonWriter) {
	if s == nil {
		w.null("shipping")

		return
	}

	w.object("shipping")
	w.object("address")

	for i, line := range addressLines {
		w.strOrNull(line, s.Address[i])
	}

	w.endObject()
	w.strOrNull("carrier", s.Carrier)
	w.str("name", s.Name)
	w.strOrNull("phone", s.Phone)
	w.strOrNull("tracking_number", s.TrackingNumber)
	w.endObject()
}
