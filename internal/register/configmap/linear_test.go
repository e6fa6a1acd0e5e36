package configmap

import (
	"runtime"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

// shapes are documents that grow in one way each.
func shapes() map[string]func(n int) string {
	const entry = "- rolearn: arn:aws:iam::111122223333:role/x"
	return map[string]func(n int) string{
		"comments before":  func(n int) string { return strings.Repeat("# c\n", n) + entry + "\n" },
		"comments after":   func(n int) string { return entry + "\n" + strings.Repeat("# c\n", n) },
		"comments between": func(n int) string { return strings.Repeat(entry+"\n# c\n\n", n) },
		"comments inside": func(n int) string {
			return entry + "\n" + strings.Repeat("  # c\n", n) + "  username: x\n  syncedBy: rolecall\n"
		},
		"comments inside 2": func(n int) string {
			return entry + " # d\n" + strings.Repeat("  # c\n", n) + "  username: y\n  syncedBy: rolecall\n"
		},
		"blank lines":   func(n int) string { return strings.Repeat(entry+"\n\n\n\n", n) },
		"blank tail":    func(n int) string { return entry + "\n" + strings.Repeat("\n", n) },
		"flow one line": func(n int) string { return "[" + strings.Repeat("{rolearn: x, syncedBy: rolecall}, ", n) + "{}]" },
		"flow comments": func(n int) string {
			return "[" + strings.Repeat("{rolearn: x, # c\n syncedBy: rolecall}, # d\n", n) + "{}]"
		},
		"flow lines":   func(n int) string { return "[" + strings.Repeat("{rolearn: x},\n", n) + "{}]" },
		"deep flow":    func(n int) string { return "[" + strings.Repeat("[", n) + strings.Repeat("]", n) + "]" },
		"deep block":   func(n int) string { return strings.Repeat("- ", n) + "x\n" },
		"long scalar":  func(n int) string { return "- \"" + strings.Repeat("x ", n) + "\"\n" },
		"long key":     func(n int) string { return "- ? " + strings.Repeat("x", n) + "\n  : x\n" },
		"block scalar": func(n int) string { return "- |\n" + strings.Repeat("  # x\n", n) },
		"hashes":       func(n int) string { return entry + strings.Repeat(" #", n) + "\n  syncedBy: rolecall\n" },
		"quotes": func(n int) string {
			return "- rolearn: x\n  syncedBy: rolecall\n  note: a" + strings.Repeat(" 'b", n) + " # c\n"
		},
		"quotes 2": func(n int) string {
			return "- rolearn: x\n  syncedBy: rolecall\n  note: |\n    " + strings.Repeat("'b: ", n) + " # c\n"
		},
		"ours":               func(n int) string { return strings.Repeat("- rolearn: x\n  syncedBy: rolecall\n", n) },
		"ours flow in block": func(n int) string { return strings.Repeat("- {rolearn: x, syncedBy: rolecall} # c\n", n) },
		"aliases":            func(n int) string { return "- &a {rolearn: x, syncedBy: rolecall}\n" + strings.Repeat("- *a\n", n) },
		"doubles":            func(n int) string { return strings.Repeat("- rolearn: x\n", n) },
		"documents":          func(n int) string { return entry + "\n" + strings.Repeat("---\n", n) },
		"many fields": func(n int) string {
			var b strings.Builder
			b.WriteString("- rolearn: x\n  syncedBy: rolecall\n")
			for i := range n {
				b.WriteString("  k" + strings.Repeat("a", i%50) + string(rune('a'+i%26)) + ": x\n")
			}
			return b.String()
		},
	}
}

// TestWorkIsLinear doubles documents of every shape: what is allocated for
// reading, planning and writing them about doubles.
func TestWorkIsLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("reads large lists: not with -short")
	}
	allocated := func(text string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		doc := parse(t, map[string]string{"mapRoles": text})
		req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "a"), role("x", "z"), awsauth.Entry{Kind: awsauth.Role, ARN: "x", Username: "y"})}}
		wholePlan(t, doc, nil, req)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for name, shape := range shapes() {
		t.Run(name, func(t *testing.T) {
			const n = 600
			once, twice := allocated(shape(n)), allocated(shape(2*n))
			if ratio := float64(twice) / float64(once); ratio > 2.5 {
				t.Errorf("twice the document takes %.1f times the bytes: %d instead of %d", ratio, twice, once)
			}
		})
	}
}
