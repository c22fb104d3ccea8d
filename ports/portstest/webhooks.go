package portstest

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// WebhooksBed is a reader of events and everything needed to write them.
type WebhooksBed struct {
	Webhooks ports.Webhooks
	// Now is what the reader's clock says; it stands still.
	Now time.Time
	// Tolerance is how far a signature's time may be from Now.
	Tolerance time.Duration
	// Secrets are what the reader accepts: at least two.
	Secrets []string
	// Sign signs a payload as the provider does, once with each secret.
	Sign func(payload []byte, at time.Time, secrets ...string) string
	// Payload writes an event as the provider does.
	Payload func(event EventSpec) []byte
}

// EventSpec is an event to write. Zero fields are left out of it.
type EventSpec struct {
	ID string
	// Change is the status that the event asks for. If it is Pending, the event tells of
	// Step.
	Change payment.Status
	// Step is where the intent stands; empty: it was created.
	Step payment.IntentStatus
	// Unhandled: of a type that we do not handle.
	Unhandled bool
	IntentID  string
	// Mark is the mark of the creation; Capture is that of the capture.
	Mark, Capture operation.Mark
	// Unmarked: there are metadata, and nothing in them is ours.
	Unmarked  bool
	PaymentID uuid.UUID
	CreatedAt time.Time
	// Minor and Currency are the amount.
	Minor    int64
	Currency string
}

// Webhooks is the contract of ports.Webhooks.
func Webhooks(t *testing.T, bed func(tb testing.TB) WebhooksBed) {
	t.Helper()

	for name, test := range map[string]func(t *testing.T, b WebhooksBed){
		"Check/asks for no payload":              checkAccepts,
		"Check/refuses what Verify would":        checkRefuses,
		"Verify/signed with any secret":          verifyAccepts,
		"Verify/within the tolerance, both ways": verifyTolerance,
		"Verify/anything tampered with":          verifyTampered,
		"Verify/not a signature":                 verifyMalformed,
		"Parse/a whole event":                    parseWhole,
		"Parse/each step on the way":             parseSteps,
		"Parse/a type that is not handled":       parseUnhandled,
		"Parse/whose it is":                      parseMarks,
		"Parse/a minimal event":                  parseMinimal,
		"Parse/no id: the body is the identity":  parseWithoutID,
		"Parse/not an event":                     parseInvalid,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bed(t))
		})
	}
}

// Check accepts whatever Verify accepts. It cannot know who has signed.
func checkAccepts(t *testing.T, b WebhooksBed) {
	t.Helper()

	payload := b.Payload(succeeded())

	for _, off := range []time.Duration{0, b.Tolerance, -b.Tolerance} {
		require.NoError(t, b.Webhooks.Check(b.Sign(payload, b.Now.Add(off), b.Secrets[0])), off)
		require.NoError(t, b.Webhooks.Check(b.Sign(nil, b.Now.Add(off), "another", "and another")), off)
	}
}

func checkRefuses(t *testing.T, b WebhooksBed) {
	t.Helper()

	payload := b.Payload(succeeded())

	for _, off := range []time.Duration{b.Tolerance + time.Second, 24 * time.Hour, 24 * 365 * 100 * time.Hour} {
		for _, at := range []time.Time{b.Now.Add(off), b.Now.Add(-off)} {
			requireUnauthenticated(t, b.Webhooks.Check(b.Sign(payload, at, b.Secrets[0])))
		}
	}

	for _, signature := range []string{"", " ", ",", "=", "nonsense", "\x00", "t=,v1=", string(payload)} {
		requireUnauthenticated(t, b.Webhooks.Check(signature))
	}
}

func verifyAccepts(t *testing.T, b WebhooksBed) {
	t.Helper()

	require.GreaterOrEqual(t, len(b.Secrets), 2)

	payload := b.Payload(succeeded())

	for _, secret := range b.Secrets {
		require.NoError(t, b.Webhooks.Verify(payload, b.Sign(payload, b.Now, secret)))
		// During a rollover there is a signature for each secret.
		require.NoError(t, b.Webhooks.Verify(payload, b.Sign(payload, b.Now, "another", secret)))
		require.NoError(t, b.Webhooks.Verify(payload, b.Sign(payload, b.Now, secret, "another")))
	}

	requireUnauthenticated(t, b.Webhooks.Verify(payload, b.Sign(payload, b.Now, "another")))
	requireUnauthenticated(t, b.Webhooks.Verify(payload, b.Sign(payload, b.Now, "")))
}

func verifyTolerance(t *testing.T, b WebhooksBed) {
	t.Helper()

	payload := b.Payload(succeeded())

	for _, off := range []time.Duration{0, b.Tolerance, -b.Tolerance} {
		require.NoError(t, b.Webhooks.Verify(payload, b.Sign(payload, b.Now.Add(off), b.Secrets[0])), off)
	}

	for _, off := range []time.Duration{b.Tolerance + time.Second, 24 * time.Hour, 24 * 365 * 100 * time.Hour} {
		for _, at := range []time.Time{b.Now.Add(off), b.Now.Add(-off)} {
			requireUnauthenticated(t, b.Webhooks.Verify(payload, b.Sign(payload, at, b.Secrets[0])))
		}
	}
}

func verifyTampered(t *testing.T, b WebhooksBed) {
	t.Helper()

	payload := b.Payload(succeeded())
	signature := b.Sign(payload, b.Now, b.Secrets[0])

	for i := range payload {
		tampered := bytes.Clone(payload)
		tampered[i] ^= 1
		requireUnauthenticated(t, b.Webhooks.Verify(tampered, signature))
	}

	requireUnauthenticated(t, b.Webhooks.Verify(payload[1:], signature))
	requireUnauthenticated(t, b.Webhooks.Verify(append(bytes.Clone(payload), ' '), signature))
	requireUnauthenticated(t, b.Webhooks.Verify(nil, signature))
}

func verifyMalformed(t *testing.T, b WebhooksBed) {
	t.Helper()

	payload := b.Payload(succeeded())

	for _, signature := range []string{"", " ", ",", "=", "nonsense", "\x00", "t=,v1=", string(payload)} {
		requireUnauthenticated(t, b.Webhooks.Verify(payload, signature))
	}
}

func parseWhole(t *testing.T, b WebhooksBed) {
	t.Helper()

	for _, change := range []payment.Status{payment.Succeeded, payment.Failed, payment.Cancelled, payment.Pending} {
		spec := succeeded()
		spec.Change = change
		payload := b.Payload(spec)

		event, err := b.Webhooks.Parse(payload)
		require.NoError(t, err)
		require.Equal(t, spec.ID, event.ID)
		require.NotEmpty(t, event.Type)
		require.Equal(t, spec.CreatedAt, event.CreatedAt)
		require.Equal(t, spec.IntentID, event.ObjectID)
		require.True(t, event.IsIntent)
		require.True(t, event.Handled)
		require.Equal(t, payload, event.Raw)
		require.Equal(t, spec.IntentID, event.Intent.ID)
		require.Equal(t, spec.PaymentID, event.Intent.PaymentID)
		require.Equal(t, spec.Minor, event.Intent.Amount.Minor())
		require.Equal(t, spec.Currency, event.Intent.Amount.Currency().Code())
		require.Equal(t, change, event.Intent.Status)

		if change == payment.Pending {
			change = ""
		}

		require.Equal(t, change, event.Change)
	}
}

func parseSteps(t *testing.T, b WebhooksBed) {
	t.Helper()

	for _, step := range []payment.IntentStatus{
		payment.IntentRequiresAction, payment.IntentProcessing, payment.IntentRequiresCapture,
	} {
		spec := succeeded()
		spec.Change, spec.Step = payment.Pending, step

		event, err := b.Webhooks.Parse(b.Payload(spec))
		require.NoError(t, err)
		require.True(t, event.Handled)
		require.Empty(t, event.Change)
		require.Equal(t, step, event.Intent.IntentStatus)
		require.Equal(t, payment.Pending, event.Intent.Status)
		require.False(t, event.Intent.Declined)
	}
}

func parseUnhandled(t *testing.T, b WebhooksBed) {
	t.Helper()

	spec := succeeded()
	spec.Unhandled = true
	payload := b.Payload(spec)

	event, err := b.Webhooks.Parse(payload)
	require.NoError(t, err)
	require.False(t, event.Handled)
	require.Equal(t, spec.ID, event.ID)
	require.NotEmpty(t, event.Type)
	require.Equal(t, payload, event.Raw, "it can be processed later")
}

func parseMarks(t *testing.T, b WebhooksBed) {
	t.Helper()

	order := providerOrder(t, 100_000)
	marked, anothers, bare := succeeded(), succeeded(), EventSpec{Change: payment.Succeeded, IntentID: "pi_1"}
	marked.Mark = ours.Mark(
		operation.DefaultTenant, operation.Create, marked.PaymentID, order.Fingerprint(operation.Create, uuid.Nil))
	marked.Capture = markOf(operation.Capture, marked.PaymentID, operation.Order{})
	anothers.PaymentID, anothers.Unmarked = uuid.Nil, true

	event, err := b.Webhooks.Parse(b.Payload(marked))
	require.NoError(t, err)
	require.True(t, event.Intent.Marked)
	require.Equal(t, marked.Mark, event.Intent.Mark)
	require.Equal(t, marked.Capture, event.Intent.Capture)
	require.False(t, event.Intent.Unmarked)

	event, err = b.Webhooks.Parse(b.Payload(succeeded()))
	require.NoError(t, err)
	require.False(t, event.Intent.Marked, "of a release that wrote no marks")
	require.False(t, event.Intent.Unmarked)

	event, err = b.Webhooks.Parse(b.Payload(anothers))
	require.NoError(t, err)
	require.True(t, event.Intent.Unmarked)

	event, err = b.Webhooks.Parse(b.Payload(bare))
	require.NoError(t, err)
	require.False(t, event.Intent.Unmarked, "it does not say whose it is")
}

func parseMinimal(t *testing.T, b WebhooksBed) {
	t.Helper()

	event, err := b.Webhooks.Parse(b.Payload(EventSpec{Change: payment.Succeeded, IntentID: "pi_1"}))
	require.NoError(t, err)
	require.Equal(t, "pi_1", event.ObjectID)
	require.Equal(t, payment.Succeeded, event.Change)
	require.Equal(t, payment.Succeeded, event.Intent.Status)
	require.True(t, event.Intent.Amount.IsZero())
	require.Equal(t, uuid.Nil, event.Intent.PaymentID)
	require.True(t, event.CreatedAt.IsZero())
}

func parseWithoutID(t *testing.T, b WebhooksBed) {
	t.Helper()

	spec := succeeded()
	spec.ID = ""
	payload := b.Payload(spec)

	first, err := b.Webhooks.Parse(payload)
	require.NoError(t, err)
	again, err := b.Webhooks.Parse(bytes.Clone(payload))
	require.NoError(t, err)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", first.ID)
	require.Equal(t, first, again)

	spec.IntentID += "x"
	other, err := b.Webhooks.Parse(b.Payload(spec))
	require.NoError(t, err)
	require.NotEqual(t, first.ID, other.ID)
}

func parseInvalid(t *testing.T, b WebhooksBed) {
	t.Helper()

	whole := b.Payload(succeeded())

	for _, payload := range []string{
		"", "null", "[]", "{}", "0", "nonsense", "\xff", string(whole[:len(whole)/2]), string(whole) + "{}",
	} {
		_, err := b.Webhooks.Parse([]byte(payload))
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q: %v", payload, err)
	}
}

func succeeded() EventSpec {
	return EventSpec{
		ID:        "evt_1",
		Change:    payment.Succeeded,
		IntentID:  "pi_1",
		PaymentID: uuid.MustParse("0190d5a5-7c1f-7000-8000-000000000001"),
		CreatedAt: time.Date(2024, 1, 15, 10, 30, 0, 0, time.UTC),
		Minor:     100_000,
		Currency:  "USD",
	}
}

func requireUnauthenticated(tb testing.TB, err error) {
	tb.Helper()
	require.Equal(tb, fault.Unauthenticated, fault.KindOf(err), "%v", err)
	require.NotEmpty(tb, fault.From(err).Detail)
}

// BenchmarkWebhooks measures what an event costs before it is stored.
func BenchmarkWebhooks(b *testing.B, bed func(tb testing.TB) WebhooksBed) {
	b.Helper()

	on := bed(b)
	payload := on.Payload(succeeded())
	signature := on.Sign(payload, on.Now, on.Secrets[0])

	b.Run("Verify", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(payload)))

		for b.Loop() {
			if err := on.Webhooks.Verify(payload, signature); err != nil {
				b.Fatal(err)
			}
		}
	})

	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(payload)))

		for b.Loop() {
			if _, err := on.Webhooks.Parse(payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}
