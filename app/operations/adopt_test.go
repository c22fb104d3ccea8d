package operations_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestAdopt_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		// op waits for a person, and Stripe has intent of it.
		op     ports.Operation
		intent ports.Intent
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.op = b.Begin(key)
		b.intent = b.Send(b.op)
		b.GiveUp(b.op)
		b.Elapse(time.Hour)

		return b
	}
	adopt := func(t *testing.T, b testBundle, intentID string) (ports.OperationDetails, error) {
		t.Helper()

		return operations.NewAdopt(b.Decisions, b.Provider, b.Engine(), b.Observer).
			Do(t.Context(), b.op.ID, intentID, decision)
	}
	refused := func(t *testing.T, b testBundle, intentID, why string) {
		t.Helper()

		_, err := adopt(t, b, intentID)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, why)
		require.Equal(t, operation.NeedsAttention, b.Operation(b.op.ID).State)
		b.RequireNoPayment(b.op.ID)
		require.Empty(t, b.Audit(b.op.ID.String()))
		require.Empty(t, b.Observer.Told(b.op.ID))
	}

	t.Run("WhatStripeLists", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		adopted, err := adopt(t, b, "")
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, adopted.Response.Status)
		require.Contains(t, string(adopted.Response.Body), b.intent.ClientSecret)
		require.Equal(t, b.intent.ID, b.Payment(b.op.ID).IntentID)
		require.Equal(t, []string{"person: pending"}, b.History(b.op.ID))
		require.Equal(t, []string{
			"operation.adopt by cli:ann: looked at the dashboard", "payment created by person", "create finished by person: done",
		}, b.Observer.Told(b.op.ID))

		entries := b.Audit(b.op.ID.String())
		require.Len(t, entries, 1)
		require.Equal(t, ports.AuditOperationAdopted, entries[0].Action)
		require.Equal(t, b.intent.ID, entries[0].After["stripe_payment_intent_id"])

		again, err := b.Engine().Do(t.Context(), b.Request(key, b.op.Order))
		require.NoError(t, err)
		require.Equal(t, adopted.Response, again.Response)
	})

	t.Run("ANamedIntent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Pay(b.intent.ID)

		_, err := adopt(t, b, b.intent.ID)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, b.Payment(b.op.ID).Status, "as Stripe has it now")
	})

	t.Run("StripeHasNone", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		refused(t, b, "pi_unknown", "no intent pi_unknown")

		b.op = b.Begin("another")
		b.GiveUp(b.op)
		b.Elapse(time.Hour)
		refused(t, b, "", "lists no intent")
	})

	t.Run("OfAnotherPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := b.Create("another")
		refused(t, b, other.IntentID, "is of payment "+other.ID.String())
	})

	t.Run("NotOurs", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		refused(t, b, b.StrangeIntent("amount=1000&currency=usd"), "is not ours")
	})

	t.Run("AnotherAmount", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		mark := "&metadata[payment_id]=" + b.op.ID.String()
		refused(t, b, b.StrangeIntent("amount=1001&currency=usd"+mark), "asked for 10.00 USD")
		refused(t, b, "", "Choose one")
	})

	t.Run("MovedMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Decisions = moved{b.Decisions}
		refused(t, b, "", "has changed meanwhile")
	})

	t.Run("NoSuchOperation", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.op.ID = uuid.New()
		_, err := adopt(t, b, "")
		apptest.RequireFault(t, fault.NotFound, err)
	})
}
