package devserver

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

var errOffline = errors.New("offline")

func offline(context.Context, int) (string, error) { return "", errOffline }

// install puts programs that print a version into a folder.
func install(t *testing.T, dir, version string, programs ...string) string {
	t.Helper()

	require.NoError(t, os.MkdirAll(dir, 0o755))

	for _, program := range programs {
		script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version)
		require.NoError(t, os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755))
	}

	return dir
}

func installServer(t *testing.T, dir, version string) string {
	t.Helper()

	return install(t, dir, version, "initdb", "postgres", "pg_ctl")
}

func TestSearch_Order(t *testing.T) {
	t.Parallel()

	root := t.TempDir()
	clientsOnly := install(t, filepath.Join(root, "clients"), "17.0", "pg_ctl")
	inPath := installServer(t, filepath.Join(root, "path"), "13.1")
	ofPgConfig := installServer(t, filepath.Join(root, "configured"), "14.2 (Debian 14.2-1)")
	newest := installServer(t, filepath.Join(root, "versions", "16", "bin"), "16.9")
	installServer(t, filepath.Join(root, "versions", "9.6", "bin"), "9.6.24")

	pgConfig := filepath.Join(root, "pg_config")
	require.NoError(t, os.WriteFile(pgConfig, []byte("#!/bin/sh\necho "+ofPgConfig), 0o755))

	everything := search{
		path:     []string{"", clientsOnly, inPath},
		pgConfig: pgConfig,
		globs:    []string{filepath.Join(root, "versions", "*", "bin")},
		download: offline,
	}

	withoutPath := everything
	withoutPath.path = []string{clientsOnly}

	globsOnly := withoutPath
	globsOnly.pgConfig = filepath.Join(root, "missing")

	for name, test := range map[string]struct {
		search search
		major  int
		want   Binaries
	}{
		"PathFirst":      {everything, 0, Binaries{Dir: inPath, Major: 13}},
		"ThenPgConfig":   {withoutPath, 0, Binaries{Dir: ofPgConfig, Major: 14}},
		"ThenNewest":     {globsOnly, 0, Binaries{Dir: newest, Major: 16}},
		"OfWantedMajor":  {everything, 16, Binaries{Dir: newest, Major: 16}},
		"OldNumbersToo":  {everything, 9, Binaries{Dir: filepath.Join(root, "versions", "9.6", "bin"), Major: 9}},
		"WantedInConfig": {everything, 14, Binaries{Dir: ofPgConfig, Major: 14}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, err := test.search.find(t.Context(), test.major)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestSearch_NothingFound(t *testing.T) {
	t.Parallel()

	_, err := search{pgConfig: "no-such-program", download: offline}.find(t.Context(), 0)
	require.ErrorIs(t, err, ErrNoPostgres)
	require.ErrorIs(t, err, errOffline)
	require.ErrorContains(t, err, "apt-get install postgresql")
	require.ErrorContains(t, err, "brew install postgresql@16")
	require.NotContains(t, err.Error(), "\n", "one line")
}

func TestSearch_DownloadsLast(t *testing.T) {
	t.Parallel()

	dir := installServer(t, t.TempDir(), "17.5")
	found := search{
		pgConfig: "no-such-program",
		download: func(_ context.Context, major int) (string, error) {
			require.Equal(t, 17, major)

			return dir, nil
		},
	}

	got, err := found.find(t.Context(), 17)
	require.NoError(t, err)
	require.Equal(t, Binaries{Dir: dir, Major: 17}, got)
}

func TestMajorOf(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 19devel\n":                        19,
		"postgres (PostgreSQL) 9.6.24":                           9,
	} {
		got, err := majorOf(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}

	_, err := majorOf("mysqld 8.0")
	require.Error(t, err)
}

// repository serves the stand-in of testdata as Maven Central serves the
// packages of zonkyio/embedded-postgres-binaries, and counts the downloads.
func repository(t *testing.T) (url string, downloads *atomic.Int32) {
	t.Helper()

	archive, err := os.ReadFile(filepath.Join("testdata", "postgres.txz"))
	require.NoError(t, err)

	var jar bytes.Buffer

	zipped := zip.NewWriter(&jar)
	file, err := zipped.Create("postgres-linux-x86_64.txz")
	require.NoError(t, err)
	_, err = file.Write(archive)
	require.NoError(t, err)
	require.NoError(t, zipped.Close())

	sum := sha256.Sum256(jar.Bytes())
	downloads = new(atomic.Int32)

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := jar.Bytes()
		if strings.HasSuffix(r.URL.Path, ".sha256") {
			body = []byte(hex.EncodeToString(sum[:]))
		} else {
			downloads.Add(1)
		}

		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)

	return server.URL, downloads
}

func TestDownloader_Fetch(t *testing.T) {
	t.Parallel()

	var notices []string

	url, downloads := repository(t)
	d := downloader{
		dir:        filepath.Join(t.TempDir(), "cache"),
		repository: url,
		notice:     func(line string) { notices = append(notices, line) },
	}

	dir, err := d.fetch(t.Context(), 0)
	require.NoError(t, err)

	got, err := inspect(t.Context(), dir, account{})
	require.NoError(t, err)
	require.Equal(t, 16, got.Major)
	require.Len(t, notices, 1)

	again, err := d.fetch(t.Context(), defaultMajor)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.EqualValues(t, 1, downloads.Load(), "the second time it is there")
}

func TestDownloader_Fails(t *testing.T) {
	t.Parallel()

	gone := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(gone.Close)

	d := downloader{dir: t.TempDir(), repository: gone.URL}

	_, err := d.fetch(t.Context(), 16)
	require.ErrorContains(t, err, "downloading PostgreSQL 16")

	_, err = d.fetch(t.Context(), 9)
	require.ErrorContains(t, err, "PostgreSQL 9 cannot be downloaded")
}

func TestDownloader_ContextEnds(t *testing.T) {
	t.Parallel()

	asked := make(chan struct{})
	nowAsked := sync.OnceFunc(func() { close(asked) })
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		nowAsked()
		<-release
	}))

	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(release) })

	ctx, cancel := context.WithCancel(t.Context())

	go func() {
		<-asked
		cancel()
	}()

	_, err := downloader{dir: t.TempDir(), repository: slow.URL}.fetch(ctx, 16)
	require.ErrorIs(t, err, context.Canceled)
}
