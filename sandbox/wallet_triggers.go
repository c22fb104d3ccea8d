package sandbox

import "net/http"

// walletRecipes are the steps to each event of customers, payment methods and
// setup intents. What they return as the intent is the customer or setup intent.
func walletRecipes() map[string][]step {
	const keptMethod = "method"

	kept := map[string]string{keptIntent: "id"}
	customer := []step{{path: customersURL, form: "name=Jenny+Rosen&description=(created by trigger)", keep: kept}}
	attached := then(customer, step{
		path: methodsURL + "/pm_card_visa/attach", form: "customer={intent}", keep: map[string]string{keptMethod: "id"},
	})
	setup := func(card string, status int, id string) []step {
		return []step{{
			path: setupsURL, form: "payment_method_types[]=card&confirm=true&payment_method=" + card,
			status: status, keep: map[string]string{keptIntent: id},
		}}
	}

	return map[string][]step{
		"customer.created": customer,
		"customer.updated": then(customer, step{path: customersURL + "/{intent}", form: "description=changed"}),
		"customer.deleted": then(customer, step{path: customersURL + "/{intent}", del: true}),

		"payment_method.attached": attached,
		"payment_method.detached": then(attached, step{path: methodsURL + "/{method}/detach"}),
		"payment_method.updated":  then(attached, step{path: methodsURL + "/{method}", form: "metadata[by]=trigger"}),
		"payment_method.automatically_updated": then(attached, step{
			path: "/_sandbox/payment_methods/{method}/renew",
		}),

		"setup_intent.created":         {{path: setupsURL, keep: kept}},
		"setup_intent.succeeded":       setup("pm_card_visa", http.StatusOK, "id"),
		"setup_intent.requires_action": setup("pm_card_authenticationRequired", http.StatusOK, "id"),
		"setup_intent.setup_failed": setup("pm_card_chargeDeclined", http.StatusPaymentRequired,
			"error.setup_intent.id"),
		"setup_intent.canceled": then([]step{{path: setupsURL, keep: kept}}, step{path: setupsURL + "/{intent}/cancel"}),
	}
}
