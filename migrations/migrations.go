// Package migrations holds the database's schema as goose migrations, so that
// the binary carries them.
package migrations

import "embed"

// FS has every migration at its root.
//
//go:embed *.sql
var FS embed.FS
