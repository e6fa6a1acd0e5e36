package awsauth

import (
	"strings"
	"testing"
	"time"
)

// What a large text costs does not grow with the square of its lines,
// whatever its slips are.
func TestSlipsCost(t *testing.T) {
	t.Parallel()
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
		text := strings.Repeat(line, (Limit/8-1)/len(line))
		for _, kind := range []Kind{Role, Account} {
			start := time.Now()
			Lint(map[string]string{kind.Key(): "- rolearn: {{\n" + text[:len(text)-20]})
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("%s in %s: %s", name, kind.Key(), took)
			} else {
				t.Logf("%s in %s: %s", name, kind.Key(), took.Round(time.Millisecond))
			}
		}
	}
}
