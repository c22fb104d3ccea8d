package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// indexFirst writes the entries of payments that are written by the same trip, under the
// names that are indexed.
func (s *Store) indexFirst(completions []ports.Completion) []statement {
	var ids []uuid.UUID

	for _, c := range completions {
		if len(s.entriesOf(c.Payment)) > 0 {
			ids = append(ids, c.Payment.ID)
		}
	}

	if ids == nil {
		return nil
	}

	return []statement{execute(sqlc.InsertMetadata, s.indexed, ids)}
}

// indexAnew writes a payment's entries anew, for whoever changes its metadata: they go after
// the statement that does so, in its transaction. before is the payment as it was when it
// was locked.
func (s *Store) indexAnew(before payment.Payment) []statement {
	if len(s.indexed) == 0 {
		return nil
	}

	var (
		names  = s.entriesOf(before)
		values = mapped(names, func(name string) string { return before.Metadata[name] })
		writes []statement
	)

	if len(names) > 0 {
		writes = append(writes, execute(sqlc.DeleteMetadata, names, values, before.ID))
	}

	return append(writes, execute(sqlc.InsertMetadata, s.indexed, []uuid.UUID{before.ID}))
}

// entriesOf are the names in a payment's metadata that are indexed.
func (s *Store) entriesOf(p payment.Payment) []string {
	var names []string

	for _, name := range s.indexed {
		if _, has := p.Metadata[name]; has {
			names = append(names, name)
		}
	}

	return names
}

// ReportMetadataNames implements ports.MetadataIndex.
func (s *Store) ReportMetadataNames(ctx context.Context) error {
	names := append([]string{}, s.indexed...) // nil would be NULL

	return s.background.inTransaction(ctx, "reporting the names of indexed metadata",
		func(ctx context.Context, q *sqlc.Queries) error {
			if err := q.MissMetadataNames(ctx, names); err != nil {
				return err
			}

			return q.AddMetadataNames(ctx, names)
		})
}

// IndexMetadata implements ports.MetadataIndex. The name's row is locked, and nothing that a
// request waits for.
func (s *Store) IndexMetadata(ctx context.Context, settles time.Duration, limit int) (ports.MetadataProgress, error) {
	var done ports.MetadataProgress

	if len(s.indexed) == 0 {
		return done, nil
	}

	err := s.background.inTransaction(ctx, "indexing metadata", func(ctx context.Context, q *sqlc.Queries) error {
		done = ports.MetadataProgress{}

		held, err := q.HoldMetadataName(ctx, sqlc.HoldMetadataNameParams{Names: s.indexed, Settles: interval(settles)})
		if err != nil || len(held) == 0 {
			return err
		}

		from := held[0]
		done.Name = from.Name
		done.Through = ports.PaymentPosition{CreatedAt: from.ThroughCreatedAt.UTC(), ID: from.ThroughID}

		last, err := q.IndexMetadata(ctx, sqlc.IndexMetadataParams{
			Name: from.Name, AfterCreatedAt: from.ThroughCreatedAt, AfterID: from.ThroughID,
			MaxRows: int32(limit), //nolint:gosec // a small constant
		})
		if err != nil {
			return err
		}

		done.Complete = true

		for _, row := range last {
			done.Through = ports.PaymentPosition{CreatedAt: row.CreatedAt.UTC(), ID: row.ID}
			done.Complete = row.LookedAt < int64(limit)
		}

		return q.MoveMetadataName(ctx, sqlc.MoveMetadataNameParams{
			ThroughCreatedAt: done.Through.CreatedAt, ThroughID: done.Through.ID, Complete: done.Complete, Name: from.Name,
		})
	})

	return done, err
}

// MetadataNames implements ports.MetadataIndex.
func (s *Store) MetadataNames(ctx context.Context) ([]ports.MetadataName, error) {
	rows, err := query(ctx, s.background, "reading the names of indexed metadata",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.MetadataIndex, error) {
			return q.GetMetadataNames(ctx)
		})
	if err != nil {
		return nil, err
	}

	return mapped(rows, func(row sqlc.MetadataIndex) ports.MetadataName {
		return ports.MetadataName{
			Name: row.Name, AddedAt: row.AddedAt.UTC(), MissedAt: utc(row.MissedAt),
			Through:  ports.PaymentPosition{CreatedAt: row.ThroughCreatedAt.UTC(), ID: row.ThroughID},
			Complete: row.Complete,
		}
	}), nil
}

// ForgetMetadataName implements ports.MetadataIndex.
func (s *Store) ForgetMetadataName(ctx context.Context, name string, limit int) (more bool, err error) {
	names, err := s.MetadataNames(ctx)
	if err != nil {
		return false, err
	}

	inUse := func(n ports.MetadataName) bool { return n.Name == name && n.MissedAt.Before(n.AddedAt) }
	if slices.Contains(s.indexed, name) || slices.ContainsFunc(names, inUse) {
		return false, fault.Newf(fault.Invalid, "%s is in METADATA_INDEX, here or in other processes.", name)
	}

	err = s.background.inTransaction(ctx, "forgetting indexed metadata", func(ctx context.Context, q *sqlc.Queries) error {
		deleted, err := q.ForgetMetadata(ctx, sqlc.ForgetMetadataParams{
			Name: name, MaxRows: int32(limit), //nolint:gosec // a small constant
		})
		if more = deleted == int64(limit); more || err != nil {
			return err
		}

		return q.ForgetMetadataName(ctx, name)
	})

	return more, err
}

// indexedName is a name by which payments with this metadata are found; empty if there is
// none.
func (s *Store) indexedName(ctx context.Context, metadata map[string]string) (string, error) {
	wanted := s.entriesOf(payment.Payment{Metadata: metadata})
	if len(wanted) == 0 {
		return "", nil
	}

	names, err := s.MetadataNames(ctx)
	if err != nil {
		return "", err
	}

	for _, n := range names {
		if n.Searched() && slices.Contains(wanted, n.Name) {
			return n.Name, nil
		}
	}

	return "", nil
}
