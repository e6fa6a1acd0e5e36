package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/rolecall/rolecall/test/fleet"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

type options struct {
	out, page, parts, binary string
	small, render            bool
}

// part is a group of figures that are measured together.
type part struct {
	name    string
	measure func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"document", documents},
		{"footprint", footprint},
		{"iam", iamCalls},
		{"convergence", convergence},
		{"requests", requests},
		{"takeover", takeover},
		{"restart", restart},
	}
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "bin/bench", "folder for results.json, table.md and the plots")
	page := flags.String("page", "", "document that gets the table between its markers")
	only := flags.String("parts", "", "comma-separated parts to measure; all by default")
	binary := flags.String("binary", "", "rolecall to measure; by default it is built as for an image")
	render := flags.Bool("render", false, "measure nothing: write the table and the plots of results.json anew")
	small := flags.Bool("small", false, "a short run that fails where a ratio or a count has gone wrong by far")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	klog.SetLogger(logr.Discard()) // client-go's own words about connections that are cut here
	err := measure(ctx, options{*out, *page, *only, *binary, *small, *render}, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// chosen are the parts of a comma-separated list.
func chosen(only string) ([]part, error) {
	all := parts()
	if only == "" {
		return all, nil
	}
	var picked []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == strings.TrimSpace(name) })
		if i < 0 {
			var names []string
			for _, p := range all {
				names = append(names, p.name)
			}
			return nil, fmt.Errorf("no part is called %q: take some of %s", name, strings.Join(names, ", "))
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

func measure(ctx context.Context, o options, stdout io.Writer) error {
	picked, err := chosen(o.parts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	report, err := readReport(o.out)
	if err != nil {
		return err
	}
	if o.render {
		return report.write(o.out, o.page)
	}
	dir, err := os.MkdirTemp("", "rolecall-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{out: stdout, dir: dir, small: o.small, report: report, began: time.Now()}
	if err := os.Setenv("CGO_ENABLED", "0"); err != nil { // as the image is built
		return err
	}
	b.build = sync.OnceValues(func() (string, error) {
		if o.binary != "" {
			return filepath.Abs(o.binary)
		}
		b.say("building rolecall")
		return fleet.Build(ctx, dir, "-trimpath", "-ldflags=-s -w")
	})
	for _, p := range picked {
		if err := b.measure(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := report.write(o.out, o.page); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "\n%s", report.table())
	if wrong := report.wrong(picked); o.small && len(wrong) > 0 {
		return errors.New("gone wrong by far:\n  " + strings.Join(wrong, "\n  "))
	}
	return nil
}
