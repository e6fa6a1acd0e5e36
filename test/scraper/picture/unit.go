package picture

import (
	"math"
	"strconv"
)

// A scale is a unit's larger unit.
type scale struct {
	from float64 // of values that are told in it
	name string
}

// text writes a value in one of Grafana's units, with three digits.
func text(v float64, unit string) string {
	if v < 0 {
		return "-" + text(-v, unit)
	}
	switch unit {
	case "s":
		switch {
		case v == 0:
			return "0 s"
		case v < 0.001:
			return digits(v*1e6) + " µs"
		case v < 1:
			return digits(v*1e3) + " ms"
		}
		return scaled(v, scale{1, " s"}, scale{60, " min"}, scale{3600, " hour"}, scale{86400, " day"})
	case "bytes":
		return scaled(v, scale{1, " B"}, scale{1 << 10, " KiB"}, scale{1 << 20, " MiB"}, scale{1 << 30, " GiB"})
	case "reqps":
		return scaled(v, scale{1, " req/s"}, scale{1e3, "K req/s"})
	}
	return scaled(v, scale{1, ""}, scale{1e3, " K"}, scale{1e6, " Mil"})
}

// scaled tells a value in the largest unit that it has one of.
func scaled(v float64, scales ...scale) string {
	best := scales[0]
	for _, s := range scales {
		if v >= s.from {
			best = s
		}
	}
	return digits(v/best.from) + best.name
}

// digits writes a value with three digits, and no zeros at the end.
func digits(v float64) string {
	if v >= 100 {
		v = math.Round(v)
	}
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', max(3, len(strconv.Itoa(int(v)))), 64), 64)
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// ticks are the round values of an axis that goes up to max, from 0 to the first
// that is no less than it, and some four of them.
func ticks(top float64, unit string) []float64 {
	if top <= 0 {
		top = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top/4)))
	rounds := []float64{1, 2, 5, 10}
	switch {
	case unit == "bytes" && top >= 4096:
		step = math.Pow(2, math.Floor(math.Log2(top/4)))
		rounds = []float64{1, 2}
	case unit == "s" && top > 60:
		step, rounds = 1, []float64{15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 86400}
	}
	for _, r := range rounds {
		if step*r*4 >= top*0.999 || r == rounds[len(rounds)-1] {
			step *= r
			break
		}
	}
	all := []float64{0}
	for i := 1; all[len(all)-1] < top*0.999; i++ {
		all = append(all, step*float64(i))
	}
	return all
}
