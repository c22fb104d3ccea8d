package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/money"
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

	disputes, err := s.openDisputes(ctx)
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
		Disputes:         disputes,
	}, nil
}

func (s *Store) openDisputes(ctx context.Context) (ports.OpenDisputes, error) {
	rows, err := query(ctx, s.background, "counting open disputes",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.CountOpenDisputesRow, error) {
			return q.CountOpenDisputes(ctx)
		})
	if err != nil {
		return ports.OpenDisputes{}, err
	}

	open := ports.OpenDisputes{Unanswered: map[ports.TimeLeft]int64{
		ports.Overdue: 0, ports.WithinOne: 0, ports.WithinThree: 0, ports.WithinSeven: 0, ports.Later: 0,
	}}

	for _, row := range rows {
		currency, err := money.ParseCurrency(row.Currency)
		if err != nil {
			return open, fmt.Errorf("stored currency: %w", err)
		}

		sum, err := moneyFromDB(row.AtStake, currency)
		if err != nil {
			return open, err
		}

		open.AtStake = append(open.AtStake, sum)

		for left, count := range map[ports.TimeLeft]int64{
			ports.Overdue: row.Overdue, ports.WithinOne: row.WithinOne, ports.WithinThree: row.WithinThree,
			ports.WithinSeven: row.WithinSeven, ports.Later: row.Later,
		} {
			open.Unanswered[left] += count
		}
	}

	return open, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
