package postgres_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// The begin of a create does not wait for the disk. Everything else does, also the next
// statement on the same connection, whoever it belongs to.
func TestStore_Begin_WaitsForTheDisk(t *testing.T) {
	t.Parallel()

	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()

			url := with(t, pgtest.New(t).URL, "default_query_exec_mode", mode)
			pool := newPool(t, url, 1)
			store := newStore(pool)

			// A deferred trigger sees what the commit will see.
			_, err := newPool(t, url, 1).Exec(t.Context(), `
				CREATE TABLE commits (id UUID, waits TEXT);
				CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
					INSERT INTO commits VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NULL;
				END $$;
				CREATE CONSTRAINT TRIGGER note AFTER INSERT ON operations DEFERRABLE INITIALLY DEFERRED
					FOR EACH ROW EXECUTE FUNCTION note()`)
			require.NoError(t, err)

			begin := func(op ports.NewOperation) (waits string) {
				t.Helper()

				_, err := store.Begin(t.Context(), op)
				require.NoError(t, err)
				require.NoError(t, pool.QueryRow(t.Context(), "SELECT waits FROM commits WHERE id = $1", op.ID).Scan(&waits))

				var after string

				require.NoError(t, pool.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&after))
				require.Equal(t, "on", after)

				return waits
			}

			create := newOrder(t, "order_1")
			require.Equal(t, "off", begin(create))
			mustFinish(t, store, create)

			cancel, answered := newCancel(t, create, "cancel_1"), newCancel(t, create, "cancel_2")
			answered.Response = &ports.FrozenResponse{Status: http.StatusOK, Body: []byte("{}")}

			require.Equal(t, "on", begin(cancel))
			require.Equal(t, "on", begin(answered))
			require.Equal(t, "off", begin(newOrder(t, "order_2")))
		})
	}
}
