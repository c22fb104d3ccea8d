package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Installation is the contract of ports.Installation. Each call of newBed gives
// an empty store.
func Installation(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"InstallationID/never changes":            installationIDStays,
		"SetInstallationID/an empty database's":   setInstallationID,
		"SetInstallationID/never one in use":      setInstallationIDInUse,
		"SetInstallationID/is in each standing":   beginsWithItsStanding,
		"Here/the same for everybody":             hereIsTheSame,
		"Bind/what was not recorded":              bindFills,
		"Bind/never over what is":                 bindKeeps,
		"Bind/many at once, one wins":             bindAtOnce,
		"Rebind/over what is":                     rebindReplaces,
		"Rebind/gives pending operations up":      rebindGivesUp,
		"NewestIntents/newest first, up to limit": newestIntentsFirst,
		"NewestIntents/none before an adoption":   newestIntentsAfterAdoption,
	})
}

var bound = binding.Binding{
	Host: "api.stripe.com", Mode: binding.Live, Account: "acct_1", System: "7", Database: "marketflow",
}

func installationIDStays(t *testing.T, b StoreBed) {
	t.Helper()

	id, err := b.InstallationID(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, uuid.Nil, id)

	b.mustBind(t, bound)

	_, err = b.Rebind(t.Context(), ports.Adoption{To: binding.Binding{Host: "127.0.0.1:12111"}, Actor: "a", Reason: "b"})
	require.NoError(t, err)

	for _, store := range []Store{b.Store, b.Twin} {
		again, err := store.InstallationID(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, again)
	}
}

// Its payments may be at the provider, so that nothing counts as reconciled.
func setInstallationID(t *testing.T, b StoreBed) {
	t.Helper()

	id := uuid.New()

	for range 2 {
		require.NoError(t, b.SetInstallationID(t.Context(), id))

		got, err := b.Twin.InstallationID(t.Context())
		require.NoError(t, err)
		require.Equal(t, id, got)
	}

	_, standing, err := b.Twin.Incarnation(t.Context())
	require.NoError(t, err)
	require.False(t, standing.Reconciled)
	require.InDelta(t, 30*24*time.Hour, standing.Behind, float64(time.Minute))
}

// beginsWithItsStanding: whoever may send an operation is told how far reconciliation had
// come when the operation was written or taken.
func beginsWithItsStanding(t *testing.T, b StoreBed) {
	t.Helper()

	require.NoError(t, b.SetInstallationID(t.Context(), uuid.New()))

	requireBehind := func(op ports.Operation, err error) {
		t.Helper()
		require.NoError(t, err)
		require.True(t, op.Held())
		require.Equal(t, b.incarnation(t), op.Incarnation)
		require.False(t, op.Standing.Reconciled)
		require.InDelta(t, 30*24*time.Hour, op.Standing.Behind, float64(time.Minute))
	}

	first := newOperation(t, "order_1")
	op, err := b.Begin(t.Context(), first)
	requireBehind(op, err)

	b.Elapse(t, 2*lease)

	first.Lease = newLease()
	op, err = b.Begin(t.Context(), first) // takes it over
	requireBehind(op, err)

	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	requireBehind(taken[0], nil)

	_, err = b.Reject(t.Context(), taken[0], errors.New("an account that cannot be charged"))
	require.NoError(t, err)

	op, err = b.Reopen(t.Context(), op.ID, newLease(), nil)
	requireBehind(op, err)
}

func setInstallationIDInUse(t *testing.T, b StoreBed) {
	t.Helper()

	own, err := b.InstallationID(t.Context())
	require.NoError(t, err)

	b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.SetInstallationID(t.Context(), uuid.New()))

	got, err := b.InstallationID(t.Context())
	require.NoError(t, err)
	require.Equal(t, own, got)

	_, standing, err := b.Incarnation(t.Context())
	require.NoError(t, err)
	require.True(t, standing.Reconciled)
}

func hereIsTheSame(t *testing.T, b StoreBed) {
	t.Helper()

	here, err := b.Here(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, here.System)
	require.NotEmpty(t, here.Database)
	require.Equal(t, binding.Binding{System: here.System, Database: here.Database}, here)

	again, err := b.Twin.Here(t.Context())
	require.NoError(t, err)
	require.Equal(t, here, again)
}

func (b StoreBed) recorded(t *testing.T) binding.Binding {
	t.Helper()

	recorded, err := b.Twin.Binding(t.Context())
	require.NoError(t, err)

	return recorded
}

func (b StoreBed) mustBind(t *testing.T, now binding.Binding) binding.Binding {
	t.Helper()

	recorded, err := b.Bind(t.Context(), now)
	require.NoError(t, err)
	require.Equal(t, recorded, b.recorded(t))

	return recorded
}

func bindFills(t *testing.T, b StoreBed) {
	t.Helper()

	require.Equal(t, binding.Binding{}, b.recorded(t))

	unknown := bound
	unknown.Account, unknown.System = "", ""
	require.Equal(t, unknown, b.mustBind(t, unknown))
	require.Equal(t, bound, b.mustBind(t, bound), "the account is known now")
	require.Equal(t, bound, b.mustBind(t, unknown), "what is not known never overwrites what is")
	require.Equal(t, bound, b.mustBind(t, bound))
}

func bindKeeps(t *testing.T, b StoreBed) {
	t.Helper()

	recorded := bound
	recorded.Account = ""
	b.mustBind(t, recorded)

	for _, change := range []func(*binding.Binding){
		func(now *binding.Binding) { now.Host = "127.0.0.1:12111" },
		func(now *binding.Binding) { now.Mode = binding.Test },
		func(now *binding.Binding) { now.System = "8" },
		func(now *binding.Binding) { now.Database = "copy" },
	} {
		now := bound
		change(&now)
		require.Equal(t, recorded, b.mustBind(t, now), "not even the account of another host is written: %+v", now)
	}
}

func bindAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const processes = 8

	results, errs := atOnce(processes, func(i int) (binding.Binding, error) {
		now := bound
		now.Account = "acct_" + string(rune('a'+i))

		return b.either(i).Bind(t.Context(), now)
	})

	for i := range results {
		require.NoError(t, errs[i])
		require.Equal(t, b.recorded(t), results[i], "everybody sees whose it is")
	}
}

func rebindReplaces(t *testing.T, b StoreBed) {
	t.Helper()

	b.mustBind(t, bound)
	op := b.mustBegin(t, newOperation(t, "order_1"))

	to := binding.Binding{Host: "127.0.0.1:12111", Mode: binding.Test, Database: "copy"}
	n, err := b.Rebind(t.Context(), ports.Adoption{To: to, Actor: "root@db1", Reason: "a restore"})
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, to, b.recorded(t), "what is not known of the new is not kept from the old")

	kept, err := b.Twin.Adoptions(t.Context())
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.WithinDuration(t, time.Now(), kept[0].At, time.Minute)
	require.Equal(t, ports.Adopted{At: kept[0].At, Actor: "root@db1", Reason: "a restore", From: bound}, kept[0])
	require.Equal(t, operation.Pending, b.operationNow(t, op.ID).State)
}

func rebindGivesUp(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustBegin(t, newOperation(t, "order_1"))
	p := b.mustPay(t, "order_2")

	n, err := b.Rebind(t.Context(), ports.Adoption{To: bound, Actor: "a", Reason: "b", GiveUp: true})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, operation.NeedsAttention, b.operationNow(t, pending.ID).State)
	require.Equal(t, operation.Finished, b.operationNow(t, p.ID).State)
}

func newestIntentsFirst(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.NewestIntents(t.Context(), 3)
	require.NoError(t, err)
	require.Empty(t, none)

	first, second, third := b.mustPay(t, "order_1"), b.mustPay(t, "order_2"), b.mustPay(t, "order_3")

	newest, err := b.NewestIntents(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, []string{third.IntentID, second.IntentID}, newest)

	all, err := b.NewestIntents(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, first.IntentID, all[2])
}

func newestIntentsAfterAdoption(t *testing.T, b StoreBed) {
	t.Helper()

	b.mustPay(t, "order_1")

	_, err := b.Rebind(t.Context(), ports.Adoption{To: bound, Actor: "a", Reason: "b"})
	require.NoError(t, err)

	none, err := b.NewestIntents(t.Context(), 3)
	require.NoError(t, err)
	require.Empty(t, none)

	p := b.mustPay(t, "order_2")

	newest, err := b.NewestIntents(t.Context(), 3)
	require.NoError(t, err)
	require.Equal(t, []string{p.IntentID}, newest)
}
