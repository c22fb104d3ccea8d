package account_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// provider is whose the key is, as a test wants it.
type provider struct {
	host    string
	mode    binding.Mode
	account string
	err     error
}

func (p *provider) API() (string, binding.Mode) { return p.host, p.mode }

func (p *provider) Account(context.Context) (string, error) { return p.account, p.err }

type testBundle struct {
	*apptest.World

	provider *provider
	// recorded is what Verify records.
	recorded binding.Binding
}

func setup(t *testing.T) testBundle {
	t.Helper()

	b := testBundle{World: apptest.New(t)}
	b.provider = &provider{host: "api.stripe.com", mode: binding.Test, account: "acct_1"}
	b.Account = b.provider

	here, err := b.Store.Here(t.Context())
	require.NoError(t, err)

	b.recorded = binding.Binding{
		Host: "api.stripe.com", Mode: binding.Test, Account: "acct_1", System: here.System, Database: here.Database,
	}

	return b
}

// bound is setup in which the database has recorded what it belongs to.
func bound(t *testing.T) testBundle {
	t.Helper()

	b := setup(t)
	require.NoError(t, b.Binding().Verify(t.Context()))

	return b
}

// move makes the gateway lead to another Stripe, which has none of our payments.
func (b testBundle) move(t *testing.T) {
	t.Helper()

	b.Provider = apptest.NewGateway(sandbox.Start(t).URL)
}

func (b testBundle) requireRecorded(t *testing.T, want binding.Binding) {
	t.Helper()

	recorded, err := b.Store.Binding(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, recorded)
}

func TestBinding_Verify(t *testing.T) {
	t.Parallel()

	t.Run("RecordsOnce", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		require.NoError(t, b.Binding().Check(t.Context()))
		b.requireRecorded(t, binding.Binding{}) // a check records nothing

		require.NoError(t, b.Binding().Verify(t.Context()))
		b.requireRecorded(t, b.recorded)
		require.NoError(t, b.Binding().Verify(t.Context()), "the same again")
	})

	t.Run("SomethingDiffers", func(t *testing.T) {
		t.Parallel()

		for what, change := range map[string]func(*provider){
			"Stripe's API":   func(p *provider) { p.host = "localhost:12111" },
			"mode":           func(p *provider) { p.mode = binding.Live },
			"Stripe account": func(p *provider) { p.account = "acct_2" },
		} {
			t.Run(what, func(t *testing.T) {
				t.Parallel()

				b := bound(t)
				change(b.provider)

				for _, err := range []error{b.Binding().Check(t.Context()), b.Binding().Verify(t.Context())} {
					require.True(t, account.IsDifferent(err))
					require.ErrorContains(t, err, what)
					require.ErrorContains(t, err, "marketflow account adopt")
				}

				b.requireRecorded(t, b.recorded)
			})
		}
	})

	t.Run("TheAccountIsNotKnown", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		p := b.Create("order_1")
		b.provider.account = ""
		require.NoError(t, b.Binding().Verify(t.Context()), "its payments are there")
		b.requireRecorded(t, b.recorded) // what is unknown overwrites nothing

		b.move(t)
		err := b.Binding().Verify(t.Context())
		require.True(t, account.IsDifferent(err))
		require.ErrorContains(t, err, p.IntentID)
	})

	t.Run("StripeDoesNotAnswer", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		b.provider.err = errors.New("no answer")
		err := b.Binding().Verify(t.Context())
		require.ErrorIs(t, err, account.ErrUnverified)
		require.False(t, account.IsDifferent(err))

		b.provider.host = "localhost:12111" // this is known without Stripe
		require.True(t, account.IsDifferent(b.Binding().Verify(t.Context())))
	})

	t.Run("TheKeyIsRejected", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		b.provider.err = ports.ErrKeyRejected
		err := b.Binding().Verify(t.Context())
		require.ErrorIs(t, err, ports.ErrKeyRejected)
		require.ErrorContains(t, err, "STRIPE_SECRET_KEY")
		require.False(t, account.IsDifferent(err))
	})
}

func TestBinding_Foreign(t *testing.T) {
	t.Parallel()

	live, test := true, false
	unbound := setup(t)
	require.True(t, unbound.Binding().Foreign(nil, "acct_1"), "nobody knows yet whether it is ours")

	require.NoError(t, unbound.Binding().Verify(t.Context()))
	b := unbound.Binding()
	require.NoError(t, b.Verify(t.Context()))

	require.False(t, b.Foreign(nil, ""), "what it does not tell is ours")
	require.False(t, b.Foreign(&test, "acct_1"))
	require.True(t, b.Foreign(&live, ""))
	require.True(t, b.Foreign(&live, "acct_1"))
	require.True(t, b.Foreign(&test, "acct_2"))
}

func TestBinding_ForeignMark(t *testing.T) {
	t.Parallel()

	b := setup(t)
	ours := b.Mark(operation.Create, uuid.New(), uuid.Nil, apptest.Order(t, 10_00))
	another := ours
	another.Installation = uuid.New()

	require.False(t, b.Binding().ForeignMark(ports.Intent{}), "it may be from before the marks")
	require.False(t, b.Binding().ForeignMark(ports.Intent{Mark: ours, Marked: true}))
	require.True(t, b.Binding().ForeignMark(ports.Intent{Mark: another, Marked: true}))
	require.True(t, b.Binding().ForeignMark(ports.Intent{Marked: true}), "nobody's")
}

func TestBinding_Show(t *testing.T) {
	t.Parallel()

	b := bound(t)
	shown, err := b.Binding().Show(t.Context())
	require.NoError(t, err)
	require.Equal(t, account.Shown{ID: b.Installation, Recorded: b.recorded, Now: b.recorded, Adoptions: []ports.Adopted{}}, shown)

	b.provider.host, b.provider.account = "localhost:12111", "acct_2"
	shown, err = b.Binding().Show(t.Context())
	require.NoError(t, err)
	require.Equal(t, b.recorded, shown.Recorded)
	require.Equal(t, "acct_2", shown.Now.Account, "it is asked for even where something else differs")
	require.True(t, account.IsDifferent(shown.Err))

	b.provider.err = errors.New("no answer")
	shown, err = b.Binding().Show(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, shown.Account, account.ErrUnverified)
	require.True(t, account.IsDifferent(shown.Err))
}

func TestBinding_Adopt(t *testing.T) {
	t.Parallel()

	const actor, reason = "cli:ann", "the account was closed"

	t.Run("AnotherAccount", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		op := b.Begin("order_1")
		b.provider.account = "acct_2"

		adopted, err := b.Binding().Adopt(t.Context(), actor, reason)
		require.NoError(t, err)

		to := b.recorded
		to.Account = "acct_2"
		require.Equal(t, account.Adopted{From: b.recorded, To: to, GivenUp: 1}, adopted)
		b.requireRecorded(t, to)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State, "it was meant for the other account")
		require.Equal(t, []string{
			"adopted acct_2 from acct_1 by cli:ann: the account was closed (1 given up)",
		}, b.Observer.Told(apptest.Nothing))

		shown, err := b.Binding().Show(t.Context())
		require.NoError(t, err)
		require.NoError(t, shown.Err)
		require.Len(t, shown.Adoptions, 1)
		require.Equal(t, b.recorded, shown.Adoptions[0].From)
	})

	t.Run("TheSameAccountElsewhere", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		op := b.Begin("order_1")
		b.provider.host = "stripe.proxy.example"

		adopted, err := b.Binding().Adopt(t.Context(), actor, reason)
		require.NoError(t, err)
		require.Zero(t, adopted.GivenUp)
		require.Equal(t, operation.Pending, b.Operation(op.ID).State)
	})

	t.Run("PaymentsAreMissing", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		b.Create("order_1")
		op := b.Begin("order_2")
		b.provider.account = ""
		b.move(t)

		adopted, err := b.Binding().Adopt(t.Context(), actor, reason)
		require.NoError(t, err)
		require.Equal(t, 1, adopted.GivenUp)
		require.Empty(t, adopted.To.Account, "it is not the one that was recorded")
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.NoError(t, b.Binding().Verify(t.Context()), "older payments are not looked for any more")
	})

	t.Run("NothingToAdopt", func(t *testing.T) {
		t.Parallel()

		b := bound(t)
		_, err := b.Binding().Adopt(t.Context(), actor, reason)
		require.ErrorIs(t, err, account.ErrNothingToAdopt)
	})

	t.Run("NobodyKnows", func(t *testing.T) {
		t.Parallel()

		for _, cause := range []error{ports.ErrKeyRejected, errors.New("no answer")} {
			b := bound(t)
			b.provider.err = cause
			_, err := b.Binding().Adopt(t.Context(), actor, reason)
			require.ErrorIs(t, err, cause)
			b.requireRecorded(t, b.recorded)
			require.Empty(t, b.Observer.Told(apptest.Nothing))
		}
	})
}
