package devserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/marketflow/marketflow/internal/devserver/filelock"
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

// cluster is a data directory that we hold the lock of.
type cluster struct {
	dir      string
	as       account
	lock     *filelock.Lock
	password string
}

func (c *cluster) pgdata() string  { return filepath.Join(c.dir, "pgdata") }
func (c *cluster) logFile() string { return filepath.Join(c.dir, "postgres.log") }

// openCluster makes the data directory when it is missing and takes its lock.
// It may choose another place than the one wanted, and says so.
func openCluster(wanted string, notice func(string)) (*cluster, error) {
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

	c := &cluster{dir: dir, as: as}
	if c.as, err = ownerOf(c.pgdata(), as); err != nil {
		return nil, err
	}

	if err := makeDataDir(dir); err != nil {
		return nil, err
	}

	if err := c.takeLock(); err != nil {
		return nil, err
	}

	return c, nil
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
func (c *cluster) takeLock() error {
	path := filepath.Join(c.dir, "lock")

	lock, err := filelock.TryExclusive(path)
	if errors.Is(err, filelock.ErrHeld) {
		holder, _ := os.ReadFile(path) //nolint:gosec // only to say who; the lock is what counts

		return fmt.Errorf("data directory %s: %w (by process %s)", c.dir, ErrAlreadyRunning, bytes.TrimSpace(holder))
	}

	if err != nil {
		return err
	}

	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return errors.Join(fmt.Errorf("marking the lock: %w", err), lock.Release())
	}

	c.lock = lock

	return nil
}

// major is the version that made the data, 0 when there are none yet.
func (c *cluster) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.pgdata(), "PG_VERSION"))
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

// prepare makes the data on first use and knows the password afterwards.
func (c *cluster) prepare(ctx context.Context, bin Binaries) error {
	major, err := c.major()
	if err != nil {
		return err
	}

	if major == 0 {
		if err := c.initialise(ctx, bin); err != nil {
			return err
		}
	}

	password, err := os.ReadFile(c.passwordFile())
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}

	c.password = string(password)

	return nil
}

func (c *cluster) passwordFile() string { return filepath.Join(c.dir, "password") }

// initialise makes the data aside and renames them when they are whole.
func (c *cluster) initialise(ctx context.Context, bin Binaries) error {
	aside := c.pgdata() + ".new"
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("removing unfinished data: %w", err)
	}

	if err := os.Mkdir(aside, 0o700); err != nil {
		return fmt.Errorf("making the data: %w", err)
	}

	if err := os.WriteFile(c.passwordFile(), []byte(rand.Text()), 0o600); err != nil {
		return fmt.Errorf("writing the password: %w", err)
	}

	if err := errors.Join(c.as.own(aside), c.as.own(c.passwordFile())); err != nil {
		return err
	}

	if err := c.initdb(ctx, bin, aside); err != nil {
		return err
	}

	if err := os.Rename(aside, c.pgdata()); err != nil {
		return fmt.Errorf("moving the data into place: %w", err)
	}

	return nil
}

func (c *cluster) initdb(ctx context.Context, bin Binaries, pgdata string) error {
	//nolint:gosec // to run what is found on the machine is the purpose
	command := exec.CommandContext(ctx, filepath.Join(bin.Dir, "initdb"),
		"--pgdata="+pgdata,
		"--username="+superuser,
		"--pwfile="+c.passwordFile(),
		"--auth=scram-sha-256",
		"--encoding=UTF8",
		"--locale="+locale(),
		"--no-sync", // an empty database is made again sooner than synced
		"--no-instructions",
	)
	command.Dir = c.dir
	command.Env = serverEnvironment()
	command.SysProcAttr = processAttributes(c.as, syscall.SIGKILL)

	runtime.LockOSThread() // for the parent-death signal, as in process.run

	defer runtime.UnlockOSThread()

	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("running initdb: %w\n%s", err, lastLines(out))
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

// rotateLog keeps the log of the run before.
func (c *cluster) rotateLog() error {
	err := os.Rename(c.logFile(), c.logFile()+".1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("putting the last log aside: %w", err)
	}

	return nil
}

func (c *cluster) openLog() (*os.File, error) {
	file, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the server's log: %w", err)
	}

	return file, nil
}

// readLog is the server's log from the offset on.
func (c *cluster) readLog(offset int64) ([]byte, error) {
	text, err := os.ReadFile(c.logFile())
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
func (c *cluster) rememberedPort() int {
	text, err := os.ReadFile(c.portFile())
	if err != nil {
		return 0
	}

	port, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return 0
	}

	return port
}

func (c *cluster) rememberPort(port int) error {
	if err := os.WriteFile(c.portFile(), []byte(strconv.Itoa(port)), 0o600); err != nil {
		return fmt.Errorf("writing the port down: %w", err)
	}

	return nil
}

func (c *cluster) portFile() string { return filepath.Join(c.dir, "port") }
