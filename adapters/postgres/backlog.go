package postgres

import (
	"context"
	"time"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Backlog implements ports.Backlog.
func (s *Store) Backlog(ctx context.Context) (ports.BacklogStats, error) {
	row, err := query(ctx, s.background, "counting the backlog",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.GetBacklogRow, error) {
			return q.GetBacklog(ctx, sqlc.GetBacklogParams{Most: ports.BacklogMost, Soon: interval(ports.LapseNotice)})
		})
	if err != nil {
		return ports.BacklogStats{}, err
	}

	return ports.BacklogStats{
		Operations: map[operation.State]int64{
			operation.Pending:        row.Pending,
			operation.NeedsAttention: row.NeedsAttention,
		},
		OldestUnfinished: seconds(row.OldestSeconds),
		Lapsing:          row.Lapsing,
		Overdrawn:        row.Overdrawn,
		OldestRefund:     seconds(row.OldestRefundSeconds),
		Parked:           row.Parked,
		OldestParked:     seconds(row.OldestParkedSeconds),
	}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
