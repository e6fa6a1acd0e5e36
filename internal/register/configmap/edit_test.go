package configmap

import (
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/test/corpus"
)

// TestEdit shows for each document under testdata/edit what a plan makes of
// it: the archive holds the request, the keys before and, under after/, those
// that changed.
func TestEdit(t *testing.T) {
	corpus.Golden(t, "edit", *update, func(t *testing.T, given []txtar.File) []txtar.File {
		data, request := corpus.GivenKeys(given, "request.json")
		var req plan.Snapshot
		corpus.Strictly(t, request, &req)
		req.Now = now
		planned := wholePlan(t, parse(t, data), nil, req)
		if p := broken(planned.Before, &plan.State{}, req, planned); p != "" {
			t.Error(p)
		}
		return corpus.ChangedKeys(given, data, planned.After.Data())
	})
}

// TestBlankTexts fills what the authenticator takes for nothing.
func TestBlankTexts(t *testing.T) {
	for _, text := range []string{"", " ", "\t\n \t  ", "\v", "\n \r\t\r", "\u00a0", "``", " ``\n", `""`, "''\r\n", "# c", "\ufeff", "---", "~", "null # c", "[]", "[\n# c\n]\n", "[ ] # c"} {
		doc := parse(t, map[string]string{"mapRoles": text})
		req := plan.Snapshot{Now: now, Sources: []plan.Source{from("file", role("a", "a"))}}
		planned := makePlan(doc, nil, req)
		if len(planned.Left) > 0 || len(planned.Changes) != 1 {
			t.Errorf("%q: changes %+v, left out %+v", text, planned.Changes, planned.Left)
			continue
		}
		if p := broken(doc, &plan.State{}, req, planned); p != "" {
			t.Errorf("%q: %s", text, p)
		}
	}
}
