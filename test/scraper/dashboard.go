package scraper

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// A Query is one of a dashboard's.
type Query struct{ Panel, Expr string }

// Dashboard reads the queries of a Grafana dashboard as Grafana sends them, over
// all clusters and namespaces.
func Dashboard(path string) ([]Query, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		return nil, err
	}
	var all []Query
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			expr, err := Fill(target.Expr, time.Minute)
			if err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.Title, err)
			}
			all = append(all, Query{p.Title, expr})
		}
	}
	return all, nil
}

// Fill puts in the variables of a dashboard's query that looks back over a time, as
// Grafana does: all clusters and namespaces, scraped every 2 s or more often.
func Fill(expr string, over time.Duration) (string, error) {
	expr = strings.NewReplacer(
		"$__rate_interval", "10s", "$__range", fmt.Sprintf("%.0fs", over.Seconds()), "$namespace", ".*", "$cluster", ".*",
	).Replace(expr)
	if v := regexp.MustCompile(`\$\w+`).FindString(expr); v != "" {
		return "", fmt.Errorf("the variable %s is not known here", v)
	}
	return expr, nil
}
