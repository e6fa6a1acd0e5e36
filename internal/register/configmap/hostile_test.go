package configmap

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// hostileTexts are texts of at most 1 MiB that are made to take a reader's time
// or memory.
func hostileTexts() map[string]string {
	laughs := "- &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("- &a%d [%s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	entry := "- {rolearn: 'arn:aws:iam::111122223333:role/a', username: *u, groups: *g}\n"
	return map[string]string{
		"billion laughs":         laughs,
		"one long text often":    "- &u " + strings.Repeat("x", 200<<10) + "\n" + strings.Repeat("- *u\n", 20_000),
		"in entries":             "- {rolearn: r, username: &u " + strings.Repeat("x", 100<<10) + ", groups: &g [y, z]}\n" + strings.Repeat(entry, 6000),
		"a long key often":       "- &m\n  ? " + strings.Repeat("k", 200<<10) + "\n  : x\n" + strings.Repeat("- *m\n", 20_000),
		"alias of itself":        "- &a [*a]\n",
		"merge keys":             "- &a {a: b}\n- &b {<<: [" + strings.Repeat("*a,", 60_000) + "*a]}\n",
		"deep brackets":          strings.Repeat("[", 1_000_000),
		"deep braces":            strings.Repeat("{a: ", 250_000),
		"deep dashes":            strings.Repeat("- ", 500_000),
		"deep and closed":        strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000),
		"deep indentation":       deepIndentation(1400),
		"questions":              strings.Repeat("? ", 500_000),
		"anchors":                strings.Repeat("- &a x\n", 30_000),
		"colons":                 "- {" + strings.Repeat("a: b, ", 30_000) + "}",
		"many documents":         strings.Repeat("---\n", 250_000),
		"quotes":                 strings.Repeat("'", 1_000_000),
		"one line of blanks":     strings.Repeat(" ", 1_000_000) + "- a",
		"percents":               strings.Repeat("%TAG ! tag:x\n", 80_000),
		"no UTF-8":               "- \xff\xfe\xfd",
		"UTF-16":                 "\xff\xfe-\x00 \x00a\x00",
		"NUL":                    "- a\x00b",
		"numbers":                strings.Repeat("- 1e999999999\n", 15_000),
		"long number":            "- " + strings.Repeat("9", 200_000),
		"sexagesimal":            "- " + strings.Repeat("9:", 500_000),
		"a JSON of one long key": `[{"` + strings.Repeat("k", 1_000_000) + `":1}]`,
	}
}

func deepIndentation(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// What somebody puts into aws-auth to hurt does not take a reader much memory, nor
// for ever, which would end the test, and if it can be read, a plan on it keeps its promise.
func TestHostileTexts(t *testing.T) {
	if testing.Short() {
		t.Skip("reads large texts for seconds: not with -short")
	}
	const room = 512 << 20 // bytes allocated in all; measured: 150 MiB
	entries := map[awsauth.Kind]awsauth.Entry{
		awsauth.Role:    {Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/new", Username: "u"},
		awsauth.Account: {Kind: awsauth.Account, ARN: "444455556666"},
	}
	for name, text := range hostileTexts() {
		for _, kind := range []awsauth.Kind{awsauth.Role, awsauth.Account} {
			t.Run(name+" in "+kind.Key(), func(t *testing.T) {
				if len(text) > awsauth.Limit {
					t.Errorf("%d bytes, which no ConfigMap holds", len(text))
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				doc, err := awsauth.Parse(map[string]string{kind.Key(): text})
				req := plan.Snapshot{Now: now, Sources: []plan.Source{{Name: "file", Entries: []awsauth.Entry{entries[kind]}}}}
				var planned *Plan
				if err == nil {
					planned = makePlan(doc, nil, req)
				}
				runtime.ReadMemStats(&after)
				if bytes := after.TotalAlloc - before.TotalAlloc; bytes > room {
					t.Errorf("it took %d MiB", bytes>>20)
				}
				if err == nil && len(doc.Entries()) < 1000 { // the check takes its time
					if p := broken(doc, &plan.State{}, req, planned); p != "" {
						t.Error(p)
					}
				}
				if err != nil && len(err.Error()) > 200 {
					t.Errorf("an error with the text in it: %.300s", err)
				}
			})
		}
	}
}
