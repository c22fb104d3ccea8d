package payment_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestParseOptions(t *testing.T) {
	t.Parallel()

	a := func(n int) string { return strings.Repeat("a", n) }

	for name, c := range map[string]struct {
		parse     func(string) (string, error)
		good, bad []string
	}{
		"payment_method": {
			payment.ParseMethodID,
			[]string{"pm_1", "pm_card_visa", "pm_1Nv0FGQ9RKHgCVdK", "pm_" + a(252)},
			[]string{"", "pm_", "pm", "PM_1", "card_1", "src_1", " pm_1", "pm_1 ", "pm_1/x", "pm_ж", "pm_\x00", "pm_" + a(253)},
		},
		"return_url": {
			payment.ParseReturnURL,
			[]string{
				"https://shop.example", "http://127.0.0.1:8080/a/b?c=d&e=%20#f", "HTTPS://shop.example/", "https://жук.example/",
				"https://a.b/" + a(2048-12),
			},
			[]string{
				"", "shop.example", "/done", "//shop.example/", "ftp://shop.example/", "javascript:alert(1)", "https://", "https:///a",
				"https://ann:secret@shop.example/", "https://shop.example/a b", "https://shop.example/\n", "app://done", "https://:80/",
				"https://a.b/" + a(2048-11), "https://shop.example/\xff",
			},
		},
		"description": {
			payment.ParseDescription,
			[]string{"", "a bicycle", "ein Fahrrad\nfür Жанна ☂", strings.Repeat("ж", 1000)},
			[]string{a(1001), "\x00", "\xff"},
		},
		"statement_descriptor_suffix": {
			payment.ParseStatementDescriptorSuffix,
			[]string{"a", "ORDER 7", "7-b/#", a(22)},
			[]string{"", "7", "  ", a(23), "a<", "a>", `a\`, "a'", `a"`, "a*", "aж", "a\n"},
		},
		"receipt_email": {
			payment.ParseEmail,
			[]string{"ann@example.com", "ann+7@mail.example.com", a(500) + "@example.com"},
			[]string{
				"", "ann", "@example.com", "Ann <ann@example.com>", "<ann@example.com>", "ann@example.com, bob@example.com",
				" ann@example.com", "ann@example.com\n", a(501) + "@example.com",
			},
		},
	} {
		for _, text := range c.good {
			parsed, err := c.parse(text)
			require.NoError(t, err, "%s %q", name, text)
			require.Equal(t, text, parsed, name)
		}

		for _, text := range c.bad {
			_, err := c.parse(text)
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%s %q", name, text)
			require.Contains(t, err.Error(), name)

			require.NotContains(t, err.Error(), "example", "what a customer gave may be personal")
		}
	}
}
