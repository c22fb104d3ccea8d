package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
)

// What our own code makes of a slice is what pgx would have sent.
func TestArrays_LikePgx(t *testing.T) {
	t.Parallel()

	long := strings.Repeat("ж\x00", 100_000)

	for name, value := range map[string]any{
		"no texts":       []string(nil),
		"empty texts":    []string{},
		"texts":          []string{"", "a", "NULL", `{"a",\b}`, "ж", "\x00", "\xff", long},
		"no ids":         []uuid.UUID(nil),
		"empty ids":      []uuid.UUID{},
		"ids":            []uuid.UUID{uuid.Nil, uuid.New(), uuid.Max},
		"no bodies":      [][]byte(nil),
		"empty bodies":   [][]byte{},
		"bodies":         [][]byte{{}, nil, []byte("{}"), {0, 255}, []byte(long)},
		"only NULL":      [][]byte{nil},
		"optional texts": []*string{nil, new(string)},
		"names":          []pgtype.Text{{String: "a", Valid: true}, {}},
	} {
		for _, array := range []string{"_text", "_uuid", "_bytea", "_varchar"} {
			for _, format := range []int16{pgtype.BinaryFormatCode, pgtype.TextFormatCode} {
				for _, before := range []string{"", "what was written before"} {
					// New ones each time: what pgx refuses depends on what it has sent before.
					theirs, ours := pgtype.NewMap(), pgtype.NewMap()
					pgxuuid.Register(theirs)
					postgres.RegisterTypes(ours)

					known, ok := theirs.TypeForName(array)
					require.True(t, ok)

					want, wantErr := theirs.Encode(known.OID, format, value, []byte(before))
					got, err := ours.Encode(known.OID, format, value, []byte(before))
					require.Equal(t, wantErr == nil, err == nil, "%s as %s in format %d: %v", name, array, format, err)
					require.Equal(t, want, got, "%s as %s in format %d", name, array, format)
				}
			}
		}
	}
}
