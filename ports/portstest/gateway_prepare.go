package portstest

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func prepareIsDeterministic(t *testing.T, b GatewayBed) {
	t.Helper()

	require.NoError(t, b.Gateway.Ready())

	id, order := uuid.New(), gatewayOrder(t, 123_45)
	for i := range 10 {
		order.Metadata[fmt.Sprintf("key_%d", i)] = "value & more = %20"
	}

	first := b.Gateway.Prepare(id, order)
	require.NotEmpty(t, first.IdempotencyKey)
	require.NotEmpty(t, first.Params)

	for range 10 {
		require.Equal(t, first, b.Gateway.Prepare(id, order))
	}

	require.NotEqual(t, first.IdempotencyKey, b.Gateway.Prepare(uuid.New(), order).IdempotencyKey)
}
