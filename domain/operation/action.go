package operation

import "strings"

// Action is what the audit calls an operation of the kind: the object and the verb, such as
// payment.capture or customer.create.
func (k Kind) Action() string {
	verb, object, of := strings.Cut(string(k), "_")
	if !of {
		object = "payment"
	}

	return object + "." + verb
}

// KindOfAction is the kind that the audit calls so. Whether there is such a kind it does not tell.
func KindOfAction(action string) Kind {
	object, verb, _ := strings.Cut(action, ".")
	if object == "payment" {
		return Kind(verb)
	}

	return Kind(verb + "_" + object)
}
