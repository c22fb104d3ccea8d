package portstest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
)

func findNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Find(t.Context(), operation.DefaultTenant, "order_1")
	requireNotFound(t, err)

	_, err = b.FindByID(t.Context(), uuid.New())
	requireNotFound(t, err)
}
