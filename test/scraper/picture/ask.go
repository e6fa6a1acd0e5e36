package picture

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/rolecall/rolecall/test/scraper"
)

// A Span is the time that a dashboard shows.
type Span struct {
	From, To time.Time
	Step     time.Duration // between the points
}

// Answers are what the queries of a dashboard have answered.
type Answers map[int][]Line // by the panel's ID

// A Line is a series of a panel, with its name in the legend. A value that is
// none is left out.
type Line struct {
	Name string
	scraper.Series
}

// Ask asks a Prometheus all queries of a dashboard, as Grafana does.
func Ask(ctx context.Context, s *scraper.Server, b *Board, span Span) (Answers, error) {
	all := Answers{}
	for _, p := range b.Panels {
		for _, t := range p.Targets {
			expr, err := scraper.Fill(t.Expr, span.To.Sub(span.From))
			if err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.Title, err)
			}
			var series []scraper.Series
			if t.Instant {
				series, err = s.At(ctx, expr, span.To)
			} else {
				series, err = s.Range(ctx, expr, span.From, span.To, span.Step)
			}
			if err != nil {
				return nil, fmt.Errorf("panel %q: %w", p.Title, err)
			}
			all[p.ID] = append(all[p.ID], lines(t, series)...)
		}
	}
	return all, nil
}

// lines names the series of a query, in the order of their names.
func lines(t Target, series []scraper.Series) []Line {
	var all []Line
	label := regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)
	for _, s := range series {
		s.Points = slices.DeleteFunc(slices.Clone(s.Points), func(p scraper.Point) bool {
			return math.IsNaN(p.Value) || math.IsInf(p.Value, 0)
		})
		name := label.ReplaceAllStringFunc(t.LegendFormat, func(found string) string {
			return s.Labels[label.FindStringSubmatch(found)[1]]
		})
		all = append(all, Line{name, s})
	}
	slices.SortStableFunc(all, func(a, b Line) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
