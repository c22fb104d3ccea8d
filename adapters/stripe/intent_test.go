package stripe_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// parsed is the intent of an event about an object with these members.
func parsed(t *testing.T, members string) ports.Intent {
	t.Helper()

	event, err := newWebhooks(t).Parse([]byte(
		`{"id":"evt_1","type":"payment_intent.created","data":{"object":{"id":"pi_1",` + members + `}}}`))
	require.NoError(t, err, members)

	return event.Intent
}

func TestIntent_Sums(t *testing.T) {
	t.Parallel()

	held := parsed(t, `"amount":1000,"amount_capturable":600,"amount_received":400,"currency":"usd"`)
	require.Equal(t, "6.00 USD", held.Capturable.String())
	require.Equal(t, "4.00 USD", held.Captured.String())

	for _, members := range []string{
		`"amount":1000,"currency":"usd"`,
		`"amount":1000,"currency":"usd","amount_capturable":null,"amount_received":null`,
		`"amount_capturable":600,"amount_received":400`, // of which currency?
		`"amount_capturable":600,"amount_received":400,"currency":"xyz"`,
	} {
		unsaid := parsed(t, members)
		require.True(t, unsaid.Capturable.IsZero(), members)
		require.True(t, unsaid.Captured.IsZero(), members)
	}

	nothing := parsed(t, `"amount_capturable":0,"amount_received":0,"currency":"usd"`)
	require.False(t, nothing.Captured.IsZero(), "zero dollars are said")
	require.Equal(t, "0.00 USD", nothing.Capturable.String())
}

func TestIntent_CaptureMethods(t *testing.T) {
	t.Parallel()

	for method, want := range map[string]payment.CaptureMethod{
		`"manual"`: payment.CaptureManual, `"automatic"`: payment.CaptureAutomatic, `"automatic_async"`: payment.CaptureAutomatic,
		`"of_the_future"`: payment.CaptureAutomatic, `""`: "", `null`: "",
	} {
		require.Equal(t, want, parsed(t, `"capture_method":`+method).CaptureMethod, method)
	}

	require.Empty(t, parsed(t, `"status":"succeeded"`).CaptureMethod)
}

func TestIntent_StatusWords(t *testing.T) {
	t.Parallel()

	for word, want := range map[string]payment.IntentStatus{
		"requires_capture": payment.IntentRequiresCapture, "processing": payment.IntentProcessing,
		"of_the_future": "of_the_future", "": "", "Not a word!": "", strings.Repeat("x", 41): "",
	} {
		require.Equal(t, want, parsed(t, `"status":"`+word+`"`).IntentStatus, word)
	}
}

func TestIntent_Marks(t *testing.T) {
	t.Parallel()

	created, captured := markOf(operation.Create, paymentID), markOf(operation.Capture, operationID)
	metadata := func(entries string) ports.Intent { return parsed(t, `"metadata":{`+entries+`}`) }
	ours := `"payment_id":"` + paymentID.String() + `"`

	whole := metadata(ours + `,"marketflow":"` + created.String() + `","marketflow_capture":"` + captured.String() + `"`)
	require.True(t, whole.Marked)
	require.Equal(t, created, whole.Mark)
	require.Equal(t, captured, whole.Capture)
	require.False(t, whole.Unmarked)

	older := metadata(ours)
	require.False(t, older.Marked)
	require.False(t, older.Unmarked)
	require.Equal(t, paymentID, older.PaymentID)

	lost := metadata(`"marketflow":"` + created.String() + `"`)
	require.True(t, lost.Marked, "somebody has removed the payment's id")
	require.False(t, lost.Unmarked)

	for _, entries := range []string{
		``, `"order":"42"`, `"marketflow":"yes"`, `"marketflow":"` + created.String() + ` "`, `"Marketflow":"` + created.String() + `"`,
		`"payment_id":"17","marketflow_key":"order_1"`,
	} {
		foreign := metadata(entries)
		require.True(t, foreign.Unmarked, entries)
		require.False(t, foreign.Marked, entries)
		require.Zero(t, foreign.Mark, entries)
		require.Zero(t, foreign.Capture, entries)
	}

	for _, members := range []string{`"status":"succeeded"`, `"metadata":null`} {
		require.False(t, parsed(t, members).Unmarked, "it does not say whose it is")
	}

	// A mark in an object that could not be ours names nothing of ours.
	impossible := parsed(t, `"amount":0,"currency":"usd","metadata":{`+ours+`,"marketflow":"`+created.String()+`"}`)
	require.False(t, impossible.Marked)
	require.Equal(t, uuid.Nil, impossible.PaymentID)
	require.True(t, impossible.Unmarked)
}

func TestIntent_CaptureBefore(t *testing.T) {
	t.Parallel()

	charge := func(details string) string {
		return `"latest_charge":{"id":"ch_1","payment_method_details":` + details + `}`
	}

	require.Equal(t, time.Unix(1705919400, 0).UTC(),
		parsed(t, charge(`{"type":"card","card":{"brand":"visa","capture_before":1705919400}}`)).CaptureBefore)

	for _, members := range []string{
		`"latest_charge":"ch_1"`, `"latest_charge":null`, `"status":"requires_capture"`, charge(`null`),
		charge(`{"card":{}}`), charge(`{"card":null}`), charge(`{"card":{"capture_before":null}}`),
		charge(`{"card":{"capture_before":0}}`), charge(`{"card":{"capture_before":-1}}`),
		charge(`{"card":{"capture_before":253402300800}}`), charge(`{"us_bank_account":{}}`),
	} {
		require.True(t, parsed(t, members).CaptureBefore.IsZero(), members)
	}
}

// What we only read besides must not lose an event.
func TestIntent_OddTypes(t *testing.T) {
	t.Parallel()

	odd := []string{`"text"`, `5`, `10.5`, `-1`, `99999999999999999999`, `true`, `{}`, `[]`, `{"a":[1]}`, `null`}

	for _, name := range []string{
		"amount_capturable", "amount_received", "capture_method", "latest_charge", "last_payment_error",
	} {
		for _, value := range odd {
			intent := parsed(t, `"amount":1000,"currency":"usd","status":"succeeded","`+name+`":`+value)
			require.Equal(t, payment.Succeeded, intent.Status)
			require.Equal(t, "10.00 USD", intent.Amount.String())
		}
	}

	for _, name := range []string{"marketflow", "marketflow_capture"} {
		for _, value := range odd {
			intent := parsed(t, `"metadata":{"payment_id":"`+paymentID.String()+`","`+name+`":`+value+`}`)
			require.Equal(t, paymentID, intent.PaymentID)
			require.False(t, intent.Marked)
		}
	}

	for _, value := range odd {
		parsed(t, `"latest_charge":{"payment_method_details":`+value+`}`)
		parsed(t, `"latest_charge":{"payment_method_details":{"card":`+value+`}}`)
		parsed(t, `"latest_charge":{"payment_method_details":{"card":{"capture_before":`+value+`}}}`)
	}

	require.True(t, parsed(t, `"currency":"usd","amount_received":"400","amount_capturable":4.5`).Captured.IsZero())
}

// Only the charge says when a hold lapses, so an intent that is held is read with it.
func TestIntent_AHoldIsReadTwice(t *testing.T) {
	t.Parallel()

	const whole = `{"id":"pi_1","status":"requires_capture","latest_charge":{"id":"ch_1",` +
		`"payment_method_details":{"card":{"capture_before":1705919400}}}}`

	type step struct {
		status int
		body   string
	}

	for name, c := range map[string]struct {
		first, second step
		reads         int
		before        int64
		intentStatus  payment.IntentStatus
		fails         bool
	}{
		"held": {
			step{200, `{"id":"pi_1","status":"requires_capture","latest_charge":"ch_1"}`},
			step{200, whole},
			2, 1705919400, "requires_capture", false,
		},
		"already expanded": {step{200, whole}, step{}, 1, 1705919400, "requires_capture", false},
		"no charge": {
			step{200, `{"id":"pi_1","status":"requires_capture","latest_charge":null}`}, step{}, 1, 0, "requires_capture", false,
		},
		"not held": {
			step{200, `{"id":"pi_1","status":"requires_action","latest_charge":"ch_1"}`}, step{}, 1, 0, "requires_action", false,
		},
		"captured meanwhile": {
			step{200, `{"id":"pi_1","status":"requires_capture","latest_charge":"ch_1"}`},
			step{200, `{"id":"pi_1","status":"succeeded","latest_charge":{"id":"ch_1"}}`},
			2, 0, "succeeded", false,
		},
		"another intent": {
			step{200, `{"id":"pi_1","status":"requires_capture","latest_charge":"ch_1"}`},
			step{200, `{"id":"pi_2"}`},
			2, 0, "", true,
		},
		"not answered": {
			step{200, `{"id":"pi_1","status":"requires_capture","latest_charge":"ch_1"}`}, step{401, `{}`}, 2, 0, "", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var expanded []string

			bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
				if expand := r.URL.Query()["expand[]"]; len(expand) == 0 {
					expanded = append(expanded, "")

					answer(w, c.first.status, c.first.body)
				} else {
					expanded = append(expanded, expand...)

					answer(w, c.second.status, c.second.body)
				}
			})

			intent, err := bed.gateway.Intent(t.Context(), "pi_1")
			require.Equal(t, []string{"", "latest_charge"}[:c.reads], expanded)

			if c.fails {
				require.Error(t, err)
				require.Zero(t, intent)

				return
			}

			require.NoError(t, err)
			require.Equal(t, c.intentStatus, intent.IntentStatus)

			var want time.Time
			if c.before != 0 {
				want = time.Unix(c.before, 0).UTC()
			}

			require.Equal(t, want, intent.CaptureBefore)
		})
	}
}
