package devserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
	"github.com/gofrs/flock"
)

const (
	// defaultMajor is the version that a machine without any gets.
	defaultMajor = 16

	// rootCacheDir is where root keeps downloads: another user must run them,
	// who cannot enter root's home.
	rootCacheDir = "/var/cache/marketflow"
)

// downloader keeps downloaded server programs in dir, one folder a version.
type downloader struct {
	dir        string
	repository string // a Maven repository; "": Maven Central
	notice     func(string)
}

func newDownloader(as account, notice func(string)) downloader {
	d := downloader{dir: rootCacheDir, notice: notice}

	if as.credential == nil {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}

		d.dir = filepath.Join(cache, "marketflow")
	}

	return d
}

// fetch returns the folder of the server programs of a major version (0: the
// default), which it downloads once.
func (d downloader) fetch(ctx context.Context, major int) (string, error) {
	version, err := downloadable(major)
	if err != nil {
		return "", err
	}

	home := filepath.Join(d.dir, "postgresql-"+string(version))
	if bin := filepath.Join(home, "bin"); complete(bin) {
		return bin, nil
	}

	done := make(chan error, 1) // the library takes no context

	go func() { done <- d.download(version, home) }()

	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}

	if err != nil {
		return "", fmt.Errorf("downloading PostgreSQL %s: %w", version, err)
	}

	return filepath.Join(home, "bin"), nil
}

func downloadable(major int) (embeddedpostgres.PostgresVersion, error) {
	if major == 0 {
		major = defaultMajor
	}

	version, ok := map[int]embeddedpostgres.PostgresVersion{
		14: embeddedpostgres.V14,
		15: embeddedpostgres.V15,
		16: embeddedpostgres.V16,
		17: embeddedpostgres.V17,
		18: embeddedpostgres.V18,
	}[major]
	if !ok {
		return "", fmt.Errorf("PostgreSQL %d cannot be downloaded", major)
	}

	return version, nil
}

// download fills home, whole or not at all, and once for all processes.
func (d downloader) download(version embeddedpostgres.PostgresVersion, home string) (err error) {
	if err := os.MkdirAll(d.dir, 0o755); err != nil { //nolint:gosec // the server's user must enter it
		return fmt.Errorf("making the download folder: %w", err)
	}

	lock := flock.New(filepath.Join(d.dir, "lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("locking the download folder: %w", err)
	}

	defer func() { err = errors.Join(err, lock.Unlock()) }()

	if complete(filepath.Join(home, "bin")) {
		return nil
	}

	if d.notice != nil {
		d.notice(fmt.Sprintf("no PostgreSQL on this machine: downloading %s to %s", version, d.dir))
	}

	unpacked := home + ".new"
	if err := d.unpack(version, unpacked); err != nil {
		return err
	}

	if err := os.Rename(unpacked, home); err != nil {
		return fmt.Errorf("moving the download into place: %w", err)
	}

	return nil
}

// unpack downloads and unpacks the version into the folder. The library has no
// call that does only this: Start goes on to make a data directory and run the
// server. It is given a data directory below a plain file, so that it stops
// there, before it has run anything, and succeeds or not by what it unpacked.
func (d downloader) unpack(version embeddedpostgres.PostgresVersion, into string) error {
	if err := os.RemoveAll(into); err != nil {
		return fmt.Errorf("removing an unfinished download: %w", err)
	}

	config := embeddedpostgres.DefaultConfig().
		Version(version).
		Port(0).
		CachePath(d.dir).
		BinariesPath(into).
		RuntimePath(filepath.Join(d.dir, "runtime")).
		DataPath(filepath.Join(d.dir, "lock", "nowhere")).
		Logger(io.Discard)

	if d.repository != "" {
		config = config.BinaryRepositoryURL(d.repository)
	}

	err := embeddedpostgres.NewDatabase(config).Start()

	if complete(filepath.Join(into, "bin")) {
		return nil
	}

	return errors.Join(err, os.RemoveAll(into))
}
