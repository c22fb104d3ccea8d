package devserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// postgresUser is who runs PostgreSQL where a package has installed it.
const postgresUser = "postgres"

// rootDataDir holds the data of servers started by root whose wanted directory
// the server's user cannot reach.
const rootDataDir = "/var/lib/marketflow"

// account is the user that runs the server. The zero account is our own user.
type account struct {
	name       string
	credential *syscall.Credential
}

// defaultAccount is our own user, and another one for root: PostgreSQL refuses
// to run as root.
func defaultAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}

	for _, name := range []string{postgresUser, "nobody"} {
		if found, err := user.Lookup(name); err == nil {
			return accountOf(found)
		}
	}

	return account{}, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

func accountOf(u *user.User) (account, error) {
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)

	if err := errors.Join(uidErr, gidErr); err != nil {
		return account{}, fmt.Errorf("reading the ids of the user %s: %w", u.Username, err)
	}

	return account{
		name:       u.Username,
		credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
	}, nil
}

// ownerOf is the account that made pgdata, or otherwise when there is none yet:
// data stay readable when a user postgres appears after the first start.
func ownerOf(pgdata string, otherwise account) (account, error) {
	if otherwise.credential == nil {
		return otherwise, nil
	}

	info, err := os.Stat(pgdata)
	if errors.Is(err, fs.ErrNotExist) {
		return otherwise, nil
	}

	if err != nil {
		return account{}, fmt.Errorf("looking at the data directory: %w", err)
	}

	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || stat.Uid == otherwise.credential.Uid {
		return otherwise, nil
	}

	return account{
		name:       "with id " + strconv.FormatUint(uint64(stat.Uid), 10),
		credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid},
	}, nil
}

// own gives path to the account.
func (a account) own(path string) error {
	if a.credential == nil {
		return nil
	}

	if err := os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid)); err != nil {
		return fmt.Errorf("giving %s to the user %s: %w", path, a.name, err)
	}

	return nil
}

// place is the directory that holds the data wanted in dir: dir itself when the
// account can reach it, else a stand-in that is the same at every start.
func (a account) place(dir string) (string, error) {
	if a.credential == nil {
		return dir, nil
	}

	if a.reaches(dir) {
		return dir, nil
	}

	base := rootDataDir
	if within(os.TempDir(), dir) {
		base = os.TempDir()
	}

	sum := sha256.Sum256([]byte(dir))
	standIn := filepath.Join(base, "marketflow-postgres-"+hex.EncodeToString(sum[:4]))

	if !a.reaches(standIn) {
		return "", fmt.Errorf("the user %s, who runs PostgreSQL for root, reaches neither %s nor %s", a.name, dir, standIn)
	}

	return standIn, nil
}

// reaches tells whether the account may enter the directory above path, or the
// nearest one that is there: missing ones will be made enterable.
func (a account) reaches(path string) bool {
	dir := filepath.Dir(path)

	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}

		if !errors.Is(err, fs.ErrNotExist) {
			return false
		}

		dir = filepath.Dir(dir)
	}

	return a.command(context.Background(), "/bin/sh", "-c", `test -x "$0"`, dir).Run() == nil
}

// command is a program that the account runs, in a process group of its own:
// Ctrl-C in ours does not reach it.
func (a account) command(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, program, arguments...) //nolint:gosec // to run what is found on the machine is the purpose
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.credential}

	return command
}

func within(parent, path string) bool {
	relative, err := filepath.Rel(parent, path)

	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}
