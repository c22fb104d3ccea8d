package pgtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/migrations"
)

// productMigrations are the product's own: those of postgres.Migrate. The hash
// covers ours and River's, which come with its module.
func productMigrations() (Migrations, error) {
	sum := sha256.New()

	// The length too: what one file loses another may not gain.
	add := func(name string, content []byte) { fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content) }

	err := fs.WalkDir(migrations.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		content, err := fs.ReadFile(migrations.FS, path)
		add(path, content)

		return err
	})
	if err != nil {
		return Migrations{}, fmt.Errorf("hashing the migrations: %w", err)
	}

	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return Migrations{}, fmt.Errorf("reading River's migrations: %w", err)
	}

	for _, version := range migrator.AllVersions() {
		add(version.Name, []byte(version.SQLUp))
	}

	return Migrations{Hash: hex.EncodeToString(sum.Sum(nil)), Up: postgres.Migrate}, nil
}
