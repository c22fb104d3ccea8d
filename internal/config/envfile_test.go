package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
)

// A slip in .env is told by its line: godotenv shows all that follows it.
func TestVariables_EnvFile(t *testing.T) {
	t.Chdir(t.TempDir())

	const good = "# a comment\n\nMF_TEST_A=1\nexport MF_TEST_B='two\nlines'\n"

	write := func(text string) { require.NoError(t, os.WriteFile(filepath.Join(".", ".env"), []byte(text), 0o600)) }

	for text, line := range map[string]string{
		good + "MF_TEST_KEY\nMF_TEST_C=hunter2\n":   ".env: line 6 is not NAME=value",
		good + "MF TEST-KEY=hunter2\n":              ".env: line 6 is not NAME=value",
		good + "MF_TEST_C=\"hunter2\nMF_TEST_D=1\n": ".env: line 6 is not NAME=value",
		"sk-test_hunter2\n":                         ".env: line 1 is not NAME=value",
		"MF_TEST_A=1\r\n<hunter2>\n":                ".env: line 2 is not NAME=value",
	} {
		write(text)

		_, err := config.Variables()
		require.EqualError(t, err, line)
	}

	write(good)

	variables, err := config.Variables()
	require.NoError(t, err)
	require.Equal(t, "two\nlines", variables["MF_TEST_B"])
}
