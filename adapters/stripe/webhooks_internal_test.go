package stripe

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// An event that was read in one pass says what it would say if it were read in two.
func FuzzOnePass_SaysWhatTwoSay(f *testing.F) {
	const (
		full = `{"id":"pi_1","amount":1999,"currency":"usd","status":"requires_payment_method","created":1705314600,` +
			`"livemode":false,"client_secret":"pi_1_secret_x","capture_method":"manual","amount_capturable":0,` +
			`"amount_received":0,"last_payment_error":{"code":"card_declined"},"latest_charge":{"payment_method_details":` +
			`{"card":{"capture_before":1705919400}}},"metadata":{"payment_id":"0190d5a5-7c1f-7000-8000-000000000001"}}`
		other = `{"id":"pi_2"}`
	)

	for _, data := range []string{
		`{"object":` + full + `}`,
		`{"object":` + full + `,"object":` + other + `}`,
		`{"object":` + other + `,"object":` + full + `}`,
		`{"object":` + full + `,"object":null}`,
		`{"object":null,"object":` + full + `}`,
		`{"object":` + full + `,"object":{}}`,
		`{"object":5,"object":` + full + `}`,
		`{"object":` + full + `,"object":"pi_2"}`,
		`{"object":` + full + `},"data":{"object":` + other + `}`,
		`{"object":` + full + `},"data":{}`,
		`{"object":` + full + `},"data":null`,
		`{"object":` + full + `},"data":{"object":{"metadata":{"payment_id":null}}}`,
		`{"object":{"id":"pi_1","id":"pi_2","metadata":{"payment_id":"a"},"metadata":{"marketflow":"b"}}}`,
		`{"object":{"id":"pi_1","livemode":true,"livemode":null,"amount_received":1,"amount_received":[]}}`,
		`{"object":{"id":"pi_1","amount":1,"amount":null,"status":"succeeded","status":"canceled"}}`,
		`{"object":{"id":"pi_1","amount":99999999999999999999}}`,
		`{"object":{"id":"pi_1","amount_received":99999999999999999999}}`,
		`{"object":{"id":"pi_1","amount":9223372036854775807,"currency":"usd"}}`,
		`{"object":{"id":"pi_1","metadata":{"payment_id":"\u0000","marketflow":"\ud800\u202e"}}}`,
		`{"object":{"id":"pi_1","status":"\u0000"}}`,
		`{"object":{"id":"pi_\u0031"}} ,"previous_attributes":{"a":1,"a":[]}`,
	} {
		for _, kind := range []string{eventSucceeded, eventFailed, eventCreated, "charge.refunded"} {
			f.Add([]byte(`{"id":"evt_1","type":"` + kind + `","created":1705314600,"livemode":true,"data":` + data + `}`))
		}
	}

	for _, body := range []string{
		`{"type":"a","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}`,
		`{"type":"payment_intent.succeeded","type":"a","data":{"object":{"id":"pi_1"}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}{}`,
		`{"object":"v2.core.event","created":"2024","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}`,
		` { "data" : { "object" : { "id" : "pi_1" } } , "type" : "payment_intent.canceled" } `,
	} {
		f.Add([]byte(body))
	}

	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) {
			t.Skip()
		}

		want, wantErr := parseAnyEvent(bytes.Clone(body))
		got, err := parseEvent(body)
		require.Equal(t, want, got)
		require.Equal(t, wantErr == nil, err == nil)

		if wantErr != nil {
			require.EqualError(t, err, wantErr.Error())
		}
	})
}
