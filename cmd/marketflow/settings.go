package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
)

const (
	dataFlag       = "data"
	defaultDataDir = ".marketflow"
	devFlag        = "dev"
	// devSettingsFile is in the data directory of a running `dev` and holds its
	// settings, passwords included.
	devSettingsFile = "settings.json"
)

// addSettingsFlags gives --dev and --data to root and everything below it.
func addSettingsFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.Bool(devFlag, false, "use the settings of the running 'marketflow dev' that has its data in --data")
	flags.String(dataFlag, defaultDataDir, "where 'marketflow dev' keeps its data")
}

// loadSettings reads the configuration from the environment, or with --dev from a
// running `marketflow dev`.
func loadSettings(cmd *cobra.Command) (config.Config, error) {
	ofDev, err := devSettings(cmd)
	if err != nil {
		return config.Config{}, err
	}

	if ofDev == nil {
		return config.Load()
	}

	variables, err := config.Variables()
	if err != nil {
		return config.Config{}, err
	}

	maps.Copy(variables, ofDev)

	settings, err := config.ForDev(variables)

	return settings, errors.Join(err, telemetry.CheckEnvironment())
}

// loadDatabaseURL is for commands that need nothing else.
func loadDatabaseURL(cmd *cobra.Command) (config.Secret, error) {
	ofDev, err := devSettings(cmd)
	if err != nil {
		return "", err
	}

	if ofDev == nil {
		return config.LoadDatabaseURL()
	}

	return config.Secret(ofDev["DATABASE_URL"]), nil
}

// devOwn are the variables that `dev` sets itself: they say whose money and whose data
// it is.
func devOwn() []string {
	return []string{
		"AUTH", "DATABASE_URL", "REDIS_URL", "SECRETS_KEY", "STRIPE_API_BASE", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET",
	}
}

// devSettings are those of a running `dev`; nil without --dev.
func devSettings(cmd *cobra.Command) (map[string]string, error) {
	if dev, _ := cmd.Flags().GetBool(devFlag); !dev {
		return nil, nil
	}

	dir, _ := cmd.Flags().GetString(dataFlag)

	text, err := os.ReadFile(filepath.Join(dir, devSettingsFile)) //nolint:gosec // the user names it
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf(
			"--dev: no `marketflow dev` runs with its data in %s; start it, or give its data directory with --data", dir)
	}

	var variables map[string]string
	if err == nil {
		err = json.Unmarshal(text, &variables)
	}

	if err != nil {
		return nil, fmt.Errorf("--dev: reading %s: %w", devSettingsFile, err)
	}

	return variables, nil
}

// leaveSettings writes the settings that other commands use with --dev. Only this user
// can read them.
func leaveSettings(dir string, variables map[string]string) (remove func() error, err error) {
	kept := map[string]string{}
	for _, name := range append(devOwn(), "HTTP_ADDR") {
		kept[name] = variables[name]
	}

	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the settings: %w", err)
	}

	path := filepath.Join(dir, devSettingsFile)
	if err := writePrivate(path, string(text)+"\n"); err != nil {
		return nil, err
	}

	return func() error {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing the settings: %w", err)
		}

		return nil
	}, nil
}

// writePrivate replaces a file in one step. Only this user can read it.
func writePrivate(path, text string) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}

	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}

	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(file.Name()))
	}

	return nil
}
