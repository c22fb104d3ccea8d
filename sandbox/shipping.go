package sandbox

// shipping is where the goods go; the sandbox only hands it back.
type shipping struct {
	Name           string
	Phone          string
	Carrier        string
	TrackingNumber string
	Address        address
}

// address is a postal address, in the order of addressLines.
type address [6]string

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

	if sent := readAddress(p.child("address"), nil); sent != nil {
		s.Address = *sent
	}

	return s
}

// readAddress merges the lines that were sent into an address that was there.
// It is nil where the address is unset.
func readAddress(p *params, before *address) *address {
	if p == nil {
		return nil
	}

	next := address{}
	if before != nil {
		next = *before
	}

	for i, line := range addressLines {
		setText(p, line, &next[i])
	}

	return &next
}

func (a *address) write(w *jsonWriter, name string) {
	w.object(name)

	for i, line := range addressLines {
		w.strOrNull(line, a[i])
	}

	w.endObject()
}

func (a *address) writeOrNull(w *jsonWriter, name string) {
	if a == nil {
		w.null(name)

		return
	}

	a.write(w, name)
}

func (s *shipping) write(w *jsonWriter) {
	if s == nil {
		w.null("shipping")

		return
	}

	w.object("shipping")
	s.Address.write(w, "address")
	w.strOrNull("carrier", s.Carrier)
	w.str("name", s.Name)
	w.strOrNull("phone", s.Phone)
	w.strOrNull("tracking_number", s.TrackingNumber)
	w.endObject()
}
