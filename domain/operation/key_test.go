package operation_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
)

func TestParseKey(t *testing.T) {
	t.Parallel()

	for name, text := range map[string]string{
		"empty": "", "too long": strings.Repeat("k", 256), "newline": "a\nb", "NUL": "a\x00",
		"DEL": "a\x7f", "C1": "a\u0085", "not UTF-8": "a\xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := operation.ParseKey(text)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		})
	}

	for _, text := range []string{"order_123_attempt_1", strings.Repeat("ж", 255), "with space", `"quoted"`} {
		key, err := operation.ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, operation.Key(text), key)
	}
}
