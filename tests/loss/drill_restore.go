package loss

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/scenarios/runner"
	"github.com/marketflow/marketflow/tests/servers"
)

// drillRestoreRunning restores to a moment of the past by the procedure of
// docs/operations.md, command by command, while the processes run and clients order.
func drillRestoreRunning(ctx context.Context, w *world) error { return drillRestore(ctx, w, false) }

// drillRestoreStopped does the same with the processes stopped until a person has looked.
func drillRestoreStopped(ctx context.Context, w *world) error { return drillRestore(ctx, w, true) }

func drillRestore(ctx context.Context, w *world, stopped bool) error {
	c, err := newByHand(ctx, w)
	if err != nil {
		return err
	}

	shop, err := w.deploy(ctx, "shop", w.options.Binary, c.url, c.url, c.url)
	if err != nil {
		return err
	}

	archiving, err := procedure(ctx, "### Archive continuously")
	if err != nil {
		return err
	}

	restoring, err := procedure(ctx, "### Restore to a point in time")
	if err != nil {
		return err
	}

	if err := c.follow(ctx, archiving); err != nil {
		return err
	}

	end := shop.load.open(ctx)
	shop.load.goesOn(ctx, w.options.third())

	if c.target, err = one[string](ctx, c.url, "SELECT clock_timestamp()::text"); err != nil {
		return err
	}

	shop.load.goesOn(ctx, w.options.third())

	if stopped {
		for _, s := range shop.services {
			if err := s.stop(syscall.SIGTERM); err != nil {
				return err
			}
		}
	}

	// The services find the restored database at once: nothing may come home before it is counted.
	counted, err := w.slowListsUntil(ctx)
	if err != nil {
		return err
	}
	defer counted()

	// The last step is MarketFlow's.
	steps, look := restoring[:len(restoring)-1], restoring[len(restoring)-1]
	if err := c.follow(ctx, steps); err != nil {
		return err
	}

	lost, err := shop.lost(ctx, c.url)
	if err != nil {
		return err
	}

	counted()

	if err := w.slowLists(ctx); err != nil {
		return err
	}

	after := func() {}

	if !stopped {
		after = shop.back(ctx, c.url, lost)
	}

	if err := shop.follow(ctx, look); err != nil {
		w.brokenf(cleanRun, "%v", err)
	}

	if stopped {
		for _, s := range shop.services {
			if err := s.start(ctx); err != nil {
				return errors.Join(err, shop.logTail(s))
			}
		}

		after = shop.back(ctx, c.url, lost)
	}

	shop.load.goesOn(ctx, w.options.third())
	end()
	after()

	return shop.verify(ctx, 0)
}

// byHand is a PostgreSQL that a person runs with PostgreSQL's own programs.
type byHand struct {
	dir, url string
	port     int
	password string
	programs string // their directory
	target   string
}

// newByHand makes a server and starts it.
func newByHand(ctx context.Context, w *world) (*byHand, error) {
	program, err := servers.Program(ctx, "pg_ctl")
	if err != nil {
		return nil, err
	}

	c := &byHand{dir: filepath.Join(w.dir, "by-hand"), password: "by-hand", programs: filepath.Dir(program)}

	if c.port, err = devserver.FreePort(ctx); err != nil {
		return nil, err
	}

	c.url = fmt.Sprintf("postgres://marketflow:%s@127.0.0.1:%d/marketflow?sslmode=disable", c.password, c.port)

	if err := os.MkdirAll(filepath.Join(c.dir, "archive"), 0o755); err != nil {
		return nil, fmt.Errorf("making directories: %w", err)
	}

	if as, err := c.account(); err != nil {
		return nil, err
	} else if as != nil {
		for _, dir := range []string{c.dir, filepath.Join(c.dir, "archive")} {
			if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
				return nil, fmt.Errorf("giving %s to the server: %w", dir, err)
			}
		}
	}

	w.atEnd(func() {
		_ = c.shell(context.Background(), `[ ! -f "$PGDATA/postmaster.pid" ] || pg_ctl stop --pgdata "$PGDATA" --mode immediate`)
	})

	return c, c.shell(ctx, `echo "$PGPASSWORD" >password
initdb --pgdata "$PGDATA" --username "$PGUSER" --pwfile password --auth scram-sha-256 --encoding UTF8 --no-locale --no-sync
cat >>"$PGDATA/postgresql.conf" <<END
port = $PGPORT
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
END
pg_ctl start --pgdata "$PGDATA" --log "$PGDATA.log"
createdb --maintenance-db postgres marketflow`)
}

// account is whose processes the server's are, for root; nil for any other user.
func (c *byHand) account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}

	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}

	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}

	gid, err := strconv.ParseUint(u.Gid, 10, 32)

	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// follow runs the commands of a procedure.
func (c *byHand) follow(ctx context.Context, steps []string) error {
	for _, step := range steps {
		if err := c.shell(ctx, step); err != nil {
			return err
		}
	}

	return nil
}

// shell runs commands as the user that PostgreSQL runs as.
func (c *byHand) shell(ctx context.Context, commands string) error {
	const limit = 2 * time.Minute

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	as, err := c.account()
	if err != nil {
		return err
	}

	cmd := exec.CommandContext(ctx, "bash", "-euc", commands)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	cmd.Env = []string{
		"PATH=" + c.programs + ":" + os.Getenv("PATH"), "HOME=" + c.dir, "LC_ALL=C",
		"PGDATA=" + filepath.Join(c.dir, "data"), "BACKUP=" + filepath.Join(c.dir, "backup"),
		"ARCHIVE=" + filepath.Join(c.dir, "archive"), "TARGET=" + c.target,
		"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(c.port), "PGUSER=marketflow", "PGPASSWORD=" + c.password, "PGDATABASE=marketflow",
	}

	return runToFile(cmd, filepath.Join(c.dir, "..", "by-hand.out"), commands)
}

// runToFile runs a command whose output goes to a file: a server that it starts keeps it
// open.
func runToFile(cmd *exec.Cmd, name, what string) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, out.Close()) }()

	cmd.Stdout, cmd.Stderr = out, out

	if failed := cmd.Run(); failed != nil {
		text, _ := os.ReadFile(name)

		return fmt.Errorf("%s\n%w\n%s", what, failed, text)
	}

	return nil
}

// follow runs marketflow's own commands, one on each line.
func (d *deployment) follow(ctx context.Context, commands string) error {
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)

		if out, code := d.run(ctx, words[1:]...); words[0] != "marketflow" || code != 0 {
			return fmt.Errorf("%s: exit code %d: %s", strings.TrimSpace(line), code, out) //nolint:err113 // for people
		}
	}

	return nil
}

// procedure is what is to be typed below a heading of docs/operations.md: the blocks of
// shell, in their order.
func procedure(ctx context.Context, heading string) (blocks []string, err error) {
	root, err := runner.ModuleRoot(ctx)
	if err != nil {
		return nil, err
	}

	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		return nil, fmt.Errorf("reading the procedure: %w", err)
	}

	_, section, found := strings.Cut(string(page), "\n"+heading+"\n")
	if !found {
		return nil, fmt.Errorf("docs/operations.md has no %q", heading)
	}

	section, _, _ = strings.Cut(section, "\n##")

	var (
		block  strings.Builder
		indent string
		inside bool
	)

	for line := range strings.Lines(section) {
		switch trimmed := strings.TrimSpace(line); {
		case !inside && trimmed == "```sh":
			indent, _, inside = strings.Cut(line, "`")
		case inside && trimmed == "```":
			blocks = append(blocks, block.String())
			block.Reset()

			inside = false
		case inside:
			block.WriteString(strings.TrimPrefix(line, indent))
		}
	}

	if len(blocks) == 0 {
		return nil, fmt.Errorf("nothing is to be typed below %q", heading)
	}

	return blocks, nil
}
