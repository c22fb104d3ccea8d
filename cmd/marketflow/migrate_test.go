package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/pgtest"
)

// What is done and waited for is for the person who watches; stdout stays empty.
func TestMigrate_SaysWhatItDoes(t *testing.T) {
	t.Parallel()

	environment := []string{"DATABASE_URL=" + pgtest.NewEmpty(t).URL}

	first := program(t, environment, "migrate", "up")
	require.Zero(t, first.code, first.stderr)
	require.Contains(t, first.stderr, "applying 00001_create_payments.sql\n")
	require.Empty(t, first.stdout)
	require.Equal(t, ran{}, program(t, environment, "migrate", "up"), "there is nothing left to do")
}

// Nobody migrates a standby, and nobody serves from one.
func TestReadOnlyDatabaseIsRefused(t *testing.T) {
	t.Parallel()

	environment := []string{
		"DATABASE_URL=" + pgtest.New(t).URL + "&default_transaction_read_only=on",
		"STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret, "STRIPE_API_BASE=http://127.0.0.1:1", "AUTH=off",
	}

	for _, args := range [][]string{{"migrate", "up"}, {"serve"}, {"reconcile"}} {
		got := program(t, environment, args...)
		require.Equal(t, 1, got.code, args)
		require.Regexp(t, `(?m)^marketflow: connecting .*: read only connection; it is a standby, .*\n$`, got.stderr, args)
	}
}
