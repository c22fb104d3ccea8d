package bootstrap_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// An empty database takes the id of one that was lost, and keeps it.
func TestStart_InstallationID(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.NewStore(db.Pool(), db.Pool())
	c := settings(t, db.URL)
	c.InstallationID = uuid.New()

	for range 2 {
		service, err := bootstrap.Start(t.Context(), c, "test", silent())
		require.NoError(t, err)
		require.NoError(t, service.Stop(t.Context()))

		id, err := store.InstallationID(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.InstallationID, id)

		// From the second start on it is in use.
		_, err = store.Begin(t.Context(), ports.NewOperation{
			Tenant: operation.DefaultTenant,
			ID:     uuid.New(), Kind: operation.Create, Key: "order_1", Lease: ports.Lease{Token: uuid.New(), For: time.Minute},
		})
		require.NoError(t, err)
	}
}
