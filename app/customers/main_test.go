package customers_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// away is a provider that is out of reach.
type away struct{ ports.Provider }

func (away) Ready() error { return ports.ErrUnavailable }

// betrayed is a provider at which something else happens just before a call.
type betrayed struct {
	ports.Provider

	before func()
}

func (b betrayed) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	b.before()

	return b.Provider.Send(ctx, call, resend)
}
