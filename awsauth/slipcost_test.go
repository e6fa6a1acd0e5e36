package awsauth

import (
	"runtime"
	"strings"
	"testing"
)

// TestSlipsCost holds that what is allocated for the diagnosis of a text grows with its
// size and not with the square of it, whatever its slips are.
func TestSlipsCost(t *testing.T) {
	if testing.Short() {
		t.Skip("large texts")
	}
	for name, line := range map[string]string{
		"tight dashes":    "-x\n",
		"tabs":            "\t- x\n",
		"groups by tabs":  "- rolearn: a\n  groups:\n" + strings.Repeat("\t- x\n", 20),
		"arns":            "rolearn: x\n",
		"colons":          "  username: a: b\n",
		"brackets":        "- [\n",
		"quotes":          "- \"\n",
		"commas":          "[,,\n",
		"en dashes":       "– a\n",
		"no-break spaces": "\u00a0\u00a0\u00a0a\n",
		"pasted keys":     "mapUsers: |\nmapRoles: |\n",
		"joined":          "- rolearn: a - rolearn: b - rolearn: c\n",
		"words":           "groups\n",
		"asterisks":       "- username: *a\n",
		"zeros":           "a\x00b",
	} {
		allocated := func(kind Kind, size int) uint64 {
			text := strings.Repeat(line, size/len(line))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			Lint(map[string]string{kind.Key(): "- rolearn: {{\n" + text})
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		for _, kind := range []Kind{Role, Account} {
			const size = 16 << 10
			once, fourTimes := allocated(kind, size), allocated(kind, 4*size)
			if ratio := float64(fourTimes) / float64(once); ratio > 7 {
				t.Errorf("%s in %s: four times the text takes %.1f times the bytes: %d instead of %d", name, kind.Key(), ratio, fourTimes, once)
			}
		}
	}
}
