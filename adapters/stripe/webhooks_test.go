package stripe_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

const now = 1705314605

func TestNewWebhooks_NeedsSecrets(t *testing.T) {
	t.Parallel()

	for _, secrets := range [][]string{nil, {}, {""}, {"whsec_1", ""}} {
		_, err := stripe.NewWebhooks(secrets, nil, time.Now)
		require.Error(t, err)
	}
}

func TestVerify_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()

	webhooks := newWebhooks(t)
	body := "{}"
	good := sign(now, body, "whsec_1")

	for header, detail := range map[string]string{
		"":                                   "header is missing",
		"v1=" + good:                         "has no timestamp",
		"nonsense":                           "has no timestamp",
		"t=,v1=" + good:                      "not a number",
		"t=1e9,v1=" + good:                   "not a number",
		"t=9223372036854775808,v1=" + good:   "not a number",
		stamp(now):                           "no v1 signature",
		stamp(now) + ",v0=" + good:           "no v1 signature",
		stamp(now) + ",v1=zz":                "no v1 signature",
		stamp(now) + ",v1=" + good[:62]:      "no v1 signature",
		stamp(now) + ",t=5,v1=" + good:       "two timestamps",
		stamp(now-301) + ",v1=" + good:       "more than 300 seconds old",
		stamp(now+301) + ",v1=" + good:       "from the future",
		stamp(math.MinInt64) + ",v1=" + good: "more than 300 seconds old",
		stamp(math.MaxInt64) + ",v1=" + good: "from the future",
		stamp(now+1) + ",v1=" + good:         "no signature matches",
		stamp(now) + ",v1=" + flip(good):     "no signature matches",
	} {
		err := webhooks.Verify([]byte(body), header)
		require.Equal(t, fault.Unauthenticated, fault.KindOf(err), header)
		require.Contains(t, fault.From(err).Detail, detail, header)
	}

	for _, header := range []string{
		stamp(now) + ",v1=" + good,
		"v1=" + good + "," + stamp(now),
		stamp(now) + ", v1=" + good,
		stamp(now) + ",v1=zz,v1=" + flip(good) + ",v1=" + good + ",v0=zz,v9=1,,x",
		stamp(now) + ",v1=" + strings.ToUpper(good),
	} {
		require.NoError(t, webhooks.Verify([]byte(body), header), header)
	}
}

// The hash is over the timestamp as it was sent, so that writing the same time in
// another way does not verify.
func TestVerify_HashesTheTimestampAsItWasSent(t *testing.T) {
	t.Parallel()

	good := sign(now, "{}", "whsec_1")
	err := newWebhooks(t).Verify([]byte("{}"), fmt.Sprintf("t=0%d,v1=%s", now, good))
	require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
}

func TestParse_IgnoresTheAPIVersion(t *testing.T) {
	t.Parallel()

	for _, version := range []string{`"2019-02-11"`, `"2030-01-01.acacia"`, "null"} {
		event, err := newWebhooks(t).Parse([]byte(`{"id":"evt_1","api_version":` + version + `,"livemode":true,` +
			`"type":"payment_intent.succeeded","data":{"object":` + intentJSON + `,"previous_attributes":{}}}`))
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, event.Change)
		require.Equal(t, paymentID, event.Intent.PaymentID)
		require.Equal(t, clientSecret, event.Intent.ClientSecret)
		require.Equal(t, "19.99 USD", event.Intent.Amount.String())
	}
}

// handledTypes are the types of events that we handle. An endpoint has to listen to them.
var handledTypes = []string{
	"payment_intent.created", "payment_intent.processing", "payment_intent.requires_action",
	"payment_intent.amount_capturable_updated", "payment_intent.succeeded", "payment_intent.payment_failed",
	"payment_intent.canceled", "charge.refunded", "charge.refund.updated", "refund.created", "refund.updated",
	"refund.failed", "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_withdrawn",
	"charge.dispute.funds_reinstated", "customer.created", "customer.updated", "customer.deleted",
}

func TestParse_Handled(t *testing.T) {
	t.Parallel()

	others := []string{
		"payment_intent.partially_funded", "payment_intent.of_the_future", "charge.captured", "charge.succeeded", "balance.available",
		"payment_intent.succeeded.v2",
	}

	for _, kind := range append(slices.Clone(handledTypes), others...) {
		event, err := newWebhooks(t).Parse([]byte(`{"type":"` + kind + `","data":{"object":{"id":"pi_1"}}}`))
		require.NoError(t, err)
		require.Equal(t, slices.Contains(handledTypes, kind), event.Handled, kind)
	}
}

func TestParse_TheChangeOfEachType(t *testing.T) {
	t.Parallel()

	for kind, want := range map[string]payment.Status{
		"payment_intent.succeeded":                 payment.Succeeded,
		"payment_intent.payment_failed":            payment.Failed,
		"payment_intent.canceled":                  payment.Cancelled,
		"payment_intent.created":                   "",
		"payment_intent.processing":                "",
		"payment_intent.requires_action":           "",
		"payment_intent.amount_capturable_updated": "",
		"payment_intent.of_the_future":             "",
	} {
		event, err := newWebhooks(t).Parse([]byte(`{"type":"` + kind + `","data":{"object":{"id":"pi_1"}}}`))
		require.NoError(t, err)
		require.True(t, event.IsIntent)
		require.Equal(t, want, event.Change, kind)

		if want == "" {
			want = payment.Pending
		}

		require.Equal(t, want, event.Intent.Status, kind)
	}
}

// Events about other objects are accepted, whatever shape those have.
func TestParse_OtherObjects(t *testing.T) {
	t.Parallel()

	for object, id := range map[string]string{
		`{"id":"ch_1","amount":"a lot","metadata":null,"status":5}`: "ch_1",
		`{"object":"balance","available":[]}`:                       "",
		`{"id":5}`:                                                  "",
		`{"id":"` + strings.Repeat("x", 256) + `"}`:                 "",
	} {
		event, err := newWebhooks(t).Parse([]byte(`{"id":"evt_1","type":"charge.captured","data":{"object":` + object + `}}`))
		require.NoError(t, err)
		require.False(t, event.IsIntent)
		require.Equal(t, id, event.ObjectID)
		require.Zero(t, event.Intent)
		require.Empty(t, event.Change)
	}
}

func TestParse_NotAnEvent(t *testing.T) {
	t.Parallel()

	long := strings.Repeat("x", 256)

	for _, body := range []string{
		`{"data":{"object":{"id":"pi_1"}}}`,
		`{"type":"","data":{"object":{"id":"pi_1"}}}`,
		`{"type":5,"data":{"object":{"id":"pi_1"}}}`,
		`{"type":"` + long + `","data":{"object":{"id":"pi_1"}}}`,
		`{"type":"a\u0000b","data":{"object":{"id":"pi_1"}}}`,
		`{"id":5,"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}`,
		`{"id":"` + long + `","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}`,
		`{"id":"evt_\u0000","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}`,
		`{"type":"payment_intent.succeeded","created":-1,"data":{"object":{"id":"pi_1"}}}`,
		`{"type":"payment_intent.succeeded","created":253402300800,"data":{"object":{"id":"pi_1"}}}`,
		`{"type":"payment_intent.succeeded","created":"now","data":{"object":{"id":"pi_1"}}}`,
		`{"type":"payment_intent.succeeded"}`,
		`{"type":"payment_intent.succeeded","data":null}`,
		`{"type":"payment_intent.succeeded","data":{}}`,
		`{"type":"payment_intent.succeeded","data":{"object":null}}`,
		`{"type":"payment_intent.succeeded","data":{"object":"pi_1"}}`,
		`{"type":"payment_intent.succeeded","data":{"object":[]}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":5}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"` + long + `"}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_\u0000"}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","created":-1}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","amount":10.5}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","amount":99999999999999999999}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","metadata":"x"}}}`,
		"{\"type\":\"payment_intent.succeeded\",\"data\":{\"object\":{\"id\":\"pi_\xff\"}}}",
	} {
		_, err := newWebhooks(t).Parse([]byte(body))
		require.Equal(t, fault.Invalid, fault.KindOf(err), body)
		require.NotEmpty(t, fault.From(err).Detail)
	}
}

// Names in other cases are a client's own metadata, not ours.
func TestParse_PaymentIDIsFoundByItsExactName(t *testing.T) {
	t.Parallel()

	other := uuid.NewString()

	for metadata, want := range map[string]uuid.UUID{
		`{"payment_id":"` + paymentID.String() + `","PAYMENT_ID":"` + other + `"}`: paymentID,
		`{"PAYMENT_ID":"` + other + `"}`:                                           uuid.Nil,
		`{"payment_id":"` + strings.ReplaceAll(paymentID.String(), "-", "") + `"}`: uuid.Nil,
		`{"payment_id":"{` + paymentID.String() + `}"}`:                            uuid.Nil,
		`{"payment_id":"order 7"}`:                                                 uuid.Nil,
		`{"payment_id":"` + strings.Repeat("x", len(paymentID.String())) + `"}`:    uuid.Nil,
		`{}`: uuid.Nil, `null`: uuid.Nil,
	} {
		event, err := newWebhooks(t).Parse([]byte(
			`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","metadata":` + metadata + `}}}`))
		require.NoError(t, err)
		require.Equal(t, want, event.Intent.PaymentID, metadata)
	}
}

// The last value of a name counts; objects that share one add up, except for data.object.
func TestParse_NamesThatStandTwice(t *testing.T) {
	t.Parallel()

	named := `"metadata":{"payment_id":"` + paymentID.String() + `"}`

	for data, want := range map[string]uuid.UUID{
		`{"object":{"id":"pi_1",` + named + `},"object":{"id":"pi_2"}}`:                       uuid.Nil,
		`{"object":{"id":"pi_1"},"object":{"id":"pi_2",` + named + `}}`:                       paymentID,
		`{"object":{"id":"pi_1"}},"data":{"object":{"id":"pi_2",` + named + `}}`:              paymentID,
		`{"object":{"id":"pi_1","id":"pi_2",` + named + `,"metadata":{"payment_id":"x"}}}`:    uuid.Nil,
		`{"object":{"id":"pi_1","id":"pi_2",` + named + `,"metadata":{"marketflow":"x"}}}`:    paymentID,
		`{"object":{"id":"pi_2",` + named + `}},"data":{"previous_attributes":{"id":"pi_3"}}`: paymentID,
	} {
		event, err := newWebhooks(t).Parse([]byte(`{"type":"a","type":"payment_intent.succeeded","data":` + data + `}`))
		require.NoError(t, err)
		require.Equal(t, "pi_2", event.ObjectID, data)
		require.Equal(t, want, event.Intent.PaymentID, data)
	}

	for _, data := range []string{
		`{"object":{"id":"pi_1"},"object":{}}`, `{"object":{"id":"pi_1"},"object":null}`, `{"object":{"id":"pi_1"}},"data":null`,
	} {
		_, err := newWebhooks(t).Parse([]byte(`{"type":"payment_intent.succeeded","data":` + data + `}`))
		require.Equal(t, fault.Invalid, fault.KindOf(err), data)
	}
}

// An amount that we could not have asked for changes nothing; where there is none,
// our records have it.
func TestParse_ForeignAmountsChangeNothing(t *testing.T) {
	t.Parallel()

	for amount, want := range map[string]payment.Status{
		`"amount":1999,"currency":"usd"`:      payment.Succeeded,
		`"amount":1999`:                       payment.Succeeded,
		`"currency":"usd"`:                    payment.Succeeded,
		`"amount":null,"currency":null`:       payment.Succeeded,
		`"amount":1999,"currency":"xyz"`:      "",
		`"amount":0,"currency":"usd"`:         "",
		`"amount":100000000,"currency":"usd"`: "",
		`"amount":150,"currency":"isk"`:       "",
	} {
		event, err := newWebhooks(t).Parse([]byte(`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1",` +
			amount + `,"metadata":{"payment_id":"` + paymentID.String() + `"}}}}`))
		require.NoError(t, err)
		require.Equal(t, want, event.Change, amount)
		require.Equal(t, want == "", event.Intent.PaymentID == uuid.Nil, amount)
	}
}

func FuzzVerify(f *testing.F) {
	good := sign(now, "{}", "whsec_1")
	for _, header := range []string{
		"", "t", "t=", "=", stamp(now) + ",v1=" + good, "t=1,v1=" + good + ",v1=00", strings.Repeat("t=1,", 99),
	} {
		f.Add([]byte("{}"), header)
	}

	webhooks := newWebhooks(f)

	f.Fuzz(func(t *testing.T, body []byte, header string) {
		err := webhooks.Verify(body, header)
		if err == nil {
			// Nobody can sign without the secret: this is the seed, in some spelling.
			require.Equal(t, "{}", string(body))
			require.Contains(t, strings.ToLower(header), good)

			return
		}

		require.Equal(t, fault.Unauthenticated, fault.KindOf(err))
		require.NotEmpty(t, fault.From(err).Detail)
	})
}

func FuzzParse(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", `{"type":"a","data":{"object":{}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","status":"succeeded"}}}`,
		`{"type":"payment_intent.succeeded","type":5,"data":{"object":{"id":"pi_1"}},"data":{"object":{"ID":"pi_2"}}}`,
		`{"id":"evt_1","type":"payment_intent.canceled","created":1705314600,"data":{"object":` + intentJSON + `}}`,
	} {
		f.Add([]byte(body))
	}

	webhooks := newWebhooks(f)

	f.Fuzz(func(t *testing.T, body []byte) {
		event, err := webhooks.Parse(body)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.NotEmpty(t, fault.From(err).Detail)

			return
		}

		again, err := webhooks.Parse(body)
		require.NoError(t, err)
		require.Equal(t, event, again)
		require.Equal(t, body, event.Raw)
		require.True(t, event.Change == "" || event.Change.Valid())
		require.NotEmpty(t, event.ID)
		require.NotEmpty(t, event.Type)
		require.Equal(t, event.IsIntent, event.Intent.ID != "")
		requireStorable(t, event.ID, event.Type, event.ObjectID, string(body))

		_, err = event.CreatedAt.MarshalText()
		require.NoError(t, err)
		_, err = event.Intent.CreatedAt.MarshalText()
		require.NoError(t, err)
	})
}

// requireStorable: PostgreSQL takes UTF-8 without U+0000, and ids have limits.
func requireStorable(t *testing.T, id, kind, objectID, body string) {
	t.Helper()

	for _, text := range []string{id, kind, objectID} {
		require.LessOrEqual(t, utf8.RuneCountInString(text), 255)
		require.NotContains(t, text, "\x00")
		require.False(t, strings.ContainsFunc(text, unicode.IsControl))
	}

	require.True(t, utf8.ValidString(id+kind+objectID+body))
}

func newWebhooks(tb testing.TB) *stripe.Webhooks {
	tb.Helper()

	webhooks, err := stripe.NewWebhooks([]string{"whsec_0", "whsec_1"}, nil, func() time.Time { return time.Unix(now, 999) })
	require.NoError(tb, err)

	return webhooks
}

func stamp(seconds int64) string { return fmt.Sprintf("t=%d", seconds) }

// sign is the scheme of https://docs.stripe.com/webhooks#verify-manually.
func sign(seconds int64, body, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(fmt.Appendf(nil, "%d.%s", seconds, body))

	return hex.EncodeToString(mac.Sum(nil))
}

// flip changes the last digit.
func flip(digits string) string {
	last := "0"
	if strings.HasSuffix(digits, last) {
		last = "1"
	}

	return digits[:len(digits)-1] + last
}
