package stripe_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// operationID is that of the operations on a payment here.
var operationID = uuid.MustParse("0190d5a5-7c1f-7000-8000-000000000002")

// priced is an order of an amount and nothing else.
func priced(tb testing.TB, minor int64, code string) operation.Order {
	tb.Helper()

	currency, err := money.ParseCurrency(code)
	require.NoError(tb, err)
	amount, err := money.NewPrice(minor, currency)
	require.NoError(tb, err)

	return operation.Order{Amount: amount}
}

// A call that is repeated after a deployment must be the same bytes: Stripe rejects a key
// that comes back with other parameters. So these texts do not change.
func TestCalls_ArePinned(t *testing.T) {
	t.Parallel()

	const (
		create  = "1.AZDVpXwfcACAAAAAAAAAqg.1.create.AZDVpXwfcACAAAAAAAAAAQ.AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		capture = "1.AZDVpXwfcACAAAAAAAAAqg.1.capture.AZDVpXwfcACAAAAAAAAAAg.AQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		ours    = "metadata%5Bmarketflow%5D=" + create + "&metadata%5Bpayment_id%5D=0190d5a5-7c1f-7000-8000-000000000001"
	)

	calls := stripe.Calls{}
	reason := func(reason string) operation.Order {
		return operation.Order{Options: map[string]string{"reason": reason}}
	}
	manual := priced(t, 1000, "USD")
	manual.Options = map[string]string{"capture_method": "manual"}

	for name, c := range map[string]struct {
		build func() (ports.Call, error)
		want  ports.Call
	}{
		"Create": {
			func() (ports.Call, error) {
				return calls.CreatePayment(markOf(operation.Create, paymentID), "", order(t, 1999, nil))
			},
			ports.Call{
				Key: "mf_create_0190d5a5-7c1f-7000-8000-000000000001", Path: "/v1/payment_intents",
				Params: "amount=1999&automatic_payment_methods%5Benabled%5D=true&currency=usd&" + ours,
			},
		},
		"CreateWithEverything": {
			func() (ports.Call, error) {
				manual.Metadata = map[string]string{"z": "ж &=+%", "a": "", "order no": "7"}

				return calls.CreatePayment(markOf(operation.Create, paymentID), "order 1 & more", manual)
			},
			ports.Call{
				Key: "mf_create_0190d5a5-7c1f-7000-8000-000000000001", Path: "/v1/payment_intents",
				Params: "amount=1000&automatic_payment_methods%5Benabled%5D=true&capture_method=manual&currency=usd&" +
					"metadata%5Bmarketflow%5D=" + create + "&metadata%5Bmarketflow_key%5D=order+1+%26+more&" +
					"metadata%5Border+no%5D=7&metadata%5Bpayment_id%5D=0190d5a5-7c1f-7000-8000-000000000001&" +
					"metadata%5Bz%5D=%D0%B6+%26%3D%2B%25",
			},
		},
		"CreateWithoutDecimals": {
			func() (ports.Call, error) {
				return calls.CreatePayment(markOf(operation.Create, paymentID), "", priced(t, 500, "JPY"))
			},
			ports.Call{
				Key: "mf_create_0190d5a5-7c1f-7000-8000-000000000001", Path: "/v1/payment_intents",
				Params: "amount=500&automatic_payment_methods%5Benabled%5D=true&currency=jpy&" + ours,
			},
		},
		"CaptureAll": {
			func() (ports.Call, error) {
				return calls.CapturePayment(markOf(operation.Capture, operationID), "pi_1", operation.Order{})
			},
			ports.Call{
				Key: "mf_capture_0190d5a5-7c1f-7000-8000-000000000002", Path: "/v1/payment_intents/pi_1/capture",
				Params: "metadata%5Bmarketflow_capture%5D=" + capture,
			},
		},
		"CaptureAPart": {
			func() (ports.Call, error) {
				return calls.CapturePayment(markOf(operation.Capture, operationID), "pi_1", priced(t, 400, "USD"))
			},
			ports.Call{
				Key: "mf_capture_0190d5a5-7c1f-7000-8000-000000000002", Path: "/v1/payment_intents/pi_1/capture",
				Params: "amount_to_capture=400&metadata%5Bmarketflow_capture%5D=" + capture,
			},
		},
		"Cancel": {
			func() (ports.Call, error) {
				return calls.CancelPayment(markOf(operation.Cancel, operationID), "pi_1", operation.Order{})
			},
			ports.Call{Key: "mf_cancel_0190d5a5-7c1f-7000-8000-000000000002", Path: "/v1/payment_intents/pi_1/cancel"},
		},
		"CancelForAReason": {
			func() (ports.Call, error) {
				return calls.CancelPayment(markOf(operation.Cancel, operationID), "pi_1", reason("requested_by_customer"))
			},
			ports.Call{
				Key: "mf_cancel_0190d5a5-7c1f-7000-8000-000000000002", Path: "/v1/payment_intents/pi_1/cancel",
				Params: "cancellation_reason=requested_by_customer",
			},
		},
		"CreateAndConfirm": {
			func() (ports.Call, error) {
				order := priced(t, 1999, "USD")
				order.Options = map[string]string{
					"confirm": "true", "payment_method": "pm_1", "off_session": "true", "description": "a bicycle",
					"receipt_email": "ann@example.com", "statement_descriptor_suffix": "BIKE 7", "not_stripes": "x",
				}

				return calls.CreatePayment(markOf(operation.Create, paymentID), "", order)
			},
			ports.Call{
				Key: "mf_create_0190d5a5-7c1f-7000-8000-000000000001", Path: "/v1/payment_intents",
				Params: "amount=1999&automatic_payment_methods%5Ballow_redirects%5D=never&" +
					"automatic_payment_methods%5Benabled%5D=true&confirm=true&currency=usd&description=a+bicycle&" +
					"expand%5B%5D=latest_charge&" + ours + "&off_session=true&payment_method=pm_1&" +
					"receipt_email=ann%40example.com&statement_descriptor_suffix=BIKE+7",
			},
		},
		"CreateAndConfirmWithAPageToComeBackTo": {
			func() (ports.Call, error) {
				order := priced(t, 1999, "USD")
				order.Options = map[string]string{
					"confirm": "true", "payment_method": "pm_1", "return_url": "https://shop.example/?a=b",
				}

				return calls.CreatePayment(markOf(operation.Create, paymentID), "", order)
			},
			ports.Call{
				Key: "mf_create_0190d5a5-7c1f-7000-8000-000000000001", Path: "/v1/payment_intents",
				Params: "amount=1999&automatic_payment_methods%5Benabled%5D=true&confirm=true&currency=usd&" +
					"expand%5B%5D=latest_charge&" + ours + "&payment_method=pm_1&" +
					"return_url=https%3A%2F%2Fshop.example%2F%3Fa%3Db",
			},
		},
		"Confirm": {
			func() (ports.Call, error) {
				return calls.ConfirmPayment(markOf(operation.Confirm, operationID), "pi_1", operation.Order{
					Options: map[string]string{"payment_method": "pm_1", "off_session": "true", "return_url": "https://shop.example"},
				})
			},
			ports.Call{
				Key: "mf_confirm_0190d5a5-7c1f-7000-8000-000000000002", Path: "/v1/payment_intents/pi_1/confirm",
				Params: "expand%5B%5D=latest_charge&off_session=true&payment_method=pm_1&return_url=https%3A%2F%2Fshop.example",
			},
		},
		"Update": {
			func() (ports.Call, error) {
				return calls.UpdatePayment(markOf(operation.Update, operationID), "pi_1", operation.Order{
					Metadata: map[string]string{"a": "b", "gone": ""}, Options: map[string]string{"description": ""},
				})
			},
			ports.Call{
				Key: "mf_update_0190d5a5-7c1f-7000-8000-000000000002", Path: "/v1/payment_intents/pi_1",
				Params: "description=&metadata%5Ba%5D=b&metadata%5Bgone%5D=",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			call, err := c.build()
			require.NoError(t, err)
			require.Equal(t, c.want, call)

			_, err = url.ParseQuery(call.Params)
			require.NoError(t, err)
		})
	}
}

// Go's maps have no order, the calls have one.
func TestCalls_EqualArgumentsEqualBytes(t *testing.T) {
	t.Parallel()

	big := priced(t, 1999, "USD")
	big.Metadata = map[string]string{}

	for n := range 46 {
		big.Metadata[fmt.Sprintf("%d%s", n, strings.Repeat("k", 38))] = strings.Repeat("ж", 500)
	}

	first, err := stripe.Calls{}.CreatePayment(markOf(operation.Create, paymentID), "k", big)
	require.NoError(t, err)

	for range 20 {
		again, err := stripe.Calls{}.CreatePayment(markOf(operation.Create, paymentID), "k", big)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}

	values, err := url.ParseQuery(first.Params)
	require.NoError(t, err)

	entries := 0

	for name, value := range values {
		if strings.HasPrefix(name, "metadata[") {
			entries++

			require.LessOrEqual(t, len([]rune(value[0])), 500, "Stripe's limit")
		}
	}

	require.Equal(t, 49, entries, "with the mark of a capture, Stripe's fifty")
}

// An id could lead to another path, where the call means something else.
func TestCalls_ImpossibleIDs(t *testing.T) {
	t.Parallel()

	for _, id := range []string{
		"", "pi_", "ch_1", "pi_1/cancel", "pi_1?x=y", "pi_1#", "pi_..", "../pi_1", "pi_1%2fcancel", "pi_1 ", "pi_é", "pi_1\n",
		"pi_" + strings.Repeat("x", 253),
	} {
		call, err := stripe.Calls{}.CapturePayment(markOf(operation.Capture, operationID), id, operation.Order{})
		require.Error(t, err, id)
		require.Zero(t, call)

		call, err = stripe.Calls{}.CancelPayment(markOf(operation.Cancel, operationID), id, operation.Order{})
		require.Error(t, err, id)
		require.Zero(t, call)

		call, err = stripe.Calls{}.ConfirmPayment(markOf(operation.Confirm, operationID), id, operation.Order{})
		require.Error(t, err, id)
		require.Zero(t, call)

		call, err = stripe.Calls{}.UpdatePayment(markOf(operation.Update, operationID), id, operation.Order{})
		require.Error(t, err, id)
		require.Zero(t, call)
	}
}
