package page

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// answer is what the page of a view answers to a request.
func answer(t *testing.T, v View, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	h := New(func() View { return v })
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost:9466"+target, nil)
	h.ServeHTTP(w, r)
	return w
}

// body is the page of a view.
func body(t *testing.T, v View, query string) string {
	t.Helper()
	w := answer(t, v, http.MethodGet, "/"+query)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// leading is a leader with something in every section.
func leading() View {
	const account = "arn:aws:iam::111122223333:"
	return View{
		At: now, Node: "ip-10-0-1-17", Namespace: "rolecall-system", Version: "v1.2.3", Mode: Leads,
		NodeRole: account + "role/workers",
		Election: &Election{Leader: "ip-10-0-1-17", Since: ago(3 * time.Hour), Seen: ago(time.Second), Agents: 5},
		Config:   &Config{Hash: "0123456789abcdef", Since: ago(50 * time.Hour), Trouble: "config.yaml:3: unknown key", Refused: ago(10 * time.Minute)},
		Problems: []string{"source group/Contractors has failed for 9m"},
		Notes:    []string{"the leader only adds"},
		Pass:     &Pass{At: ago(12 * time.Second), Result: "unchanged"},
		Sources: []Source{
			{Name: "file", Entries: 1, Success: ago(12 * time.Second)},
			{Name: "group/Contractors", Trouble: "AccessDenied", Since: ago(9 * time.Minute), Success: ago(time.Hour)},
			{Name: "group/New"},
		},
		Conflicts: []Conflict{{
			ARN: account + "role/deployer", Has: "deploy-bot", Want: "deployer", HasGroups: []string{"a"}, WantGroups: []string{"a", "b"}, Sources: []string{"file"},
		}},
		Cluster: &Cluster{
			Began: ago(3 * time.Hour), AWSAuth: "kube-system/aws-auth", Bytes: 800_000, Limit: 1 << 20, Kept: 10,
			Entries: []Entry{
				{Kind: "user", ARN: account + "user/ana", Username: "ana", Groups: []string{"developers"}, Ours: true, Sources: []string{"group/Developers"}, Since: ago(72 * time.Hour)},
				{Kind: "role", ARN: account + "role/workers", Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:bootstrappers", "system:nodes"}, Ours: true, Sources: []string{"extra", "node"}, Since: ago(72 * time.Hour)},
				{Kind: "role", ARN: account + "role/break-glass", Username: "root", Groups: []string{"system:masters"}},
				{Kind: "role", ARN: account + "role/ci", Username: "ci", Mark: "terraform", Dropped: "it has no rolearn"},
				{Kind: "account", ARN: "444455556666", Ours: true},
			},
			Held: []Hold{{
				ID: "1f7595683f83", Why: "6 of 8 entries of group/Developers", Command: "rolecall approve 1f7595683f83", Since: ago(time.Hour),
				Changes: []Change{{"remove", "user", account + "user/ben", "ben"}},
			}},
			Roles:   []Role{{account + "role/workers", "ip-10-0-1-17", ago(20 * time.Minute)}, {account + "role/ahead", "ip-10-0-1-18", now.Add(time.Hour)}},
			Refused: []Refusal{{"node-role-0123", "of another account"}},
			Writes: []Write{
				{At: ago(time.Hour), Why: "1 entry added, 0 changed, 0 removed, of node", Diffs: []Diff{{Key: "mapRoles", Lines: []string{"@@ -1,2 +1,3 @@", " a", "-b", "+c"}, Left: 12}}},
				{At: ago(2 * time.Hour), Who: "kubectl-edit"},
			},
		},
	}
}

// standing is a standby that has heard of the leader.
func standing() View {
	return View{
		At: now, Node: "ip-10-0-1-18", Namespace: "rolecall-system", Mode: StandsBy, NodeWhy: "IMDS does not answer",
		Election: &Election{Leader: "ip-10-0-1-17", Since: ago(3 * time.Hour), Seen: ago(90 * time.Second), Agents: 1000, Command: `kubectl port-forward "$(x)" 9466:9466`},
		Config:   &Config{Hash: "0123456789abcdef", Since: ago(50 * time.Hour), SubPath: true},
		Pass:     &Pass{At: ago(12 * time.Second), Result: "error", Trouble: "the API server does not answer"},
		Sources:  []Source{{Name: "file", Entries: 3, Success: ago(12 * time.Second)}}, More: 7,
		Conflicts: []Conflict{{ARN: "arn:aws:iam::111122223333:role/a", Has: "x", Want: "y"}}, MoreConflicts: 2,
	}
}

// lines is a page with a line break between tags that stand side by side, so that
// a difference shows on few lines.
func lines(page string) string { return strings.ReplaceAll(page, "><", ">\n<") + "\n" }

// Each state of an agent has a page of its own; a change of one is seen here.
func TestGolden(t *testing.T) {
	empty := leading()
	empty.Problems, empty.Notes, empty.Sources, empty.Conflicts, empty.Config.Trouble = nil, nil, nil, nil, ""
	empty.Cluster = &Cluster{Began: ago(time.Hour), AWSAuth: "kube-system/aws-auth", Limit: 1 << 20, Kept: 10}
	beginning := leading()
	beginning.Problems, beginning.Notes, beginning.Pass, beginning.Sources, beginning.Conflicts, beginning.Cluster = nil, nil, nil, nil, nil, nil
	for name, v := range map[string]View{
		"leader": leading(), "leader-empty": empty, "leader-beginning": beginning, "standby": standing(),
		"standby-blind": {At: now, Node: "a", Mode: StandsBy, Election: &Election{Trouble: "forbidden"}, Config: &Config{}},
		"reporter":      {At: now, Node: "a", Mode: Reports, NodeRole: "arn:aws:iam::111122223333:role/a"},
	} {
		t.Run(name, func(t *testing.T) {
			got := body(t, v, "")
			begin, rest, _ := strings.Cut(got, "<style>")
			_, end, _ := strings.Cut(rest, "</style>")
			got = lines(begin + end) // the stylesheet is page.css
			path := filepath.Join("testdata", name+".html")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got), go test ./page -update writes it anew:\n%s", diff)
			}
		})
	}
}

// The page is a thing of its own: nothing in it leads elsewhere or runs.
func TestNothingFromElsewhere(t *testing.T) {
	for _, v := range []View{leading(), standing()} {
		page := strings.ToLower(body(t, v, "?q=a&of=ours"))
		for _, never := range []string{"http:", "https:", "//", "<script", "javascript", "style=", "onclick", "onload", "@import", "url("} {
			if i := strings.Index(page, never); i >= 0 {
				t.Errorf("the page has %q: %s", never, page[max(i-40, 0):min(i+60, len(page))])
			}
		}
	}
}
