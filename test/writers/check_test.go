package writers

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	nodeARN = account + "role/nodes"
	userARN = account + "user/ops"

	breakGlass = "# ask first\n- rolearn: " + account + "role/break-glass # in a safe\n  username: break-glass\n  groups: [system:masters]\n"
	ciRole     = "- rolearn: " + account + "role/ci\n  username: ci\n  groups: [deployers]\n  ticket: OPS-1"
	nodeOurs   = "- rolearn: " + nodeARN + "\n  username: system:node:{{EC2PrivateDNSName}}\n  groups:\n  - system:nodes\n  syncedBy: rolecall\n"
	userOurs   = "- userarn: " + userARN + "\n  username: ops\n  groups:\n  - viewers\n  syncedBy: rolecall\n"
	nodeTheirs = "- groups: [system:nodes, elsewhere]\n  rolearn: " + nodeARN + "\n  username: system:node:{{EC2PrivateDNSName}}"
)

func rules() Rules {
	return Rules{
		Asked: map[string][]Grant{
			nodeARN: {{"system:node:{{EC2PrivateDNSName}}", []string{"system:nodes"}}},
			userARN: {{"ops", []string{"viewers"}}},
		},
		Always: []string{nodeARN, userARN},
		Nodes:  []string{nodeARN},
		Final: map[string]Grant{
			nodeARN: {"system:node:{{EC2PrivateDNSName}}", []string{"system:nodes"}},
			userARN: {"ops", []string{"viewers"}},
		},
	}
}

// A story makes a history, a version a second.
type story []Version

func (s *story) version(data map[string]string) *Version {
	n := len(*s) + 1
	v := Version{Seen: time.Unix(int64(n), 0), ConfigMap: &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "aws-auth", UID: "1", ResourceVersion: strconv.Itoa(n), Labels: map[string]string{"team": "platform"}},
		Data:       maps.Clone(data),
	}}
	if n > 1 {
		base := (*s)[n-2].ResourceVersion
		v.Base = &base
	}
	*s = append(*s, v)
	return &(*s)[n-1]
}

// roles is the data of the last version with other roles.
func (s *story) roles(text string) map[string]string {
	data := maps.Clone((*s)[len(*s)-1].Data)
	data[mapRoles] = text
	return data
}

// tool has a tool make a version by effects.
func (s *story) tool(id string, data map[string]string, effects ...Effect) {
	v := s.version(data)
	v.Edit, v.Base = &Edit{ID: id, Base: (*s)[len(*s)-2].ResourceVersion, Effects: effects}, nil
}

// good is a history without fault: number 1 to 12.
func good() story {
	var s story
	s.version(map[string]string{mapRoles: breakGlass, "notes": "keep"})
	data := s.roles(breakGlass + nodeOurs)
	data[mapUsers] = userOurs
	s.version(data)                                                                        // 2: ours come
	s.tool("eksctl-1", s.roles(breakGlass+nodeOurs+ciRole+"\n"), Append{mapRoles, ciRole}) // 3
	unmarked := strings.ReplaceAll(nodeOurs, "  syncedBy: rolecall\n", "")
	s.tool("stripper-1", s.roles(breakGlass+unmarked+ciRole+"\n"), StripMarks{mapRoles})        // 4
	s.version(s.roles(breakGlass + nodeOurs + ciRole + "\n"))                                   // 5: marked again
	s.tool("remover-1", s.roles(breakGlass+ciRole+"\n"), Remove{mapRoles, Match{ARN: nodeARN}}) // 6
	s.version(s.roles(breakGlass + ciRole + "\n" + nodeOurs))                                   // 7: back
	noted := strings.Replace(nodeOurs, "\n", " # seen\n", 1)
	s.tool("kubectl-1", s.roles(breakGlass+ciRole+"\n"+noted), Suffix{mapRoles, Match{ARN: nodeARN}, " # seen"})         // 8
	s.tool("managed-1", s.roles(breakGlass+ciRole+"\n"+noted+nodeTheirs+"\n"), Append{mapRoles, nodeTheirs})             // 9
	s.version(s.roles(breakGlass + ciRole + "\n# seen\n" + nodeTheirs + "\n"))                                           // 10: withdrawn
	s.tool("managed-2", s.roles(breakGlass+ciRole+"\n# seen\n"), Remove{mapRoles, Match{ARN: nodeARN, With: elsewhere}}) // 11
	s.version(s.roles(breakGlass + ciRole + "\n# seen\n" + nodeOurs))                                                    // 12: back
	return s
}

func TestCheckFindsNothing(t *testing.T) {
	report, err := Check(good(), rules())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Violations) > 0 {
		t.Errorf("a good history: %v", report.Violations)
	}
	// What eksctl and kubectl did is there; the others took away, or were taken
	// away by themselves.
	got := [...]int{report.Versions, report.Ours, report.Edits, report.Standing, report.Ended, report.Lost, report.Removals}
	if want := [...]int{12, 5, 6, 1, 5, 0, 2}; got != want {
		t.Errorf("versions, ours, edits, standing, ended, lost, removals: %v, want %v\n%s", got, want, report)
	}
	if l := report.Longest(); l.Took != time.Second || l.ARN != nodeARN {
		t.Errorf("the longest time away is %+v, want a second", l)
	}
}

// replaced has a version of rolecall's, and all that follow, hold another text.
func (s story) replaced(from int, was, is string) {
	found := false
	for i := from - 1; i < len(s); i++ {
		for key, text := range s[i].Data {
			found = found || strings.Contains(text, was)
			s[i].Data[key] = strings.ReplaceAll(text, was, is)
		}
	}
	if !found {
		panic("the history does not hold " + was)
	}
}

func TestCheckFinds(t *testing.T) {
	for _, test := range []struct {
		name   string
		mutate func(s story)
		kind   string
		at     string // the resourceVersion that is to blame
		edits  []string
	}{
		{"a foreign byte", func(s story) { s.replaced(5, "username: break-glass", "username:  break-glass") }, Lost, "5", nil},
		{"a field of a foreign entry that others don't know", func(s story) { s.replaced(5, "\n  ticket: OPS-1", "") }, Lost, "5", []string{"eksctl-1"}},
		{"a foreign entry", func(s story) { s.replaced(7, ciRole+"\n", "") }, Lost, "7", []string{"eksctl-1"}},
		{"foreign entries in another order", func(s story) {
			s[4].Data[mapRoles] = ciRole + "\n" + breakGlass + nodeOurs
		}, Lost, "5", nil},
		{"another key", func(s story) { delete(s[4].Data, "notes") }, Lost, "5", nil},
		{"a label", func(s story) { s[4].Labels = nil }, Lost, "5", nil},
		{"a label that came", func(s story) { s[4].Labels["by"] = "rolecall" }, Stranger, "5", nil},
		{"a comment between entries", func(s story) { s.replaced(5, "# ask first\n", "") }, Lost, "5", nil},
		{"a comment beside a foreign entry", func(s story) { s.replaced(5, " # in a safe", "") }, Comment, "5", nil},
		{"a comment of an entry of ours that goes", func(s story) { s.replaced(10, "# seen\n", "") }, Comment, "10", nil},
		{"an entry of ours twice", func(s story) { s[6].Data[mapRoles] += nodeOurs }, Doubled, "7", nil},
		{"ours beside a foreign one", func(s story) {
			s[9].Data[mapRoles] = strings.Replace(s[9].Data[mapRoles], "# seen\n", nodeOurs+"# seen\n", 1)
		}, Doubled, "10", nil},
		{"a live node's role", func(s story) { s[4].Data[mapRoles] = breakGlass + ciRole + "\n" }, Lockout, "5", nil},
		{"a live node's role that a tool took is not put back", func(s story) { s[6].Data[mapRoles] = breakGlass + ciRole + "\n" }, Lockout, "7", nil},
		{"a live node's rights", func(s story) {
			s[4].Data[mapRoles] = strings.Replace(s[4].Data[mapRoles], "system:nodes", "viewers", 1)
		}, Lockout, "5", nil},
		{"an entry of the config", func(s story) { s[4].Data[mapUsers] = "" }, Missing, "5", nil},
		{"an entry that nobody asked for", func(s story) {
			s[11].Data[mapUsers] += strings.ReplaceAll(userOurs, "ops", "eve")
		}, Stranger, "12", nil},
		{"rights that nobody asked for", func(s story) { s.replaced(12, "viewers", "system:masters") }, Stranger, "12", nil},
		{"an entry without a mark", func(s story) {
			s[11].Data[mapRoles] = strings.ReplaceAll(s[11].Data[mapRoles], "  syncedBy: rolecall\n", "")
		}, Stranger, "12", nil},
		{"an entry of its own taken for foreign", func(s story) {
			s[4].Data[mapRoles] = s[3].Data[mapRoles]
			s[4].Data[mapUsers] = ""
		}, Disowned, "5", nil},
		// A write that was planned for version 2 and carried out on top of 4.
		{"a blind write", func(s story) { s[4].Data = maps.Clone(s[1].Data) }, Lost, "5", []string{"eksctl-1"}},
		{"a blind write that did no harm", func(s story) { *s[4].Base = "3" }, Blind, "5", nil},
		{"a write that the audit log lacks", func(s story) { *s[4].Base = "" }, Blind, "5", nil},
		{"a version that is not what its tool declared", func(s story) { s[2].Data["notes"] = "gone" }, Unexplained, "3", nil},
		{"a tool's version on top of another", func(s story) { s[2].Edit.Base = "1" }, Unexplained, "3", nil},
		{"another object", func(s story) { s[11].UID = "2" }, Recreated, "12", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := good()
			test.mutate(s)
			report, err := Check(s, rules())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(report.Violations, func(v Violation) bool {
				return v.Kind == test.kind && v.ResourceVersion == test.at && slices.Equal(v.Edits, test.edits)
			}) {
				t.Errorf("want %q of resourceVersion %s with the edits %q, found %v", test.kind, test.at, test.edits, report.Violations)
			}
			if test.edits != nil && report.Lost != len(test.edits) {
				t.Errorf("%d edits are lost, want %d", report.Lost, len(test.edits))
			}
		})
	}
}

func TestCheckFindsLeftOvers(t *testing.T) {
	r := rules()
	delete(r.Final, userARN)
	report, err := Check(good(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Violations) != 1 || report.Violations[0].Kind != LeftOver || !strings.Contains(report.Violations[0].Detail, userARN) {
		t.Errorf("found %v", report.Violations)
	}
}

func TestCheckFindsWhatStaysStripped(t *testing.T) {
	s := good()
	unmarked := strings.ReplaceAll(s[11].Data[mapRoles], "  syncedBy: rolecall\n", "")
	s.tool("stripper-2", s.roles(unmarked), StripMarks{mapRoles})
	report, err := Check(s, rules())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Violations) != 1 || report.Violations[0].Kind != Disowned {
		t.Errorf("found %v", report.Violations)
	}
}

// Of each write that was refused or lost the record and the audit log say the
// same, or it is found.
func TestAttribute(t *testing.T) {
	update := func(base string, code int) Request { return Request{"update", base, code} }
	requests := []Request{update("1", 200), update("3", 409), update("4", 200), update("6", 0), update("9", 200), update("11", 200)}
	for _, test := range []struct {
		name     string
		requests []Request
		err      string
		blind    int
	}{
		{"all there", requests, "", 0},
		{"one lacks", requests[1:], "", 1},
		{"one for two", append(slices.Clone(requests[:5]), update("9", 200)), "", 1},
		{"without a resourceVersion", append(slices.Clone(requests), update("", 200)), "without a resourceVersion", 0},
		{"a patch", append(slices.Clone(requests), Request{"patch", "", 200}), "asked to patch", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := good()
			err := Attribute(s, test.requests)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			report, err := Check(s, rules())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(report.Of(Blind)); n != test.blind {
				t.Errorf("%d blind writes, want %d: %v", n, test.blind, report.Violations)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	text := breakGlass + nodeOurs + ciRole + "\n# end\n"
	atoms, err := split(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(atoms) != 5 || join(atoms) != text {
		t.Errorf("%d atoms:\n%s", len(atoms), join(atoms))
	}
	for _, bad := range []string{"[{rolearn: x}]\n", "  - rolearn: x\n", "- rolearn: x\n\n", "# c\n  rolearn: x\n"} {
		if atoms, err := split(bad); err == nil {
			t.Errorf("%q is %v", bad, atoms)
		}
	}
}
