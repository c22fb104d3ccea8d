package main

import (
	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/internal/bootstrap"
)

func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the service, configured by the environment",
		Long: `Runs the service until SIGTERM, SIGHUP or Ctrl-C, then lets requests in flight
end. A second signal ends it at once. .env.example explains every variable; a file
.env is read if there is one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := loadSettings(cmd)
			if err != nil {
				return err
			}

			tuneMemory()

			service, err := bootstrap.Start(cmd.Context(), settings, bootstrap.Version(version))
			if err != nil {
				return err
			}

			return service.Wait(cmd.Context())
		},
	}
}
