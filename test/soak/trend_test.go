package soak_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// A point is a value at a time since the soak began.
type point struct {
	at    time.Duration
	value float64
}

// A tolerance is by how much a value may be greater at the end than at the
// beginning: so much, or such a part of what it was, whichever is more. A part of
// the series can be left out first: caches fill, heaps find their size.
type tolerance struct {
	by     float64
	part   float64
	warmUp float64 // 0 to 1
}

// fewest is how many points there must be after the warm-up to judge by.
const fewest = 6

// growth says if a series grows beyond its tolerance. Both must say so: the line
// of least squares through the points, and the median of the last third against
// that of the first. One alone is moved by a single peak.
func growth(series []point, allowed tolerance) (grew float64, tooMuch, judged bool) {
	if len(series) == 0 {
		return 0, false, false
	}
	begin, end := series[0].at, series[len(series)-1].at
	from := begin + time.Duration(float64(end-begin)*allowed.warmUp)
	series = slices.DeleteFunc(slices.Clone(series), func(p point) bool { return p.at < from })
	if len(series) < fewest {
		return 0, false, false
	}
	third := len(series) / 3
	early, late := median(series[:third]), median(series[len(series)-third:])
	fitted := slope(series) * (series[len(series)-1].at - series[0].at).Seconds()
	grew = min(fitted, late-early)
	return grew, grew > max(allowed.by, allowed.part*early), true
}

// median is the lower one of two.
func median(series []point) float64 {
	sorted := slices.SortedFunc(slices.Values(series), func(a, b point) int { return cmp.Compare(a.value, b.value) })
	return sorted[(len(sorted)-1)/2].value
}

// slope is the least-squares slope in units a second.
func slope(series []point) float64 {
	var x, y float64
	for _, p := range series {
		x += p.at.Seconds()
		y += p.value
	}
	x, y = x/float64(len(series)), y/float64(len(series))
	var xy, xx float64
	for _, p := range series {
		dx := p.at.Seconds() - x
		xy += dx * (p.value - y)
		xx += dx * dx
	}
	if xx == 0 {
		return 0
	}
	return xy / xx
}

func TestGrowth(t *testing.T) {
	series := func(n int, value func(i int) float64) []point {
		var s []point
		for i := range n {
			s = append(s, point{time.Duration(i) * time.Second, value(i)})
		}
		return s
	}
	noise := func(i int) float64 { return float64(i * 7919 % 5) }
	for _, test := range []struct {
		name            string
		series          []point
		tooMuch, judged bool
	}{
		{"flat", series(60, func(i int) float64 { return 100 + noise(i) }), false, true},
		{"a leak of one a point", series(60, func(i int) float64 { return 100 + float64(i) + noise(i) }), true, true},
		{"growth in the warm-up alone", series(60, func(i int) float64 { return 100 + 5*float64(min(i, 15)) + noise(i) }), false, true},
		{"a peak at the end", series(60, func(i int) float64 { return 100 + 500*float64(i/58) + noise(i) }), false, true},
		{"a step that stays", series(60, func(i int) float64 { return 100 + 50*float64(i/42) + noise(i) }), true, true},
		{"falling", series(60, func(i int) float64 { return 200 - float64(i) }), false, true},
		{"too few", series(8, func(i int) float64 { return 100 * float64(i) }), false, false},
		{"a peak at the end of few", series(9, func(i int) float64 { return 100 + 500*float64(i/8) }), false, true},
		{"none", nil, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			grew, tooMuch, judged := growth(test.series, tolerance{by: 10, part: 0.05, warmUp: 1.0 / 3})
			if tooMuch != test.tooMuch || judged != test.judged {
				t.Errorf("grew by %v: too much %t, judged %t", grew, tooMuch, judged)
			}
		})
	}
}

func (t tolerance) String() string {
	return fmt.Sprintf("%.0f or %.0f %%", t.by, 100*t.part)
}
