package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"github.com/rolecall/rolecall/internal/visible"
)

// checkOutput refuses a format that a command does not have; the first of those
// that it has is the default.
func checkOutput(given string, formats ...string) error {
	if given == "" || slices.Contains(formats, given) {
		return nil
	}
	return fmt.Errorf("--output %q: write %s or %s", given, strings.Join(formats[:len(formats)-1], ", "), formats[len(formats)-1])
}

// printObject prints a value as json or yaml, with nothing in it that does not
// print. YAML has no such form that every parser knows; where it would need one,
// it is written as JSON, which is YAML too.
func printObject(w io.Writer, format string, value any) error {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("encode as %s: %w", format, err)
	}
	plain := visible.JSON(body)
	if format == "yaml" && bytes.Equal(plain, body) {
		if plain, err = yaml.JSONToYAML(body); err != nil {
			return fmt.Errorf("encode as %s: %w", format, err)
		}
	}
	_, err = fmt.Fprintf(w, "%s\n", bytes.TrimSuffix(plain, []byte("\n")))
	return err
}

// printTable prints rows, the first of which is the heading, as kubectl does.
func printTable(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(table, "\t")
			}
			fmt.Fprint(table, visible.Text(cell))
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// age is how long ago something was, as kubectl shows it.
func age(at time.Time) string {
	if at.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(0, time.Since(at)))
}
