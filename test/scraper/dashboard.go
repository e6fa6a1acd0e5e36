package scraper

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
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
	variables := strings.NewReplacer("$__rate_interval", "10s", "$__range", "1m", "$namespace", ".*", "$cluster", ".*")
	left := regexp.MustCompile(`\$\w+`)
	var all []Query
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			expr := variables.Replace(target.Expr)
			if v := left.FindString(expr); v != "" {
				return nil, fmt.Errorf("panel %q has the variable %s, which is not known here", p.Title, v)
			}
			all = append(all, Query{p.Title, expr})
		}
	}
	return all, nil
}
