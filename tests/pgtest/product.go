package pgtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"

	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/migrations"
)

// productMigrations are the product's own: those of postgres.Migrate.
func productMigrations() (Migrations, error) {
	sum := sha256.New()

	if err := hashFiles(sum, migrations.FS); err != nil {
		return Migrations{}, err
	}

	if err := hashRiver(sum); err != nil {
		return Migrations{}, err
	}

	return Migrations{Hash: hex.EncodeToString(sum.Sum(nil)), Up: postgres.Migrate}, nil
}

func hashFiles(sum hash.Hash, files fs.FS) error {
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		content, err := fs.ReadFile(files, path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}

		return add(sum, path, content)
	})
	if err != nil {
		return fmt.Errorf("hashing the migrations: %w", err)
	}

	return nil
}

// hashRiver hashes River's migrations, which come with its module.
func hashRiver(sum hash.Hash) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return fmt.Errorf("reading River's migrations: %w", err)
	}

	for _, version := range migrator.AllVersions() {
		if err := add(sum, version.Name, []byte(version.SQLUp)); err != nil {
			return err
		}
	}

	return nil
}

// add adds the length too: what one file loses another may not gain.
func add(sum hash.Hash, name string, content []byte) error {
	if _, err := fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content); err != nil {
		return fmt.Errorf("hashing %s: %w", name, err)
	}

	return nil
}
