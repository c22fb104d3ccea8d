package tenants_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle has the use cases on a database of its own.
type bundle struct {
	*apptest.World

	keys    *tenants.Keys
	tenants *tenants.Tenants
}

func setup(t *testing.T) *bundle {
	t.Helper()

	w := apptest.New(t)

	return &bundle{
		World: w, keys: tenants.NewKeys(w.Store, w.Store, binding.Test, w.Observer, w.Observer),
		tenants: tenants.NewTenants(w.Store, w.Observer, w.Observer),
	}
}

// person may do everything.
func person() tenants.By {
	return tenants.By{
		Tenant: operation.DefaultTenant, Actor: ports.Actor{Name: "cli:me@here"}, May: tenant.AllScopes(), Reason: "a test",
	}
}

func (b *bundle) make(t *testing.T, scopes ...string) tenants.Made {
	t.Helper()

	made, err := b.keys.Create(t.Context(), person(), tenants.Order{Name: "shop", Scopes: scopes})
	require.NoError(t, err)

	return made
}

// held is a store in the memory of a test, which may fail, and counts.
type held struct {
	mu      sync.Mutex
	version uuid.UUID
	keys    []tenant.Key
	err     error
	touched map[uuid.UUID]time.Time

	asked, read int
}

func (h *held) KeysVersion(ctx context.Context) (uuid.UUID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.asked++

	return h.version, errors.Join(h.err, ctx.Err())
}

func (h *held) UsableAPIKeys(context.Context) ([]tenant.Key, error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.read++

	return h.keys, h.err
}

func (h *held) TouchAPIKeys(_ context.Context, used map[uuid.UUID]time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()

	if h.err == nil {
		h.touched = used
	}

	return h.err
}

// put replaces the keys with those of the secrets.
func (h *held) put(secrets ...tenant.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.version, h.keys = uuid.New(), nil
	for _, s := range secrets {
		h.keys = append(h.keys, tenant.Key{ID: uuid.New(), Prefix: s.Prefix(), Sum: s.Sum(), Mode: s.Mode()})
	}
}

func (h *held) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.err = err
}

func (h *held) counts() (asked, read int) {
	h.mu.Lock()
	defer h.mu.Unlock()

	return h.asked, h.read
}

var _ ports.UsableKeys = (*held)(nil)
