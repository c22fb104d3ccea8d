package operation_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
)

// These ids are at Stripe, in keys and in marks: another way to make them would charge
// customers twice after a restore.
func TestInstallation_OperationID(t *testing.T) {
	t.Parallel()

	one := operation.Installation{ID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000aa")}
	other := operation.Installation{ID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000ab")}

	for _, c := range []struct {
		installation operation.Installation
		tenant       operation.Tenant
		key          operation.Key
		want         string
	}{
		{one, 1, "order_1", "9ff609cf-4699-803e-aad2-29f800108b1f"},
		{one, 1, "order_2", "80e1083f-b4ee-8085-a29e-7d7cc404d34a"},
		{one, 2, "order_1", "7e260fb6-0a63-8790-a691-8b81de621fd4"},
		{other, 1, "order_1", "a2ac717a-0182-8e0d-af14-2789c48aee23"},
		{one, 1, "ж", "d8f2d72c-31e2-8ce4-a6bc-2ec59d25ead9"},
	} {
		id := c.installation.OperationID(c.tenant, c.key)
		require.Equal(t, c.want, id.String())
		require.Equal(t, uuid.Version(8), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
	}
}
