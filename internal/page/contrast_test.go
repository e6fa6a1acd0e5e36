package page

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// luminance is a colour's, as WCAG 2 defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var rgb [3]int
	if _, err := fmt.Sscanf(hex, "#%02x%02x%02x", &rgb[0], &rgb[1], &rgb[2]); err != nil {
		t.Fatalf("%q: %v", hex, err)
	}
	var l float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(rgb[i]) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}

// Every text can be read by day and by night: WCAG's AA for small letters.
func TestContrast(t *testing.T) {
	declared := regexp.MustCompile(`--([a-z-]+):(#[0-9a-f]{6})\b`)
	day, night, found := strings.Cut(stylesheet, "@media (prefers-color-scheme:dark)")
	night, _, _ = strings.Cut(night, "\n")
	if !found {
		t.Fatal("there is no night")
	}
	for name, part := range map[string]string{"day": day, "night": night} {
		colours := map[string]string{}
		for _, m := range declared.FindAllStringSubmatch(part, -1) {
			colours[m[1]] = m[2]
		}
		for text, grounds := range map[string][]string{
			"ink": {"paper", "sheet", "tag-bg"}, "soft": {"paper", "sheet", "tag-bg"}, "link": {"paper", "sheet"},
			"good": {"sheet", "good-bg"}, "bad": {"paper", "sheet", "bad-bg"}, "warn": {"sheet", "paper", "warn-bg"},
			"ours": {"ours-bg"}, "bar-ink": {"bar"}, "bar-soft": {"bar"}, "bar": {"bar-ink"},
		} {
			for _, ground := range grounds {
				a, b := luminance(t, colours[text]), luminance(t, colours[ground])
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
					t.Errorf("%s: %s on %s has a contrast of %.2f, want 4.5", name, text, ground, ratio)
				}
			}
		}
	}
}
