package stripe_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A stand-in that has refunds does not lose them: from then on a list that is not there is an error.
func TestRefunds_WhereTheListIsGone(t *testing.T) {
	t.Parallel()

	var gone atomic.Bool

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		if gone.Load() {
			answer(w, http.StatusNotFound, `{"error":{"type":"invalid_request_error","message":"no such route"}}`)
		} else {
			answer(w, http.StatusOK, `{"object":"list","data":[],"has_more":false}`)
		}
	})

	_, err := bed.gateway.RefundsOf(t.Context(), "pi_1")
	require.NoError(t, err)

	gone.Store(true)

	_, err = bed.gateway.RefundsOf(t.Context(), "pi_1")
	require.Error(t, err)
}
