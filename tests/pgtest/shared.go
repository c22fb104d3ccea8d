package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

const (
	// urlVariable names a server to use instead of the shared one.
	urlVariable = "MARKETFLOW_TEST_DATABASE_URL"

	// startLimit leaves time to download a PostgreSQL.
	startLimit = 5 * time.Minute

	// staleAfter is the age at which nobody will look at a database any more.
	staleAfter = 24 * time.Hour
)

// server is the one that this process uses.
type server struct {
	url  string // of a superuser, to a database for administration
	home home   // "": a server that was given to us

	// users is held until the process ends. It must stay reachable: a collected
	// file is a closed one.
	users *flock.Flock
}

// sharedServer is one for all tests of the process.
//
//nolint:gochecknoglobals // a process joins once, and leaves by ending
var sharedServer = sync.OnceValues(join)

func join() (server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()

	if given := os.Getenv(urlVariable); given != "" {
		return useGiven(ctx, given)
	}

	home, err := findHome(ctx)
	if err != nil {
		return server{}, err
	}

	return home.join()
}

// useGiven uses a server that is not ours to start, stop or empty.
func useGiven(ctx context.Context, given string) (server, error) {
	if address, err := url.Parse(given); err != nil || address.Host == "" {
		return server{}, fmt.Errorf("%s is not a postgres:// URL", urlVariable)
	}

	admin, err := pgx.Connect(ctx, given)
	if err != nil {
		return server{}, fmt.Errorf("connecting to %s: %w", urlVariable, err)
	}

	err = sweepTests(ctx, admin, time.Now().Add(-staleAfter))
	if err := errors.Join(err, admin.Close(ctx)); err != nil {
		return server{}, fmt.Errorf("clearing %s: %w", urlVariable, err)
	}

	return server{url: given}, nil
}

// stay has the server stay for a while, so that a kept database can be seen.
func (s server) stay() error {
	if s.home == "" {
		return nil
	}

	if err := os.WriteFile(s.home.file("kept"), nil, 0o600); err != nil {
		return fmt.Errorf("having the server stay: %w", err)
	}

	return nil
}

// home is the directory in which test binaries and the supervisor meet.
type home string

func (h home) file(name string) string { return filepath.Join(string(h), name) }

func findHome(ctx context.Context) (home, error) {
	bin, err := devserver.FindBinaries(ctx)
	if err != nil {
		return "", err
	}

	ours := filepath.Join(servers.ScratchDir(), "marketflow-pgtest-"+strconv.Itoa(os.Geteuid()))
	dir := filepath.Join(ours, "postgresql-"+strconv.Itoa(bin.Major))

	if err := makePrivate(ours); err != nil {
		return "", err
	}

	if err := makePrivate(dir); err != nil {
		return "", err
	}

	return home(dir), nil
}

// makePrivate makes a directory, or refuses one that somebody else has put in
// its place: the temporary directory belongs to everyone. Root's can be entered
// by the user that runs the server.
func makePrivate(dir string) error {
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711
	}

	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the servers' directory: %w", err)
	}

	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("looking at the servers' directory: %w", err)
	}

	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of ours", dir)
	}

	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("protecting the servers' directory: %w", err)
	}

	return nil
}

// join finds the running server or starts one. The package comment tells why in
// this order.
func (h home) join() (server, error) {
	users := flock.New(h.file("users"))
	if err := users.RLock(); err != nil {
		return server{}, fmt.Errorf("joining the users of the test server: %w", err)
	}

	starting := flock.New(h.file("start"))
	if err := starting.Lock(); err != nil {
		return server{}, errors.Join(fmt.Errorf("waiting for the test server: %w", err), users.Unlock())
	}

	url, err := h.findOrStart()
	if err := errors.Join(err, starting.Unlock()); err != nil {
		return server{}, errors.Join(err, users.Unlock())
	}

	return server{url: url, home: h, users: users}, nil
}

func (h home) findOrStart() (url string, err error) {
	supervisor := flock.New(h.file("supervisor"))

	for {
		free, err := supervisor.TryLock()
		if err != nil {
			return "", fmt.Errorf("looking for the test server: %w", err)
		}

		if free {
			if err := supervisor.Unlock(); err != nil {
				return "", fmt.Errorf("looking for the test server: %w", err)
			}

			return h.startSupervisor()
		}

		// There is no URL yet when whoever started the supervisor was killed meanwhile.
		if text, err := os.ReadFile(h.file("url")); err == nil && len(text) > 0 {
			return string(text), nil
		}

		time.Sleep(lookForUsers)
	}
}

// startSupervisor returns the server's URL when it is ready. Of ours the supervisor
// gets a pipe to answer through, and nothing else: `go test` waits until nobody
// holds its output any more, and Ctrl-C must not reach it.
func (h home) startSupervisor() (url string, err error) {
	log, err := os.OpenFile(h.file("supervisor.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("opening the supervisor's log: %w", err)
	}

	defer func() { err = errors.Join(err, log.Close()) }()

	answer, answering, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("making a pipe: %w", err)
	}

	defer func() { err = errors.Join(err, answer.Close()) }()

	if err := errors.Join(h.spawn(log, answering), answering.Close()); err != nil {
		return "", err
	}

	said, err := io.ReadAll(answer)
	if err != nil {
		return "", fmt.Errorf("waiting for the test server: %w", err)
	}

	if address := string(said); strings.HasPrefix(address, "postgres://") {
		return address, nil
	}

	return "", fmt.Errorf("starting the test server: %s (see %s)", said, log.Name())
}

func (h home) spawn(log, answering *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this binary: %w", err)
	}

	command := exec.Command(self) // this binary; it outlives us

	command.Env = append(os.Environ(), supervisorVariable+"="+string(h))
	command.Dir = string(h)
	command.Stdout = log
	command.Stderr = log
	command.ExtraFiles = []*os.File{answering} // answerFD
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	if err := command.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}

	return command.Process.Release()
}
