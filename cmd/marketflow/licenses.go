package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/marketflow/marketflow/licenses"
)

func newLicensesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "licenses",
		Short: "Print the licences of the software that this program contains",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printAnswer(cmd, map[string]string{"third_party_licenses": licenses.ThirdParty},
				func(w io.Writer) { fmt.Fprint(w, licenses.ThirdParty) })
		},
	}
}
