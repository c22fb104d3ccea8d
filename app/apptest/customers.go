package apptest

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Jenny is what is known of the customer that these helpers make.
func Jenny() map[string]string {
	return map[string]string{
		customer.Reference: "user-42", customer.Email: "jenny@example.com", customer.Name: "Jenny Rosen",
	}
}

// CustomerRefresh returns what reads a customer because of an event.
func (w *World) CustomerRefresh() *customers.Refresh {
	return customers.NewRefresh(w.Customers, w.Provider, w.Engine(), w.Installation)
}

// CreateCustomer makes a customer under a key.
func (w *World) CreateCustomer(key operation.Key, values map[string]string) customer.Customer {
	w.tb.Helper()

	answer, err := customers.NewCreate(w.CustomerChange()).Do(w.tb.Context(), customers.CreateCommand{
		Tenant: operation.DefaultTenant, Key: key, Values: values, Metadata: map[string]string{"plan": "gold"}, RequestID: RequestID,
	})
	require.NoError(w.tb, err)
	require.Equal(w.tb, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)

	return w.Customer(answer.CustomerID)
}

// Customer reads a customer, also one that is deleted.
func (w *World) Customer(id uuid.UUID) customer.Customer {
	w.tb.Helper()

	c, err := w.Store.Customer(w.tb.Context(), id)
	require.NoError(w.tb, err)

	return c
}

// StripeCustomers are the customers that Stripe has.
func (w *World) StripeCustomers() []ports.CustomerObject {
	w.tb.Helper()

	var all []ports.CustomerObject

	at := w.Stripe.Now()

	for one, err := range NewGateway(w.Stripe.URL).Customers(w.tb.Context(), at.Add(-30*24*time.Hour), at.Add(time.Hour)) {
		require.NoError(w.tb, err)

		all = append(all, one)
	}

	return all
}

// SaveCard saves a test card for a customer, as somebody does in Stripe's Dashboard.
func (w *World) SaveCard(c customer.Customer, card string) (methodID string) {
	w.tb.Helper()

	status, answer := w.call("/v1/payment_methods/"+card+"/attach", url.Values{"customer": {c.ProviderID}}.Encode())
	require.Equal(w.tb, http.StatusOK, status, "%v", answer)

	id, ok := answer["id"].(string)
	require.True(w.tb, ok)

	return id
}

// Search returns the tables and columns of the database that hold one of the texts.
func (w *World) Search(texts ...string) (found []string) {
	w.tb.Helper()

	type column struct{ Table, Name string }

	pool, ctx := w.db.Pool(), w.tb.Context()
	rows, err := pool.Query(ctx, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type IN ('text', 'character varying', 'jsonb', 'json', 'bytea', 'ARRAY')`)
	require.NoError(w.tb, err)

	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	require.NoError(w.tb, err)
	require.NotEmpty(w.tb, columns)

	for _, c := range columns {
		for _, text := range texts {
			var held bool

			// A bytea's text is its hexadecimal form.
			err := pool.QueryRow(ctx, fmt.Sprintf(
				`SELECT EXISTS (SELECT FROM %[1]q WHERE position($1 IN %[2]q::text) > 0 OR position($2 IN %[2]q::text) > 0)`,
				c.Table, c.Name), text, hex.EncodeToString([]byte(text))).Scan(&held)
			require.NoError(w.tb, err, "%s.%s", c.Table, c.Name)

			if held {
				found = append(found, c.Table+"."+c.Name+": "+text)
			}
		}
	}

	return found
}
