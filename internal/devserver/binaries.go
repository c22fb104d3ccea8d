package devserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoPostgres says that there is no PostgreSQL server on the machine and none
// could be downloaded. Its text says what to install.
var ErrNoPostgres = errors.New("no PostgreSQL server found: apt-get install postgresql, or brew install postgresql@16")

// serverProgram is the server among the programs of an installation.
const serverProgram = "postgres"

// Binaries are the server programs of one PostgreSQL installation.
type Binaries struct {
	Dir   string // holds initdb, postgres and pg_ctl
	Major int    // 15 for PostgreSQL 15.18
}

// FindBinaries finds the server programs that StartPostgres uses for a new data
// directory: the first complete set in PATH, in `pg_config --bindir`, in
// /usr/lib/postgresql (newest first), in Homebrew's folders, and in a download.
// The error is ErrNoPostgres when there are none.
func FindBinaries(ctx context.Context) (Binaries, error) {
	as, err := defaultAccount()
	if err != nil {
		return Binaries{}, err
	}

	return machine(as, nil).find(ctx, 0)
}

// search finds server programs on a machine.
type search struct {
	as       account  // who must be able to run them
	path     []string // the folders of PATH
	pgConfig string   // the program that knows --bindir
	globs    []string // folders by pattern, newest version first
	download func(ctx context.Context, major int) (string, error)
}

func machine(as account, notice func(string)) search {
	return search{
		as:       as,
		path:     filepath.SplitList(os.Getenv("PATH")),
		pgConfig: "pg_config",
		globs: []string{
			"/usr/lib/postgresql/*/bin",
			"/opt/homebrew/opt/postgresql@*/bin",
			"/usr/local/opt/postgresql@*/bin",
		},
		download: newDownloader(as, notice).fetch,
	}
}

// find returns the first installation that the account can run. A major other
// than 0 passes over the others: a data directory is of one major version only.
func (s search) find(ctx context.Context, major int) (Binaries, error) {
	for _, dir := range s.candidates(ctx) {
		found, err := inspect(ctx, dir, s.as)
		if err == nil && (major == 0 || found.Major == major) {
			return found, nil
		}
	}

	dir, err := s.download(ctx, major)
	if err != nil {
		return Binaries{}, fmt.Errorf("%w (%w)", ErrNoPostgres, err)
	}

	return inspect(ctx, dir, s.as)
}

func (s search) candidates(ctx context.Context) []string {
	dirs := slices.Clone(s.path)

	//nolint:gosec // the program's name is ours
	if out, err := exec.CommandContext(ctx, s.pgConfig, "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}

	for _, glob := range s.globs {
		dirs = append(dirs, newestFirst(glob)...)
	}

	return dirs
}

// newestFirst are the folders that match the pattern, by the version number in
// place of its star: 16 comes before 9.6.
func newestFirst(pattern string) []string {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}

	prefix, suffix, _ := strings.Cut(pattern, "*")
	version := func(dir string) float64 {
		number, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(dir, prefix), suffix), 64)
		if err != nil {
			return 0
		}

		return number
	}

	slices.SortFunc(dirs, func(a, b string) int { return cmp.Compare(version(b), version(a)) })

	return dirs
}

// inspect returns the installation in dir. It runs `postgres --version` as the
// account, and so also shows that the account can reach and load it.
func inspect(ctx context.Context, dir string, as account) (Binaries, error) {
	if !complete(dir) {
		return Binaries{}, fmt.Errorf("%s does not hold initdb, postgres and pg_ctl", dir)
	}

	command := as.command(ctx, filepath.Join(dir, serverProgram), "--version")

	out, err := command.Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("asking %s for its version: %w", command.Path, err)
	}

	major, err := majorOf(string(out))
	if err != nil {
		return Binaries{}, err
	}

	return Binaries{Dir: dir, Major: major}, nil
}

// complete tells whether dir holds a server: many machines have the client
// programs alone.
func complete(dir string) bool {
	if dir == "" {
		return false // an empty element of PATH
	}

	for _, name := range []string{"initdb", serverProgram, "pg_ctl"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}

	return true
}

// majorOf reads "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" and
// "postgres (PostgreSQL) 19devel".
func majorOf(version string) (int, error) {
	match := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindStringSubmatch(version)
	if match == nil {
		return 0, fmt.Errorf("no PostgreSQL version in %q", strings.TrimSpace(version))
	}

	major, err := strconv.Atoi(match[1])
	if err != nil {
		return 0, fmt.Errorf("reading a PostgreSQL version: %w", err)
	}

	return major, nil
}
