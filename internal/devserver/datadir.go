package devserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

// ErrAlreadyRunning says that another process runs the server of the data
// directory.
var ErrAlreadyRunning = errors.New("its PostgreSQL is already running")

const (
	superuser = "marketflow" // owns everything in the server
	database  = "marketflow" // the default database

	// maintenanceDatabase is there from the beginning, to create others from.
	maintenanceDatabase = "postgres"

	urlScheme = "postgres"
)

// logTail is how many lines of a server's log an error shows.
const logTail = 12

// dataDir is a data directory that we hold the lock of.
type dataDir struct {
	path     string
	as       account
	lock     *flock.Flock
	password string
}

func (d *dataDir) pgdata() string       { return filepath.Join(d.path, "pgdata") }
func (d *dataDir) logFile() string      { return filepath.Join(d.path, "postgres.log") }
func (d *dataDir) portFile() string     { return filepath.Join(d.path, "port") }
func (d *dataDir) passwordFile() string { return filepath.Join(d.path, "password") }

// openDataDir makes the data directory when it is missing and takes its lock.
// It may choose another place than the one wanted, and says so.
func openDataDir(wanted string, notice func(string)) (*dataDir, error) {
	wanted, err := filepath.Abs(wanted)
	if err != nil {
		return nil, fmt.Errorf("finding the data directory: %w", err)
	}

	as, err := defaultAccount()
	if err != nil {
		return nil, err
	}

	dir, err := as.place(wanted)
	if err != nil {
		return nil, err
	}

	if dir != wanted && notice != nil {
		notice(fmt.Sprintf("PostgreSQL runs as the user %s, who cannot reach %s: its data are in %s", as.name, wanted, dir))
	}

	d := &dataDir{path: dir}
	if d.as, err = ownerOf(d.pgdata(), as); err != nil {
		return nil, err
	}

	if err := makeDataDir(dir); err != nil {
		return nil, err
	}

	if err := d.takeLock(); err != nil {
		return nil, err
	}

	return d, nil
}

// makeDataDir makes the directory, and for root enterable by the server's user.
// It must be ours: whoever owns a directory can redirect what is written there.
func makeDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // parents; the directory itself follows
		return fmt.Errorf("making the data directory: %w", err)
	}

	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking at the data directory: %w", err)
	}

	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the data directory %s belongs to another user", dir)
	}

	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}

	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("protecting the data directory: %w", err)
	}

	return nil
}

// takeLock also writes our process id into the lock, for the error of the next.
// The kernel gives the lock up when we die, however we die.
func (d *dataDir) takeLock() error {
	path := filepath.Join(d.path, "lock")
	d.lock = flock.New(path)

	free, err := d.lock.TryLock()
	if err != nil {
		return fmt.Errorf("locking the data directory: %w", err)
	}

	if !free {
		holder, _ := os.ReadFile(path) //nolint:gosec // only to say who; the lock is what counts

		return fmt.Errorf("data directory %s: %w (by process %s)", d.path, ErrAlreadyRunning, bytes.TrimSpace(holder))
	}

	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return errors.Join(fmt.Errorf("marking the lock: %w", err), d.lock.Unlock())
	}

	return nil
}

// major is the version that made the data, 0 when there are none yet.
func (d *dataDir) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(d.pgdata(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}

	if err != nil {
		return 0, fmt.Errorf("reading the version of the data: %w", err)
	}

	major, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return 0, fmt.Errorf("reading the version of the data: %w", err)
	}

	return major, nil
}

// prepare makes the data on first use, and begins a new log.
func (d *dataDir) prepare(ctx context.Context, bin Binaries) error {
	major, err := d.major()
	if err != nil {
		return err
	}

	unfinished, _ := filepath.Glob(d.pgdata() + ".new*") // the pattern is well-formed
	for _, path := range unfinished {
		_ = os.RemoveAll(path) // an initdb may still write there; the next start tries again
	}

	if major == 0 {
		if err := d.initialise(ctx, bin); err != nil {
			return err
		}
	}

	password, err := os.ReadFile(d.passwordFile())
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}

	d.password = string(password)

	if err := os.Rename(d.logFile(), d.logFile()+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("putting the last log aside: %w", err)
	}

	return nil
}

// initialise makes the data aside and renames them when they are whole. Its
// directory has a name of its own: the initdb of a killed owner may still run.
func (d *dataDir) initialise(ctx context.Context, bin Binaries) error {
	aside, err := os.MkdirTemp(d.path, "pgdata.new")
	if err != nil {
		return fmt.Errorf("making the data: %w", err)
	}

	if err := os.WriteFile(d.passwordFile(), []byte(rand.Text()), 0o600); err != nil {
		return fmt.Errorf("writing the password: %w", err)
	}

	if err := errors.Join(d.as.own(aside), d.as.own(d.passwordFile())); err != nil {
		return err
	}

	initdb := d.as.command(ctx, filepath.Join(bin.Dir, "initdb"),
		"--pgdata="+aside,
		"--username="+superuser,
		"--pwfile="+d.passwordFile(),
		"--auth=scram-sha-256",
		"--encoding=UTF8",
		"--locale="+locale(),
		"--no-sync", // an empty database is made again sooner than synced
		"--no-instructions",
	)
	initdb.Dir = d.path
	initdb.Env = serverEnvironment()

	if out, err := initdb.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("running initdb: %w\n%s", err, lastLines(out)), ctx.Err(), os.RemoveAll(aside))
	}

	if err := os.Rename(aside, d.pgdata()); err != nil {
		return fmt.Errorf("moving the data into place: %w", err)
	}

	return nil
}

// locale is the one with UTF-8 and the same order everywhere. macOS has no
// C.UTF-8 in every release; there C, with the encoding UTF8.
func locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}

	return "C"
}

// serverEnvironment is ours without libpq's variables. TZ spares initdb a search
// through all time zones, and Homebrew's server needs LC_ALL to start.
func serverEnvironment() []string {
	environment := []string{"TZ=UTC", "LC_ALL=C"}

	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") && name != "TZ" && name != "LC_ALL" {
			environment = append(environment, variable)
		}
	}

	return environment
}

func (d *dataDir) openLog() (*os.File, error) {
	file, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the server's log: %w", err)
	}

	return file, nil
}

// readLog is the server's log from the offset on.
func (d *dataDir) readLog(offset int64) ([]byte, error) {
	text, err := os.ReadFile(d.logFile())
	if err != nil {
		return nil, fmt.Errorf("reading the server's log: %w", err)
	}

	return text[min(offset, int64(len(text))):], nil
}

func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")

	return strings.Join(lines[max(0, len(lines)-logTail):], "\n")
}

// rememberedPort is the port of the last start, 0 when there was none.
func (d *dataDir) rememberedPort() int {
	text, err := os.ReadFile(d.portFile())
	if err != nil {
		return 0
	}

	port, _ := strconv.Atoi(string(bytes.TrimSpace(text))) // 0 otherwise

	return port
}

func (d *dataDir) rememberPort(port int) error {
	if err := os.WriteFile(d.portFile(), []byte(strconv.Itoa(port)), 0o600); err != nil {
		return fmt.Errorf("writing the port down: %w", err)
	}

	return nil
}
