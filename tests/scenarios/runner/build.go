package runner

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles the service once. overlay is a `go build -overlay` file that
// swaps source files without touching the tree; empty for none.
func Build(ctx context.Context, into, overlay string, race bool) (string, error) {
	root, err := ModuleRoot(ctx)
	if err != nil {
		return "", err
	}

	binary := filepath.Join(into, "marketflow")
	args := []string{"build", "-o", binary}

	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}

	if race {
		args = append(args, "-race")
	}

	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/marketflow")...)
	cmd.Dir = root

	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the service: %w\n%s", err, out)
	}

	return binary, nil
}

// ModuleRoot is the directory of go.mod.
func ModuleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module's root: %w", err)
	}

	return strings.TrimSpace(string(out)), nil
}
