package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
)

func TestKind_Action(t *testing.T) {
	t.Parallel()

	for kind, action := range map[operation.Kind]string{
		operation.Create: "payment.create", operation.Capture: "payment.capture", operation.CreateCustomer: "customer.create",
		operation.DetachMethod: "method.detach", operation.CreateSetup: "setup.create",
	} {
		require.Equal(t, action, kind.Action())
		require.Equal(t, kind, operation.KindOfAction(action))
	}
}
