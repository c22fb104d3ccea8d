package portstest

import (
	"testing"

	"github.com/google/uuid"
)

func findNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Find(t.Context(), "order_1")
	requireNotFound(t, err)

	_, err = b.FindByID(t.Context(), uuid.New())
	requireNotFound(t, err)
}
