package payment_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestJudge(t *testing.T) {
	t.Parallel()

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	eur, err := money.ParseCurrency("EUR")
	require.NoError(t, err)

	amount := func(text string, currency money.Currency) money.Price {
		a, err := money.ParsePrice(text, currency)
		require.NoError(t, err)

		return a
	}

	at := func(status payment.Status) payment.Known {
		return payment.Known{Payment: &payment.Payment{ID: uuid.Max, Amount: amount("10", usd), Status: status}}
	}
	op := func(o payment.KnownOperation) payment.Known { return payment.Known{Operation: &o} }

	for name, c := range map[string]struct {
		told  payment.Told
		known payment.Known
		want  payment.Verdict
	}{
		"moves":                         {payment.Told{Status: payment.Succeeded}, at(payment.Pending), payment.Applies},
		"moves, and says all":           {payment.Told{uuid.Max, amount("10.00", usd), payment.Failed}, at(payment.Pending), payment.Applies},
		"a declined payment is paid":    {payment.Told{Status: payment.Succeeded}, at(payment.Failed), payment.Applies},
		"is there already":              {payment.Told{Status: payment.Succeeded}, at(payment.Succeeded), payment.Stale},
		"would go back":                 {payment.Told{Status: payment.Failed}, at(payment.Succeeded), payment.Stale},
		"only confirms":                 {payment.Told{}, at(payment.Pending), payment.Stale},
		"another amount":                {payment.Told{Amount: amount("11", usd), Status: payment.Succeeded}, at(payment.Pending), payment.Contradicts},
		"another amount, only confirms": {payment.Told{Amount: amount("11", usd)}, at(payment.Pending), payment.Contradicts},
		"another currency":              {payment.Told{Amount: amount("10", eur), Status: payment.Succeeded}, at(payment.Pending), payment.Contradicts},
		"another payment's id":          {payment.Told{PaymentID: uuid.New(), Status: payment.Succeeded}, at(payment.Pending), payment.Contradicts},
		"nothing is known":              {payment.Told{Status: payment.Succeeded}, payment.Known{}, payment.Early},
		"nothing is known or asked for": {payment.Told{}, payment.Known{}, payment.Ignored},
		"an open operation":             {payment.Told{Status: payment.Succeeded}, op(payment.KnownOperation{}), payment.Finishes},
		"an open operation, confirmed":  {payment.Told{}, op(payment.KnownOperation{}), payment.Finishes},
		"sent at this moment":           {payment.Told{}, op(payment.KnownOperation{InHand: true}), payment.Stale},
		"sent at this moment, and paid": {payment.Told{Status: payment.Succeeded}, op(payment.KnownOperation{InHand: true}), payment.Finishes},
		"an ended operation":            {payment.Told{}, op(payment.KnownOperation{Ended: true}), payment.Contradicts},
		"an ended one, and paid":        {payment.Told{Status: payment.Succeeded}, op(payment.KnownOperation{Ended: true}), payment.Contradicts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			require.Equal(t, c.want, payment.Judge(c.told, c.known))
		})
	}
}

// Whatever is told, a payment only ever moves as the state machine allows.
func TestJudge_AppliesOnlyWhatTheStateMachineAllows(t *testing.T) {
	t.Parallel()

	for _, from := range payment.Statuses() {
		for _, to := range append(payment.Statuses(), "") {
			verdict := payment.Judge(payment.Told{Status: to}, payment.Known{Payment: &payment.Payment{Status: from}})
			require.Equal(t, from.CanBecome(to), verdict == payment.Applies, "%s to %s", from, to)
		}
	}
}
