package stripe_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Accounts may have customers whose ids their owners have chosen: they hide no other, and their
// events are taken, because Stripe would send them again and again.
func TestCustomers_WithIDsOfTheirOwn(t *testing.T) {
	t.Parallel()

	pages := 0
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		if pages++; r.URL.Query().Get("starting_after") == "" {
			answer(w, http.StatusOK, `{"has_more":true,"data":[{"id":"cus_2","object":"customer"},{"id":"jenny@example.com"}]}`)

			return
		}

		answer(w, http.StatusOK, `{"has_more":false,"data":[{"id":"cus_1","object":"customer","email":7,"metadata":null}]}`)
	})

	var ids []string

	for c, err := range bed.gateway.Customers(t.Context(), time.Now(), time.Now()) {
		require.NoError(t, err)

		ids = append(ids, c.ID)
	}

	require.Equal(t, []string{"cus_2", "cus_1"}, ids)
	require.Equal(t, 2, pages)

	event, err := newWebhooks(t).Parse([]byte(
		`{"id":"evt_1","type":"customer.updated","data":{"object":{"id":"jenny@example.com","email":"jenny@example.com"}}}`))
	require.NoError(t, err)
	require.True(t, event.IsCustomer)
	require.Empty(t, event.ObjectID)
	require.Empty(t, event.Raw)
	require.False(t, event.Customer.Marked)
}

// Stripe quotes an address that it does not take.
func TestSend_DoesNotRepeatAnAddress(t *testing.T) {
	t.Parallel()

	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusBadRequest, `{"error":{"type":"invalid_request_error","code":"email_invalid",`+
			`"message":"Invalid email address: jenny+x@example.com","param":"email"}}`)
	})

	_, err := bed.gateway.Send(t.Context(), ports.Call{
		Key: "mf_update_customer_1", Path: "/v1/customers/cus_1", Params: "email=jenny%2Bx%40example.com",
	}, false)

	var rejected *ports.RejectedError

	require.ErrorAs(t, err, &rejected)
	require.True(t, rejected.Order)
	require.Equal(t, "Invalid email address: ***", rejected.Message)
	require.NotContains(t, err.Error(), "jenny")
}

// A mark that another kind of operation has written is not the one of a customer.
func TestCustomer_AnotherMark(t *testing.T) {
	t.Parallel()

	mark := operation.Mark{Tenant: 1, Kind: operation.Create}
	bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, `{"id":"cus_1","metadata":{"marketflow":"`+mark.String()+`"}}`)
	})

	read, err := bed.gateway.Customer(t.Context(), "cus_1")
	require.NoError(t, err)
	require.False(t, read.Marked)
}

// Whoever may not list customers, or asks a stand-in without them, gets none. Nothing waits
// for the list; an outage is an error.
func TestCustomers_WhereThereIsNoList(t *testing.T) {
	t.Parallel()

	for status, missing := range map[int]bool{
		400: true, 403: true, 404: true, 405: true, 501: true, 401: false, 429: false, 500: false,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()

			bed := newBed(t, func(w http.ResponseWriter, _ *http.Request) {
				answer(w, status, `{"error":{"type":"invalid_request_error","message":"no"}}`)
			})

			var errs []error
			for _, err := range bed.gateway.Customers(t.Context(), time.Now().Add(-time.Hour), time.Now()) {
				errs = append(errs, err)
			}

			if missing {
				require.Empty(t, errs)
			} else {
				require.Len(t, errs, 1)
				require.Error(t, errs[0])
			}
		})
	}
}
