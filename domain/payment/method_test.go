package payment_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
)

// The codes are those of https://docs.stripe.com/declines/codes and of
// https://docs.stripe.com/error-codes.
func TestDecline_Retryable(t *testing.T) {
	t.Parallel()

	for retryable, codes := range map[bool][]string{
		// Another card, other details, the customer's presence or a later moment may help.
		true: {
			"approve_with_id", "authentication_not_handled", "authentication_required", "call_issuer", "card_declined",
			"card_not_supported", "card_velocity_exceeded", "currency_not_supported", "do_not_honor", "do_not_try_again",
			"expired_card", "generic_decline", "incorrect_address", "incorrect_cvc", "incorrect_number", "incorrect_pin",
			"incorrect_zip", "insufficient_funds", "invalid_account", "invalid_cvc", "invalid_expiry_month", "invalid_expiry_year",
			"invalid_number", "invalid_pin", "issuer_not_available", "new_account_information_available", "no_action_taken",
			"not_permitted", "offline_pin_required", "online_or_offline_pin_required", "payment_intent_authentication_failure",
			"pin_try_exceeded", "processing_error", "reenter_transaction", "restricted_card", "security_violation",
			"service_not_allowed", "testmode_decline", "transaction_not_allowed", "try_again_later", "withdrawal_count_limit_exceeded",
			"", "a code that Stripe adds later",
		},
		false: {
			"duplicate_transaction", "fraudulent", "invalid_amount", "lost_card", "merchant_blacklist", "pickup_card",
			"revocation_of_all_authorizations", "revocation_of_authorization", "stolen_card", "stop_payment_order",
		},
	} {
		for _, code := range codes {
			require.Equal(t, retryable, payment.Decline{Code: "card_declined", DeclineCode: code}.Retryable(), code)
			require.Equal(t, retryable, payment.Decline{Code: code}.Retryable(), code)

			decline := func(p *payment.Payment) { p.Decline = payment.Decline{DeclineCode: code} }
			require.Equal(t, retryable, at(payment.Failed, noMethod, decline).Retryable(), code)
			require.False(t, cancelled(decline).Retryable(), "nothing can be tried any more")
		}
	}
}

// What is known of the last attempt is that attempt's, not of one before it.
func TestPayment_LastAttempt(t *testing.T) {
	t.Parallel()

	visa := payment.Method{Type: "card", Card: payment.Card{Brand: "visa", Last4: "4242", ExpMonth: 1, ExpYear: 2030}}
	amex := payment.Method{Type: "card", Card: payment.Card{Brand: "amex", Last4: "0005", ExpMonth: 2, ExpYear: 2031}}
	poor := payment.Decline{Code: "card_declined", DeclineCode: "insufficient_funds", Message: "No funds."}
	old := payment.Decline{Code: "expired_card"}

	with := func(m payment.Method, d payment.Decline) edit {
		return func(p *payment.Payment) { p.Method, p.Decline = m, d }
	}
	says := func(t payment.Told, m payment.Method, d payment.Decline) payment.Told {
		t.Method, t.Decline = m, d

		return t
	}
	lost := at(payment.Failed, noMethod, with(visa, poor))
	none, unsaid := payment.Decline{}, payment.Method{}

	for name, c := range map[string]struct {
		from    payment.Payment
		told    payment.Told
		method  payment.Method
		decline payment.Decline
	}{
		"declined":                       {pending(), says(asks(payment.Failed), visa, poor), visa, poor},
		"cancelled by the last decline":  {pending(), says(asks(payment.Cancelled), visa, poor), visa, poor},
		"cancelled after a decline":      {lost, asks(payment.Cancelled), visa, poor},
		"paid with another card":         {lost, says(asks(payment.Succeeded), amex, none), amex, none},
		"paid, and not said how":         {lost, asks(payment.Succeeded), unsaid, none},
		"captured, and not said how":     {held(with(visa, none)), asks(payment.Succeeded), visa, none},
		"a step, and it is not said how": {at(payment.Pending, noMethod, with(visa, none)), tells(processing), visa, none},
	} {
		verdict, after := payment.Decide(c.told, payment.Known{Payment: &c.from})
		require.Equal(t, payment.Applies, verdict, name)
		require.Equal(t, c.method, after.Method, name)
		require.Equal(t, c.decline, after.Decline, name)
	}

	// Any update of an intent clears what it says of its decline: the reason stays.
	declined := lost
	verdict, after := payment.Read(declined, payment.Snapshot{Status: payment.Pending, IntentStatus: noMethod})
	require.Equal(t, payment.Stale, verdict)
	require.Equal(t, declined, after)

	verdict, after = payment.Read(declined, payment.Snapshot{Status: payment.Pending, IntentStatus: action})
	require.Equal(t, payment.Applies, verdict)
	require.Equal(t, at(payment.Pending, action, declinedOnce), after)

	verdict, after = payment.Read(at(payment.Failed, noMethod, with(amex, old)),
		payment.Snapshot{Status: payment.Failed, IntentStatus: noMethod, Declined: true, Method: visa, Decline: poor})
	require.Equal(t, payment.Applies, verdict)
	require.Equal(t, declined, after)

	// What is read of a payment that has ended changes nothing.
	verdict, after = payment.Read(succeeded(), payment.Snapshot{
		Status: payment.Succeeded, IntentStatus: payment.IntentSucceeded, Captured: dollars(10), Method: visa,
	})
	require.Equal(t, payment.Stale, verdict)
	require.Equal(t, succeeded(), after)
}

// An event may be faster than the answer to the attempt that has paid, and does not say how.
func TestPayment_PaidBy(t *testing.T) {
	t.Parallel()

	visa, amex := payment.Method{Type: "card", Card: payment.Card{Last4: "4242"}}, payment.Method{Type: "card"}
	known := func(p *payment.Payment) { p.Method = visa }
	says := payment.Snapshot{Status: payment.Succeeded, Method: visa}

	require.Equal(t, succeeded(known), succeeded().PaidBy(says))
	require.Equal(t, succeeded(known), succeeded(known).PaidBy(payment.Snapshot{Status: payment.Succeeded, Method: amex}))
	require.Equal(t, succeeded(), succeeded().PaidBy(payment.Snapshot{Status: payment.Failed, Method: visa}), "another attempt")
	require.Equal(t, cancelled(), cancelled().PaidBy(says))
	require.Equal(t, pending(), pending().PaidBy(says))
}
