package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/internal/devserver/filelock"
)

const (
	// keeperVariable makes a test binary the keeper of the home that it names.
	keeperVariable = "MARKETFLOW_PGTEST_KEEPER"

	keeperReady = "ready"

	// The files that a keeper inherits.
	startingFD, answeringFD = 3, 4

	lookForUsers  = 250 * time.Millisecond
	idleLimit     = 3 * time.Second  // a package's compilation, between two test binaries
	keptLimit     = 10 * time.Minute // to look at the database of a failed test
	shutdownLimit = 30 * time.Second
)

// init turns a test binary into the keeper before its tests begin. A package's
// tests need no TestMain for it, and there is no program to build first.
//
//nolint:gochecknoinits // see above
func init() {
	dir := os.Getenv(keeperVariable)
	if dir == "" {
		return
	}

	if err := runKeeper(home(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	os.Exit(0)
}

// keeper runs the shared server.
type keeper struct {
	home   home
	server *devserver.Postgres
}

func runKeeper(h home) (err error) {
	// Not for the server to inherit.
	syscall.CloseOnExec(startingFD)
	syscall.CloseOnExec(answeringFD)

	starting, answering := os.NewFile(startingFD, "start"), os.NewFile(answeringFD, "answer")

	lock, err := filelock.TryExclusive(h.file("keeper"))
	if err != nil {
		return errors.Join(err, answer(answering, err.Error()))
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	k := &keeper{home: h}
	if err := k.start(ctx); err != nil {
		return errors.Join(err, answer(answering, err.Error()))
	}

	// From here on others may join.
	if err := errors.Join(answer(answering, keeperReady), starting.Close()); err != nil {
		return errors.Join(err, k.stop(ctx))
	}

	users, err := k.untilUnused(ctx)

	// keeper before users: whoever gets users must find no keeper.
	err = errors.Join(err, k.stop(ctx), os.Truncate(h.file("keeper"), 0), lock.Release())
	if users != nil {
		err = errors.Join(err, users.Release())
	}

	return err
}

func answer(to *os.File, text string) error {
	_, err := to.WriteString(text)

	return errors.Join(err, to.Close())
}

func (k *keeper) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()

	if err := k.startServer(ctx); err != nil {
		return err
	}

	if err := k.tidy(ctx); err != nil {
		return errors.Join(err, k.stop(ctx))
	}

	if err := os.WriteFile(k.home.file("keeper"), []byte(k.server.URL()), 0o600); err != nil {
		return errors.Join(fmt.Errorf("writing the URL down: %w", err), k.stop(ctx))
	}

	return nil
}

// startServer starts anew from nothing when the data do not let it start: they
// are written without fsync, and a machine that went down may have broken them.
func (k *keeper) startServer(ctx context.Context) error {
	var err error

	k.server, err = devserver.StartPostgres(ctx, k.options())
	if err == nil || errors.Is(err, devserver.ErrNoPostgres) || errors.Is(err, devserver.ErrAlreadyRunning) {
		return err
	}

	if removeErr := os.RemoveAll(k.options().DataDir); removeErr != nil {
		return errors.Join(err, removeErr)
	}

	k.server, err = devserver.StartPostgres(ctx, k.options())

	return err
}

func (k *keeper) options() devserver.PostgresOptions {
	return devserver.PostgresOptions{
		DataDir:    k.home.file("postgres"),
		Durability: devserver.Volatile,
		Settings: map[string]string{
			"autovacuum":      "off", // databases live for less than a second
			"wal_level":       "minimal",
			"max_wal_senders": "0",
			"max_wal_size":    "4GB", // no checkpoint in the middle of a test
		},
	}
}

// tidy drops what earlier runs left. There are no users yet.
func (k *keeper) tidy(ctx context.Context) (err error) {
	if err := os.RemoveAll(k.home.file("kept")); err != nil {
		return fmt.Errorf("forgetting kept databases: %w", err)
	}

	admin, err := pgx.Connect(ctx, k.server.URL())
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

// untilUnused returns with the users lock when nobody has used the server for
// long enough, or without when the server or the keeper was told to end.
func (k *keeper) untilUnused(ctx context.Context) (*filelock.Lock, error) {
	look := time.NewTicker(lookForUsers)
	defer look.Stop()

	lastUsed := time.Now()

	for {
		select {
		case <-look.C:
		case <-k.server.Exited():
			return nil, errors.New("the server ended by itself")
		case <-ctx.Done():
			return nil, nil
		}

		users, err := filelock.TryExclusive(k.home.file("users"))

		switch {
		case errors.Is(err, filelock.ErrHeld):
			lastUsed = time.Now()
		case err != nil:
			return nil, err
		case time.Since(lastUsed) >= idleLimit && k.keptFor() >= keptLimit:
			return users, nil
		default:
			if err := users.Release(); err != nil {
				return nil, err
			}
		}
	}
}

// keptFor is the time since a failed test last kept its database.
func (k *keeper) keptFor() time.Duration {
	info, err := os.Stat(k.home.file("kept"))
	if err != nil {
		return keptLimit
	}

	return time.Since(info.ModTime())
}

func (k *keeper) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()

	return k.server.Stop(ctx)
}
