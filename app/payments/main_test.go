package payments_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// away is a provider that is out of reach.
type away struct{ ports.Provider }

func (away) Ready() error { return ports.ErrUnavailable }
