package main

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The list of the commands is the API's: the same filters, the same pages, the same table.
func TestPayments_List(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	url := d.serve()
	ids := make([]any, 3)

	for n := range ids {
		status, made := d.post(url+"/payments", "application/json", fmt.Sprintf(
			`{"amount":10.0%d,"currency":"USD","idempotency_key":"order_%d","metadata":{"order_id":"o%d"}}`, n, n, n))
		require.Equal(t, http.StatusCreated, status)

		ids[n] = made["id"]
	}

	first := d.object("payments", "list", "--limit", "2", "--status", "pending")
	require.Equal(t, true, first["has_more"])
	require.Len(t, first["data"], 2)

	rest := d.run("payments", "list", "--limit", "2", "--status", "pending", "--cursor", text(t, first, "next_cursor"))
	require.Zero(t, rest.code, rest.stderr)
	require.NotContains(t, rest.stdout, "--cursor")

	for _, id := range ids { // on one of the two pages
		require.NotEqual(t, strings.Contains(fmt.Sprint(first["data"]), fmt.Sprint(id)), strings.Contains(rest.stdout, fmt.Sprint(id)))
	}

	require.Contains(t, d.run("payments", "list", "--limit", "1", "-o", "table").stdout, "There are more: --cursor ")

	table := d.run("payments", "list", "--currency", "USD", "--amount-gte", "10.01", "-o", "csv")
	require.Zero(t, table.code, table.stderr)

	rows, err := csv.NewReader(strings.NewReader(table.stdout)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1+2)
	require.ElementsMatch(t, []string{"order_1", "order_2"}, []string{rows[1][2], rows[2][2]})

	indexed := program(t, append(d.environment(), "METADATA_INDEX=order_id"), "payments", "list", "--metadata", "order_id=o1")
	require.Zero(t, indexed.code, indexed.stderr)
	require.Contains(t, indexed.stdout, fmt.Sprint(ids[1]))
	require.NotContains(t, indexed.stdout, fmt.Sprint(ids[2]))

	// The service has no names, so this one is not searched by.
	require.Equal(t, []any{}, d.json("payments", "index"))
	require.Zero(t, d.run("payments", "index", "--forget", "shop").code)

	kept := program(t, append(d.environment(), "METADATA_INDEX=order_id"), "payments", "index", "--forget", "order_id")
	require.Equal(t, 1, kept.code)
	require.Contains(t, kept.stderr, "order_id is in METADATA_INDEX")

	d.fails("METADATA_INDEX", "payments", "list", "--metadata", "order_id=o1")
	d.fails("must be NAME=VALUE", "payments", "list", "--metadata", "order_id")
	d.fails("status: must be pending", "payments", "list", "--status", "paid")
	d.fails("limit is for pages", "payments", "list", "--limit", "3", "-o", "csv")
	d.fails("must be table, json or csv", "payments", "list", "-o", "yaml")
}
