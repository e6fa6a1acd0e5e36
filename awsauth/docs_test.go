package awsauth

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// objectRules are about the ConfigMap and the file around the data.
var objectRules = []RuleID{RuleDoubledKey, RuleMisplacedKey, RuleWrongObject, RuleBinaryData, RuleImmutable, RuleManagedBy}

// docs/lint.md has every rule as it is, with an example that shows it.
func TestLintDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID                       RuleID
		Severity, So, Write, Fix string
	}
	var got, want []row
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 6 || !strings.HasPrefix(cells[0], `| <a id="`) {
			continue
		}
		id := RuleID(strings.Trim(cells[0][strings.IndexByte(cells[0], '`'):], "`"))
		if cells[0] != fmt.Sprintf("| <a id=%q></a>`%s`", id, id) {
			t.Errorf("%s has another anchor: %s", id, cells[0])
		}
		got = append(got, row{id, cells[1], cells[3], cells[4], strings.TrimSpace(strings.TrimSuffix(cells[5], "|"))})
		example := strings.NewReplacer("⏎", "\n", "⇥", "\t").Replace(strings.Trim(cells[2], "`"))
		if id == RuleSize || id == RuleGone || slices.Contains(objectRules, id) {
			continue // those of the object: authfile TestDocs
		}
		if found := Lint(exampleData(example)); !slices.ContainsFunc(found, func(f Finding) bool { return f.Rule == id }) {
			t.Errorf("the example of %s does not show it: %v", id, brief(found))
		}
	}
	for _, r := range Rules() {
		want = append(want, row{r.ID, string(r.Severity), r.Consequence, r.Write, map[bool]string{true: "yes"}[r.Mendable]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/lint.md (-rules +page):\n%s", diff)
	}
}

// exampleData puts an example under the key that it is of.
func exampleData(text string) map[string]string {
	for _, name := range []string{"maproles", "notes", "roles.yaml"} {
		if rest, ok := strings.CutPrefix(text, name+": "); ok {
			return map[string]string{name: rest}
		}
	}
	switch {
	case strings.Contains(text, "userarn"):
		return map[string]string{"mapUsers": text}
	case strings.Contains(strings.ToLower(text), "rolearn"):
		return map[string]string{"mapRoles": text}
	}
	return map[string]string{"mapAccounts": text}
}
