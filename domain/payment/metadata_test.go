package payment_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

func entries(n int) map[string]string {
	all := make(map[string]string, n)
	for i := range n {
		all[fmt.Sprintf("key_%02d", i)] = "v"
	}

	return all
}

// Stripe takes fifty entries, of which four are ours.
func TestParseMetadata_TakesWhatStripeWould(t *testing.T) {
	t.Parallel()

	full := entries(46)
	delete(full, "key_00")
	full[strings.Repeat("ж", 40)] = strings.Repeat("ж", 500)

	for name, sent := range map[string]map[string]string{
		"forty-six":                  full,
		"an empty value":             {"k": ""},
		"a value of several lines":   {"k": "a\nb\tc"},
		"spaces, and other scripts":  {" имя ☂ ": "Жанна"},
		"our names in another case":  {"Payment_ID": "v", "MARKETFLOW": "v", "marketflow_KEY": "v"},
		"names that begin like ours": {"payment_id_2": "v", "marketflow_": "v", "marketflow_captures": "v"},
		"our names as values":        {"k": "payment_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			metadata, err := payment.ParseMetadata(sent)
			require.NoError(t, err)
			require.Equal(t, payment.Metadata(sent), metadata)
		})
	}

	metadata, err := payment.ParseMetadata(nil)
	require.NoError(t, err)
	require.Nil(t, metadata)
}

func TestParseMetadata_RefusesWhatStripeWould(t *testing.T) {
	t.Parallel()

	for name, sent := range map[string]map[string]string{
		"forty-seven":          entries(47),
		"an empty key":         {"": "v"},
		"a long key":           {strings.Repeat("k", 41): "v"},
		"a long value":         {"k": strings.Repeat("v", 501)},
		"an opening bracket":   {"a[b": "v"},
		"a closing bracket":    {"a]b": "v"},
		"a control character":  {"a\tb": "v"},
		"NUL in a key":         {"a\x00": "v"},
		"NUL in a value":       {"k": "a\x00"},
		"a key not in UTF-8":   {"a\xff": "v"},
		"a value not in UTF-8": {"k": "a\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			metadata, err := payment.ParseMetadata(sent)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
			require.Nil(t, metadata)
		})
	}
}

// Each name is written out: another release of ours must find it.
func TestParseMetadata_ReservesFourNames(t *testing.T) {
	t.Parallel()

	for _, name := range []string{"payment_id", "marketflow", "marketflow_key", "marketflow_capture"} {
		_, err := payment.ParseMetadata(map[string]string{"order_id": "42", name: "v"})
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		require.ErrorContains(t, err, name)
	}
}

func TestParseMetadataChange(t *testing.T) {
	t.Parallel()

	change, err := payment.ParseMetadataChange(map[string]string{"a": "b", "gone": ""})
	require.NoError(t, err)
	require.Equal(t, payment.MetadataChange{"a": "b", "gone": ""}, change)

	for name, entries := range map[string]map[string]string{
		"our id": {"payment_id": "x"}, "our mark": {"marketflow": "x"}, "our mark, removed": {"marketflow": ""},
		"a mark of ours": {"marketflow_capture": "x"}, "a name that may become ours": {"marketflow_refund": "x"},
		"too many": entries(47), "no name": {"": "x"}, "a bracket": {"a[b": "x"}, "too long": {"a": strings.Repeat("v", 501)},
	} {
		_, err := payment.ParseMetadataChange(entries)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
	}
}

func TestMetadata_With(t *testing.T) {
	t.Parallel()

	before := payment.Metadata{"a": "1", "b": "2"}

	require.Equal(t, payment.Metadata{"a": "3", "c": "4"}, before.With(payment.MetadataChange{"a": "3", "b": "", "c": "4", "d": ""}))
	require.Equal(t, payment.Metadata{"a": "1", "b": "2"}, before, "it stays")
	require.Equal(t, before, before.With(nil))
	require.Equal(t, payment.Metadata{}, before.With(payment.MetadataChange{"a": "", "b": ""}))
	require.Nil(t, payment.Metadata(nil).With(payment.MetadataChange{"a": ""}))
	require.Equal(t, payment.Metadata{"a": "1"}, payment.Metadata(nil).With(payment.MetadataChange{"a": "1"}))

	full := payment.Metadata(entries(46))
	require.NoError(t, full.CheckWith(payment.MetadataChange{"key_00": "other", "gone": ""}))
	require.NoError(t, full.CheckWith(payment.MetadataChange{"key_00": "", "one more": "v"}))
	require.Equal(t, fault.Invalid, fault.KindOf(full.CheckWith(payment.MetadataChange{"one more": "v"})))
}
