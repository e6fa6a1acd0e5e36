package cli

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
)

// program is the name under which version and metrics know this binary.
const program = "rolecall"

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print the version, and with which Go and for which platform it was built.

The exit status is 0.`,
		Example: `  rolecall version
  rolecall version -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "":
				// Not version.Print: it uses text/template, which calls methods by
				// name, so the linker keeps all of every client: 50 MiB (test/layout
				// holds that nothing does so).
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s, version %s (revision: %s)\n  build date: %s\n  go version: %s\n  platform:   %s/%s\n",
					cmd.Root().DisplayName(), version.Version, version.GetRevision(), version.BuildDate, runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return err
			case "json":
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(map[string]string{
					"version": version.Version, "revision": version.GetRevision(), "buildDate": version.BuildDate,
					"goVersion": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
				})
			}
			return fmt.Errorf("--output %q: write json, or leave it out", output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or text if empty")
	return cmd
}
