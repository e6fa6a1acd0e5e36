package configmap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/internal/register"
)

// written is aws-auth as somebody left it.
func written(version, who, roles string, at time.Time) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{ResourceVersion: version, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: who, Time: &metav1.Time{Time: at}}}},
		Data:       map[string]string{"mapRoles": roles, "theirs": version},
	}
}

// A term remembers its own writes and those of others, each once.
func TestDiary(t *testing.T) {
	now := time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
	d := &diary{keep: 10, now: func() time.Time { return now }}
	a := written("1", "kubectl-edit", "a\n", now)
	d.found(a, true)
	d.found(a, true)
	b := written("2", FieldManager, "a\nb\n", now)
	d.wrote(&observation{cm: a, exists: true}, b, "1 added")
	d.found(b, true)
	c := written("3", "kubectl-edit", "b\n", now.Add(time.Minute))
	d.found(c, true)
	e := written("5", FieldManager, "b\nd\n", now)
	d.wrote(&observation{cm: written("4", "terraform", "b\n", now.Add(2*time.Minute)), exists: true}, e, "1 more") // found by the write alone
	d.found(&corev1.ConfigMap{}, false)
	want := []register.Write{
		{At: now, Who: "unknown", Why: "deleted", Diffs: []register.Diff{{Key: "mapRoles", Text: "@@ -1,2 +0,0 @@\n-b\n-d\n"}}},
		{At: now, Why: "1 more", Diffs: []register.Diff{{Key: "mapRoles", Text: "@@ -1 +1,2 @@\n b\n+d\n"}}},
		{At: now.Add(2 * time.Minute), Who: "terraform"},
		{At: now.Add(time.Minute), Who: "kubectl-edit", Diffs: []register.Diff{{Key: "mapRoles", Text: "@@ -1,2 +1 @@\n-a\n b\n"}}},
		{At: now, Why: "1 added", Diffs: []register.Diff{{Key: "mapRoles", Text: "@@ -1 +1,2 @@\n a\n+b\n"}}},
	}
	if diff := cmp.Diff(want, d.writes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	none := &diary{now: time.Now}
	none.wrote(&observation{cm: a, exists: true}, b, "x")
	if none.writes != nil || none.last != nil {
		t.Error("a diary that keeps nothing keeps something")
	}
}

// However much is written, little is kept, and what was handed out stays as it is.
func TestDiaryIsBounded(t *testing.T) {
	d := &diary{keep: 3, now: time.Now}
	var all strings.Builder
	for i := range 26_000 {
		fmt.Fprintf(&all, "- a line of aws-auth, number %d\n", i)
	}
	full := written("0", "x", all.String(), time.Now())
	var out []register.Write
	for i := range 5 {
		out = d.writes
		d.wrote(&observation{cm: written("", "", "", time.Now())}, full, fmt.Sprint(i))
	}
	if len(d.writes) != 3 || d.writes[0].Why != "4" {
		t.Errorf("kept are %d writes", len(d.writes))
	}
	if len(out) != 3 || out[0].Why != "3" {
		t.Error("what was handed out has changed")
	}
	for _, w := range d.writes {
		for _, diff := range w.Diffs {
			kept := strings.Count(diff.Text, "\n")
			if len(diff.Text) > diffMax || len(diff.Text) < diffMax-100 || kept+diff.Left != 26_001 {
				t.Errorf("kept are %d bytes, %d lines and %d left", len(diff.Text), kept, diff.Left)
			}
		}
	}
}

// A difference of a full aws-auth is quickly found: the work waits for it.
func BenchmarkDiffOfFullAWSAuth(b *testing.B) {
	var before, after strings.Builder
	for i := range 26_000 {
		fmt.Fprintf(&before, "- a line of aws-auth, number %d\n", i)
		fmt.Fprintf(&after, "- a line of aws-auth, number %d\n", i*7%26_000)
	}
	for b.Loop() {
		diffs(map[string]string{"mapRoles": before.String()}, map[string]string{"mapRoles": after.String()})
	}
}
