package main

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestCustomers(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	service := d.serve()

	status, made := d.post(service+"/customers", "application/json",
		`{"reference":"user-42","email":"jenny@example.com","name":"Jenny","idempotency_key":"customer_1"}`)
	require.Equal(t, http.StatusCreated, status, made)

	id := text(t, made, "id")

	for _, name := range []string{id, text(t, made, "stripe_customer_id")} {
		shown := d.object("customers", "show", name)
		require.Equal(t, made, shown["customer"])
		require.Nil(t, shown["deleted_at"])
	}

	require.Contains(t, d.run("customers", "show", id).stdout, "jenny@example.com")

	for _, args := range [][]string{nil, {"--reference", "user-42"}, {"--email", "jenny@example.com"}} {
		list, ok := d.json(append([]string{"customers", "list"}, args...)...).([]any)
		require.True(t, ok)
		require.Len(t, list, 1, args)
	}

	require.Contains(t, d.run("customers", "list").stdout, id)
	require.Empty(t, d.json("customers", "list", "--reference", "user-43"))

	operation := d.object("operations", "show", id)
	require.Equal(t, id, operation["customer_id"])
	require.Nil(t, operation["payment_id"])

	d.fails("reason", "customers", "erase", id)
	d.fails("there is no customer", "customers", "erase", uuid.NewString(), "--reason", "asked for")
	d.fails("is not an id", "customers", "show", "user-42")
	d.fails("no customer here is cus_x", "customers", "show", "cus_x")
	d.fails("--limit", "customers", "list", "--limit", "0")
	d.fails("No payment was ever asked for", "payments", "show", "--key", "customer_1")

	erased := d.object("customers", "erase", id, "--reason", "asked for")
	require.Equal(t, id, erased["customer_id"])
	require.Equal(t, []any{}, erased["parked_events"])

	shown := d.object("customers", "show", id)
	require.NotNil(t, shown["deleted_at"])
	require.Len(t, shown["audit"], 1)
	require.NotContains(t, d.run("customers", "show", id).stdout, "jenny")
	require.Empty(t, d.json("customers", "list"))
	require.Contains(t, d.run("customers", "erase", id, "--reason", "again").stdout, "is erased")
}
