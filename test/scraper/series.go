package scraper

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// Series are the values of a query that have the same labels.
type Series struct {
	Labels map[string]string
	Points []Point // in the order of time
}

// A Point is a value at a time, in seconds since 1970.
type Point struct{ Time, Value float64 }

// UnmarshalJSON reads [time, "value"].
func (p *Point) UnmarshalJSON(text []byte) error {
	var value string
	if err := json.Unmarshal(text, &[]any{&p.Time, &value}); err != nil {
		return err
	}
	var err error
	p.Value, err = strconv.ParseFloat(value, 64)
	return err
}

// Range evaluates a query at every step of a time.
func (s *Server) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	return s.series(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {step.String()},
	})
}

// At evaluates a query at one time.
func (s *Server) At(ctx context.Context, expr string, at time.Time) ([]Series, error) {
	return s.series(ctx, "/api/v1/query", url.Values{"query": {expr}, "time": {stamp(at)}})
}

func stamp(t time.Time) string { return fmt.Sprintf("%.3f", float64(t.UnixMilli())/1000) }

func (s *Server) series(ctx context.Context, path string, values url.Values) ([]Series, error) {
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  *Point  // of a time
			Values []Point // of a range
		}
	}
	if err := s.get(ctx, path, values, &data); err != nil {
		return nil, err
	}
	all := make([]Series, len(data.Result))
	for i, r := range data.Result {
		all[i] = Series{r.Metric, r.Values}
		if r.Value != nil {
			all[i].Points = []Point{*r.Value}
		}
	}
	return all, nil
}
