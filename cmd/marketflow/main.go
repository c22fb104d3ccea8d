// Command marketflow runs the service between a marketplace and Stripe, and what
// people need beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/domain/fault"
)

// version is set when a release is built.
var version = "devel"

func main() { os.Exit(run(os.Args[1:])) }

// exitError is an error with its own exit code.
type exitError struct {
	error

	code int
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	defer stop()

	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	root := newRootCommand()
	root.SetArgs(args)

	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}

	fmt.Fprintln(os.Stderr, "marketflow:", plain(err))

	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}

	return 1
}

// stopSignals ask the program to end in order. A terminal that closes sends SIGHUP;
// under nohup the program ignores it.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}

	return signals
}

// plain is what an error says to a person. A fault without a cause is only its sentence.
func plain(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Cause == nil && f.Error() == err.Error() {
		return f.Detail
	}

	return err.Error()
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "marketflow",
		Short: "Payments between a marketplace and Stripe: never charged twice, never lost",
		Long: `MarketFlow stands between a marketplace and Stripe. A customer is never charged
twice and a payment is never lost.

  marketflow dev      run everything on this machine, to try it
  marketflow serve    run the service, configured by the environment`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(os.Stdout) // cobra's Print would go to stderr
	addOutputFlag(root)
	addSettingsFlags(root)
	root.AddCommand(newDevCommand(), newServeCommand(), newMigrateCommand(), newSandboxCommand(),
		newInboxCommand(), newEventsCommand(), newOperationsCommand(), newPaymentsCommand(),
		newRefundsCommand(), newDisputesCommand(), newCustomersCommand(), newReconcileCommand(),
		newAccountCommand(), newKeysCommand(), newTenantsCommand(), newWebhookSecretsCommand(), newSecretsCommand(),
		newAuditCommand(), newVersionCommand(), newLicensesCommand())

	return root
}

// group is a command that only holds others. Without its Run, cobra would answer a
// misspelt command with help and exit code 0.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { _ = cmd.Help() },
	}
	command.AddCommand(commands...)

	return command
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printAnswer(cmd, map[string]string{"version": version}, func(w io.Writer) { fmt.Fprintln(w, version) })
		},
	}
}
