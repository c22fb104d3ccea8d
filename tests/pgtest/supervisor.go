package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

const (
	// supervisorVariable makes a test binary the supervisor of the home that it names.
	supervisorVariable = "MARKETFLOW_PGTEST_SUPERVISOR"

	answerFD = 3 // the pipe that the supervisor inherits

	lookForUsers  = 250 * time.Millisecond
	idleLimit     = 3 * time.Second  // a package's compilation, between two test binaries
	keptLimit     = 10 * time.Minute // to look at the database of a failed test
	shutdownLimit = 30 * time.Second
)

// init turns a test binary into the supervisor before its tests begin. A package's
// tests need no TestMain for it, and there is no program to build first.
//
//nolint:gochecknoinits // see above
func init() {
	dir := os.Getenv(supervisorVariable)
	if dir == "" {
		return
	}

	if err := supervise(home(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	os.Exit(0)
}

// supervisor runs the shared server.
type supervisor struct {
	home   home
	server *servers.Postgres
}

func supervise(h home) error {
	syscall.CloseOnExec(answerFD) // not for the server to inherit

	answering := os.NewFile(answerFD, "answer")

	lock := flock.New(h.file("supervisor"))
	if free, err := lock.TryLock(); err != nil || !free {
		return errors.Join(err, answer(answering, "the test server has a supervisor already"))
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	s := &supervisor{home: h}
	if err := s.start(ctx); err != nil {
		return errors.Join(err, answer(answering, err.Error()))
	}

	if err := answer(answering, s.server.URL()); err != nil {
		return errors.Join(err, s.stop(ctx))
	}

	users, err := s.untilUnused(ctx)

	// supervisor before users: whoever gets users must find no supervisor.
	return errors.Join(err, s.stop(ctx), os.Remove(h.file("url")), lock.Unlock(), users.Unlock())
}

func answer(to *os.File, text string) error {
	_, err := to.WriteString(text)

	return errors.Join(err, to.Close())
}

func (s *supervisor) start(ctx context.Context) error {
	if err := os.RemoveAll(s.home.file("url")); err != nil { // a killed supervisor's
		return fmt.Errorf("forgetting the last URL: %w", err)
	}

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()

	if err := s.startServer(ctx); err != nil {
		return err
	}

	if err := s.tidy(ctx); err != nil {
		return errors.Join(err, s.stop(ctx))
	}

	if err := os.WriteFile(s.home.file("url"), []byte(s.server.URL()), 0o600); err != nil {
		return errors.Join(fmt.Errorf("writing the URL down: %w", err), s.stop(ctx))
	}

	return nil
}

// startServer starts anew from nothing when the data do not let it start: they
// are written without fsync, and a machine that went down may have broken them.
func (s *supervisor) startServer(ctx context.Context) error {
	var err error

	s.server, err = servers.StartPostgres(ctx, s.options())
	if err == nil || errors.Is(err, devserver.ErrNoPostgres) || errors.Is(err, devserver.ErrAlreadyRunning) {
		return err
	}

	if removeErr := os.RemoveAll(s.options().DataDir); removeErr != nil {
		return errors.Join(err, removeErr)
	}

	s.server, err = servers.StartPostgres(ctx, s.options())

	return err
}

func (s *supervisor) options() devserver.PostgresOptions {
	settings := servers.Volatile()
	maps.Copy(settings, map[string]string{
		"autovacuum":      "off", // databases live for less than a second
		"wal_level":       "minimal",
		"max_wal_senders": "0",
		"max_wal_size":    "4GB", // no checkpoint in the middle of a test
	})

	return devserver.PostgresOptions{DataDir: s.home.file("postgres"), Settings: settings}
}

// tidy drops what earlier runs left. There are no users yet.
func (s *supervisor) tidy(ctx context.Context) (err error) {
	if err := os.RemoveAll(s.home.file("kept")); err != nil {
		return fmt.Errorf("forgetting kept databases: %w", err)
	}

	admin, err := pgx.Connect(ctx, s.server.URL())
	if err != nil {
		return fmt.Errorf("connecting to the started server: %w", err)
	}

	defer func() { err = errors.Join(err, admin.Close(ctx)) }()

	now := time.Now()

	return errors.Join(
		sweepTests(ctx, admin, now.Add(time.Second)),
		sweepTemplates(ctx, admin, now.Add(-staleAfter)),
	)
}

// untilUnused returns when nobody has used the server for long enough, and holds
// the users lock then; or when the server has ended, or the supervisor was told to
// end, without the lock.
func (s *supervisor) untilUnused(ctx context.Context) (*flock.Flock, error) {
	look := time.NewTicker(lookForUsers)
	defer look.Stop()

	users := flock.New(s.home.file("users"))
	lastUsed := time.Now()

	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return users, nil
		}

		if !s.server.Running() {
			return users, errors.New("the server ended by itself")
		}

		unused, err := users.TryLock()

		switch {
		case err != nil:
			return users, fmt.Errorf("looking for users: %w", err)
		case !unused:
			lastUsed = time.Now()
		case time.Since(lastUsed) >= idleLimit && s.keptFor() >= keptLimit:
			return users, nil
		default:
			if err := users.Unlock(); err != nil {
				return users, fmt.Errorf("looking for users: %w", err)
			}
		}
	}
}

// keptFor is the time since a failed test last kept its database.
func (s *supervisor) keptFor() time.Duration {
	info, err := os.Stat(s.home.file("kept"))
	if err != nil {
		return keptLimit
	}

	return time.Since(info.ModTime())
}

func (s *supervisor) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()

	return s.server.Stop(ctx)
}
