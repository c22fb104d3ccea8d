package operations

import (
	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
)

// NewID is the id of a new operation. The same key of a tenant always gives the same one.
func NewID(installation operation.Installation, tenant operation.Tenant, key operation.Key) (uuid.UUID, error) {
	if key != "" {
		return installation.OperationID(tenant, key), nil
	}

	id, err := uuid.NewV7()
	if err != nil {
		return id, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	return id, nil
}
