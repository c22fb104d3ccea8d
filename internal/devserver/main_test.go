package devserver_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/internal/devserver"
)

// ownerOf names, in the environment of a second process of these tests, the data
// directory whose server it shall run until it is killed.
const ownerOf = "MARKETFLOW_DEVSERVER_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerOf); dir != "" {
		own(dir)
	}

	goleak.VerifyTestMain(m)
}

func own(dir string) {
	server, err := devserver.StartPostgres(context.Background(), devserver.PostgresOptions{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	if _, err := fmt.Fprintln(os.Stdout, server.URL()); err != nil {
		os.Exit(1)
	}

	select {}
}

// ownedByAnother has another process run the server of dir. It returns the
// server's URL and what kills its owner.
func ownedByAnother(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()

	command := exec.CommandContext(t.Context(), os.Args[0])

	command.Env = append(os.Environ(), ownerOf+"="+dir)
	command.Stderr = os.Stderr

	out, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())

	url, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)

	killed := false
	kill = func() {
		if !killed {
			killed = true

			require.NoError(t, command.Process.Kill())
			require.Error(t, command.Wait(), "killed")
		}
	}
	t.Cleanup(kill)

	return strings.TrimSpace(url), kill
}
