package sandbox

// view is how an object is looked at: which references are written as whole
// objects, and the payment in which those are found. The zero view writes ids.
type view struct {
	expand  expansion
	payment *payment
}

// expansion is what expand[] asks for, as a tree: latest_charge.refunds is
// {latest_charge: {refunds: {}}}.
type expansion map[string]expansion

// viewable is an object that can be written expanded.
type viewable interface {
	document
	write(w *jsonWriter, v view)
}

// ref writes a reference: null, an id, or the object itself.
func (v view) ref(w *jsonWriter, name, id string) {
	inner, asked := v.expand[name]
	if !asked || id == "" || v.payment == nil {
		w.strOrNull(name, id)

		return
	}

	w.key(name)

	switch found := v.payment.find(id).(type) {
	case nil:
		w.text(id)
	case viewable:
		found.write(w, view{expand: inner, payment: v.payment})
	default:
		found.writeJSON(w)
	}
}

// find returns the current version of one of the payment's objects, or nil.
func (p *payment) find(id string) document {
	if p.intent.ID == id {
		return p.intent
	}

	for _, c := range p.charges {
		if c.ID == id {
			return c
		}
	}

	if p.intent.Method != nil && p.intent.Method.ID == id {
		return p.intent.Method
	}

	for _, m := range p.methods {
		if m.ID == id {
			return m
		}
	}

	return nil
}
