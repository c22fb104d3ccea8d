package sandbox

import (
	"net/http"
)

// authenticatePath is where the customer of a 3-D Secure payment is sent.
const authenticatePath = "/_sandbox/authenticate/"

// controlRoutes are the sandbox's own doors, beside Stripe's.
func (s *Sandbox) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sandbox/health", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})

	return mux
}
