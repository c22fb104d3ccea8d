package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// MetadataIndex is the contract of ports.MetadataIndex. Each call of newBed gives an empty
// store.
func MetadataIndex(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"IndexMetadata/older payments, step by step":    indexesOlder,
		"IndexMetadata/not before all stores have it":   indexesLater,
		"IndexMetadata/anew after a store without it":   indexesAnew,
		"IndexMetadata/each once, by several at a time": indexesTogether,
		"IndexMetadata/nothing without names":           indexesNothing,
		"MetadataNames/how far each is":                 indexTold,
		"ForgetMetadataName/step by step":               indexForgotten,
	})
}

// index does one step and says whether there may be another.
func (b StoreBed) index(tb testing.TB, limit int) bool {
	tb.Helper()

	step, err := b.IndexMetadata(tb.Context(), 0, limit)
	require.NoError(tb, err)

	return step.Name != ""
}

// mustPayWithout makes payments as a process does that has no names.
func (b StoreBed) mustPayWithout(tb testing.TB, count int) []payment.Payment {
	tb.Helper()
	require.NoError(tb, b.Unindexed.ReportMetadataNames(tb.Context()))

	made, other := make([]payment.Payment, 0, count), b
	other.Store = b.Unindexed

	for range count {
		made = append(made, other.mustPay(tb, ""))
	}

	return made
}

// theOrder is what the metadata of newOperation has.
func theOrder() ports.PaymentFilter {
	return ports.PaymentFilter{Tenant: operation.DefaultTenant, Metadata: map[string]string{"order": "42"}}
}

func (b StoreBed) requireFound(tb testing.TB, want ...[]payment.Payment) {
	tb.Helper()

	var ids []uuid.UUID

	for _, some := range want {
		for _, p := range some {
			ids = append(ids, p.ID)
		}
	}

	require.ElementsMatch(tb, ids, b.listed(tb, theOrder(), 3))
}

func indexesOlder(t *testing.T, b StoreBed) {
	t.Helper()

	older := b.mustPayWithout(t, 7)
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	newer := b.mustPay(t, "order_1")
	b.requireFound(t, older, []payment.Payment{newer})

	steps := 0

	for ; ; steps++ {
		step, err := b.IndexMetadata(t.Context(), 0, 3)
		require.NoError(t, err)

		if step.Name == "" {
			break
		}

		b.requireFound(t, older, []payment.Payment{newer})

		if step.Complete {
			require.Equal(t, ports.PaymentPosition{CreatedAt: newer.CreatedAt, ID: newer.ID}, step.Through)
		}
	}

	require.Equal(t, 3*len(IndexedNames()), steps, "eight payments in steps of three")
	require.NoError(t, b.ReportMetadataNames(t.Context()))
	require.False(t, b.index(t, 3), "nothing is done twice")
	b.requireFound(t, older, []payment.Payment{newer})
}

func indexesLater(t *testing.T, b StoreBed) {
	t.Helper()
	b.mustPayWithout(t, 1)
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	step, err := b.IndexMetadata(t.Context(), time.Minute, 10)
	require.NoError(t, err)
	require.Empty(t, step)
}

func indexesAnew(t *testing.T, b StoreBed) {
	t.Helper()
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	for b.index(t, 10) {
	}

	missed := b.mustPayWithout(t, 2)
	b.requireFound(t, missed)

	for b.index(t, 10) {
	}

	b.requireFound(t, missed)
	require.NoError(t, b.Twin.ReportMetadataNames(t.Context()))
	b.requireFound(t, missed)
	require.True(t, b.index(t, 10), "it begins anew")

	for b.index(t, 10) {
	}

	b.requireFound(t, missed)
}

func indexesTogether(t *testing.T, b StoreBed) {
	t.Helper()

	const callers, limit = 6, 4

	older := b.mustPayWithout(t, 10)
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	for busy := true; busy; {
		steps := allAtOnce(t, callers, func(i int) (ports.MetadataProgress, error) {
			return b.either(i).IndexMetadata(t.Context(), 0, limit)
		})
		busy = count(steps, func(s ports.MetadataProgress) bool { return s.Name != "" }) > 0

		for i, step := range steps {
			for _, other := range steps[:i] {
				require.False(t, step.Name != "" && !step.Complete && step == other, "two have done the same: %+v", step)
			}
		}
	}

	b.requireFound(t, older)
}

func indexesNothing(t *testing.T, b StoreBed) {
	t.Helper()

	made := b.mustPayWithout(t, 1)

	step, err := b.Unindexed.IndexMetadata(t.Context(), 0, 10)
	require.NoError(t, err)
	require.Empty(t, step)
	b.requireFound(t, made)
}

func indexTold(t *testing.T, b StoreBed) {
	t.Helper()

	names, err := b.MetadataNames(t.Context())
	require.NoError(t, err)
	require.Empty(t, names)

	made := b.mustPayWithout(t, 1)
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	for b.index(t, 10) {
	}

	require.NoError(t, b.Unindexed.ReportMetadataNames(t.Context()))

	names, err = b.Unindexed.MetadataNames(t.Context())
	require.NoError(t, err)
	require.Len(t, names, len(IndexedNames()))

	for i, n := range names {
		require.Equal(t, IndexedNames()[i], n.Name)
		require.True(t, n.Complete)
		require.False(t, n.Searched(), "a store lacks it")
		require.True(t, n.MissedAt.After(n.AddedAt))
		require.Equal(t, ports.PaymentPosition{CreatedAt: made[0].CreatedAt, ID: made[0].ID}, n.Through)
	}
}

func indexForgotten(t *testing.T, b StoreBed) {
	t.Helper()
	require.NoError(t, b.ReportMetadataNames(t.Context()))

	made := []payment.Payment{b.mustPay(t, ""), b.mustPay(t, "")}
	b.mustPayFor(t, another, "")

	_, err := b.Unindexed.ForgetMetadataName(t.Context(), "order", 2)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "others have it: %v", err)
	require.NoError(t, b.Unindexed.ReportMetadataNames(t.Context()))

	for _, want := range []bool{true, false} {
		more, err := b.Unindexed.ForgetMetadataName(t.Context(), "order", 2)
		require.NoError(t, err)
		require.Equal(t, want, more)
	}

	names, err := b.MetadataNames(t.Context())
	require.NoError(t, err)
	require.Equal(t, "shop", names[0].Name)
	require.Len(t, names, 1)
	b.requireFound(t, made)

	_, err = b.ForgetMetadataName(t.Context(), "order", 2)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "it has the name: %v", err)
}
