package configmap

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
)

// An event that comes before the answer to the write that it is of is no reason for
// a reconcile; one of somebody else's is, whenever it comes.
func TestOwnWrites(t *testing.T) {
	var w ownWrites
	check := func(when, rv string, others bool) {
		t.Helper()
		if got := w.others(version(rv, "")); got != others {
			t.Errorf("%s: %s is somebody else's: %t, want %t", when, rv, got, others)
		}
	}
	end := func(rv string, want ...string) {
		t.Helper()
		var got []string
		for _, cm := range w.end(rv) {
			got = append(got, cm.ResourceVersion)
		}
		if len(got) != len(want) || len(want) > 0 && got[0] != want[0] {
			t.Errorf("the write has become %q, and others wrote %q, want %q", rv, got, want)
		}
	}
	check("at first", "1", true)
	w.begin()
	check("before the answer", "2", false) // not known yet
	check("before the answer", "3", false)
	end("2", "3")
	check("late", "2", false)
	check("afterwards", "4", true)

	w.begin()
	check("before the answer", "5", false)
	end("", "5") // it failed, or nobody knows
	check("after a write that failed", "6", true)
	w.begin()
	end("7")
	check("nothing came meanwhile", "7", false)
}

// A reconcile expects the event of its write from before it sends it.
func TestOwnWriteIsExpected(t *testing.T) {
	x := newTestTerm(t, map[string]string{}, "first")
	written := 0
	x.client.PrependReactor("update", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == awsauth.Namespace {
			written++
			if x.own.others(version("2", "")) {
				t.Error("an event that comes before the answer passes for somebody else's")
			}
		}
		return false, nil, nil
	})
	x.must()
	if written != 1 {
		t.Errorf("aws-auth was written %d times, want once", written)
	}
}

// What others wrote after what a reconcile has read is still there to be put back.
func TestReadKeepsWhatCameAfterIt(t *testing.T) {
	p := newTestRestorer(t, nil)
	for _, cm := range []*corev1.ConfigMap{version("9", entryOf("a")), version("11", entryOf("b")), version("12", unreadable)} {
		p.saw(cm)
	}
	p.read(version("10", entryOf("ours")))
	formers, err := p.formers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range formers {
		got = append(got, f.Data["mapRoles"])
	}
	want := []string{unreadable, entryOf("b"), entryOf("ours")}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("it was %q, want %q, the newest first", got, want)
		}
	}
}
