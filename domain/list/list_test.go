package list_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// filter is what a test's list is narrowed by.
type filter struct {
	word     string
	currency money.Currency
	at       list.Span
	amount   list.Range
}

func table() []list.Parameter[filter] {
	table := []list.Parameter[filter]{
		{Name: "word", Read: func(f *filter, value string) error {
			f.word = value

			return nil
		}},
		{Name: "currency", Read: func(f *filter, value string) (err error) {
			f.currency, err = money.ParseCurrency(value)

			return err
		}},
	}
	table = append(table, list.Times("due", "due", func(f *filter) *list.Span { return &f.at })...)

	return append(table, list.Amounts(func(f *filter) (money.Currency, *list.Range) { return f.currency, &f.amount })...)
}

func TestParse(t *testing.T) {
	t.Parallel()

	f, err := list.Parse("things", table(), map[string][]string{
		"amount[gt]": {"10.00"}, "amount[lte]": {"20"}, "currency": {"usd"}, "word": {"x"},
		"due[gte]": {"2026-01-31T00:00:00Z"}, "due[gt]": {"2025-01-31T00:00:00Z"}, "due[lt]": {"2026-02-01T00:00:00.0000001Z"},
	})
	require.NoError(t, err)
	require.Equal(t, "x", f.word)
	require.Equal(t, "10.01 USD", f.amount.From.String())
	require.Equal(t, "20.00 USD", f.amount.To.String())
	require.Equal(t, list.Span{
		From:   time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC),
		Before: time.Date(2026, 2, 1, 0, 0, 0, 1000, time.UTC),
	}, f.at)
	require.True(t, f.at.Has(f.at.From))
	require.False(t, f.at.Has(f.at.Before))

	for name, values := range map[string]map[string][]string{
		"colour":      {"colour": {"red"}},
		"word is":     {"word": {"x", "y"}},
		"word has":    {"word": {""}},
		"due[gte]":    {"due[gte]": {"yesterday"}},
		"currency":    {"currency": {"xyz"}},
		"amount[gte]": {"amount[gte]": {"10"}},
		"amount[lt]":  {"amount[lt]": {"0.001"}, "currency": {"USD"}},
	} {
		_, err := list.Parse("things", table(), values)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		require.ErrorContains(t, err, name)
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()

	cursors := list.NewCursors(operation.Installation{ID: uuid.New()})
	at := list.Position{At: time.Date(2026, 1, 31, 1, 2, 3, 4000, time.UTC), ID: uuid.New()}
	values := map[string][]string{"status": {"won"}, list.ParamLimit: {"5"}}
	digest := list.DigestOf(operation.DefaultTenant, "disputes", list.Filters(values))

	none, err := cursors.Of(values, digest)
	require.NoError(t, err)
	require.True(t, none.IsZero())

	values[list.ParamCursor] = []string{cursors.Write(at, digest)}
	values[list.ParamLimit] = []string{"7"}
	read, err := cursors.Of(values, list.DigestOf(operation.DefaultTenant, "disputes", list.Filters(values)))
	require.NoError(t, err)
	require.Equal(t, at, read)

	other := list.NewCursors(operation.Installation{ID: uuid.New()})
	_, err = other.Of(values, digest)
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	for name, another := range map[string]list.Digest{
		"another list":   list.DigestOf(operation.DefaultTenant, "refunds", list.Filters(values)),
		"another filter": list.DigestOf(operation.DefaultTenant, "disputes", map[string][]string{"status": {"lost"}}),
	} {
		_, err = cursors.Of(values, another)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	small, great := uuid.MustParse("00000000-0000-0000-0000-000000000001"), uuid.MustParse("ffffffff-0000-0000-0000-000000000000")
	at := list.Position{At: now, ID: small}

	require.True(t, at.Precedes(list.Position{At: now, ID: great}))
	require.True(t, at.Precedes(list.Position{At: now.Add(1), ID: small}))
	require.False(t, at.Precedes(at))

	require.Equal(t, at, at.Newest(list.Span{}))
	require.Equal(t, list.Position{At: now.Add(-time.Hour)}, at.Newest(list.Span{Before: now.Add(-time.Hour)}))
	require.Equal(t, 9999, list.Position{}.Newest(list.Span{}).At.Year())
}

func TestLimit(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]int{"1": 1, "100": 100} {
		got, err := list.Limit(map[string][]string{"limit": {text}})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}

	usual, err := list.Limit(nil)
	require.NoError(t, err)
	require.Equal(t, 20, usual)

	for _, text := range []string{"0", "101", "+1", "x", "1.0"} {
		_, err := list.Limit(map[string][]string{"limit": {text}})
		require.Equal(t, fault.Invalid, fault.KindOf(err), text)
	}
}
