package operations_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// decision is what people say of their decisions here.
var decision = operations.Decision{Actor: "cli:ann", Reason: "looked at the dashboard"}

func TestClose_Do(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) *apptest.World {
		t.Helper()

		return apptest.New(t)
	}
	closing := func(b *apptest.World) *operations.Close {
		return operations.NewClose(b.Decisions, b.Store, b.Provider, b.Renderer, b.Engine(), b.Observer)
	}

	t.Run("NeedsAttention", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		closed, err := closing(b).Do(t.Context(), op.ID, decision)
		require.NoError(t, err)
		require.Equal(t, operation.Finished, closed.State)
		require.Equal(t, http.StatusBadGateway, closed.Response.Status)
		require.Contains(t, string(closed.Response.Body), "use a new key")
		require.Contains(t, string(closed.Response.Body), apptest.RequestID)

		entries := b.Audit(op.ID.String())
		require.Len(t, entries, 1)
		require.Equal(t, ports.AuditOperationClosed, entries[0].Action)
		require.Equal(t, decision.Actor, entries[0].Actor)
		require.Equal(t, decision.Reason, entries[0].Reason)
		require.Equal(t, string(operation.NeedsAttention), entries[0].Before["state"])
		require.Equal(t, string(operation.Finished), entries[0].After["state"])
		require.Equal(t, []string{
			"create finished by person: rejected", "operation.close by cli:ann: looked at the dashboard",
		}, b.Observer.Told(op.ID))

		again, err := b.Engine().Do(t.Context(), b.Request(key, op.Order))
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, closed.Response, again.Response)
		require.Contains(t, b.Observer.Told(op.ID), "answered from cache")
	})

	t.Run("TooOldToBeSent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.Elapse(24 * time.Hour)

		closed, err := closing(b).Do(t.Context(), op.ID, decision)
		require.NoError(t, err)
		require.Equal(t, operation.Finished, closed.State)
	})

	t.Run("StripeHasAnIntent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		intent := b.Send(op)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		_, err := closing(b).Do(t.Context(), op.ID, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, intent.ID)
		require.Contains(t, fault.From(err).Detail, "marketflow operations adopt "+op.ID.String())
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Empty(t, b.Audit(op.ID.String()))
		require.Empty(t, b.Observer.Told(op.ID))
	})

	t.Run("ThereIsAPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		intent := b.Send(op)
		intent.ClientSecret = ""
		_, err := b.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByWebhook)
		require.NoError(t, err)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		b.Provider = cutShort{b.Provider} // our own records are enough
		_, err = closing(b).Do(t.Context(), op.ID, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, intent.ID)
	})

	t.Run("StripeDoesNotTell", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		b.Provider = cutShort{b.Provider}
		_, err := closing(b).Do(t.Context(), op.ID, decision)
		require.ErrorIs(t, err, errCutShort)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
	})

	t.Run("MovedMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		b.Decisions = moved{b.Decisions}
		_, err := closing(b).Do(t.Context(), op.ID, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "has changed meanwhile")
		require.Empty(t, b.Observer.Told(op.ID))
	})

	t.Run("NoSuchOperation", func(t *testing.T) {
		t.Parallel()

		_, err := closing(setup(t)).Do(t.Context(), uuid.New(), decision)
		apptest.RequireFault(t, fault.NotFound, err)
	})

	t.Run("WithoutAReason", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin(key)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		_, err := closing(b).Do(t.Context(), op.ID, operations.Decision{Actor: "cli:ann"})
		apptest.RequireFault(t, fault.Invalid, err)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
	})
}

// moved finds that somebody else was faster.
type moved struct{ ports.Decisions }

func (moved) Close(
	context.Context, uuid.UUID, operation.State, ports.FrozenResponse, ports.AuditEntry,
) (ports.Operation, error) {
	return ports.Operation{}, ports.ErrMoved
}

func (moved) Adopt(context.Context, ports.Completion, ports.AuditEntry) (ports.Finished, error) {
	return ports.Finished{}, ports.ErrMoved
}
