package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
)

// listed is a config of roles for people.
func listed(hash, group string, names ...string) *config.File {
	file := &config.File{Hash: hash, Config: config.Config{RefreshInterval: time.Hour, Safety: config.Safety{OnMalformed: config.Restore}}}
	for _, name := range names {
		file.Config.Roles = append(file.Config.Roles, config.Role{ARN: roleOf(name), Username: name, Groups: []string{group}})
	}
	return file
}

// lose takes the ledger from the API server, or damages it.
func lose(t *testing.T, client *fake.Clientset, damage bool) {
	t.Helper()
	maps := client.CoreV1().ConfigMaps("n")
	if !damage {
		if err := maps.Delete(t.Context(), configmap.LedgerName, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	ledger, err := maps.Get(t.Context(), configmap.LedgerName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ledger.BinaryData[configmap.LedgerKey] = []byte("damaged")
	if _, err := maps.Update(t.Context(), ledger, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// leads has a reconciler begin a term now.
func leads(w *world, client *fake.Clientset) *Reconciler {
	r := w.reconciler(client)
	r.Term = &Term{Began: w.now, Changed: func() time.Time { return time.Time{} }, Settle: 2 * time.Minute}
	return r
}

// Without a ledger nobody knows who asked for the entries that stand. A leader only
// adds until its config has settled, and so does each one that takes over before; a
// run without a term does so once.
func TestUnsettledWithoutALedger(t *testing.T) {
	for _, damage := range []bool{false, true} {
		name := "missing"
		if damage {
			name = "damaged"
		}
		begin := func(t *testing.T) (*world, *fake.Clientset, func(string, *Reconciler, report.Settling, ...string) *report.Result) {
			w, client := newWorld(), newClient(nil)
			reconcile(t, w.reconciler(client), listed("one", "old", "a", "b"))
			lose(t, client, damage)
			return w, client, func(when string, r *Reconciler, settling report.Settling, want ...string) *report.Result {
				t.Helper()
				out := reconcile(t, r, listed("two", "new", "b", "c"))
				text := mapRoles(t, client)
				if !slices.Equal(mapped(text), want) || out.Settling != settling {
					t.Errorf("%s: it is unsettled by %q and holds\n%s\nwant %q, %q", when, out.Settling, text, settling, want)
				}
				return out
			}
		}
		t.Run(name+", in a term", func(t *testing.T) {
			w, client, check := begin(t)
			first := leads(w, client)
			if out := check("at first", first, report.StateLost, "a", "b", "c"); out.Again != 2*time.Minute {
				t.Errorf("the next reconcile is due in %s", out.Again)
			}
			if text := mapRoles(t, client); strings.Count(text, "old") != 2 || strings.Count(text, "new") != 1 {
				t.Errorf("what stands has changed:\n%s", text)
			}
			w.now = w.now.Add(time.Minute)
			next := leads(w, client)
			check("after another took over", next, report.StateLost, "a", "b", "c")
			w.now = w.now.Add(2*time.Minute - time.Second)
			check("a moment before it settles", next, report.StateLost, "a", "b", "c")
			w.now = w.now.Add(time.Second)
			check("settled", next, report.Settled, "b", "c")
			check("of another leader then", leads(w, client), report.Settled, "b", "c")
		})
		t.Run(name+", without a term", func(t *testing.T) {
			w, client, check := begin(t)
			check("the first run", w.reconciler(client), report.StateLost, "a", "b", "c")
			check("the second", w.reconciler(client), report.Settled, "b", "c")
		})
	}
}

// Neither is it unsettled where no entry stands that carries our mark: a new
// installation adopts no delay.
func TestSettledWhereNothingIsOurs(t *testing.T) {
	w, client := newWorld(), newClient(map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/theirs\n  username: theirs\n"})
	if out := reconcile(t, leads(w, client), listed("one", "new", "a")); out.Settling != report.Settled {
		t.Errorf("it is unsettled by %q", out.Settling)
	}
}

// A leader whose config differs from the one applied last only adds until its own has
// not changed for as long as kubelets take; a config that somebody has just given to
// a run without a term is the one that counts.
func TestUnsettledWhereTheConfigDiffers(t *testing.T) {
	w, client := newWorld(), newClient(nil)
	reconcile(t, w.reconciler(client), listed("one", "old", "a", "b"))
	r := leads(w, client)
	changed := time.Time{}
	r.Term.Changed = func() time.Time { return changed }
	check := func(when string, want report.Settling, names ...string) {
		t.Helper()
		out := reconcile(t, r, listed("two", "new", "b", "c"))
		if text := mapRoles(t, client); out.Settling != want || !slices.Equal(mapped(text), names) {
			t.Errorf("%s: it is unsettled by %q and holds\n%s\nwant %q, %q", when, out.Settling, text, want, names)
		}
	}
	check("at first", report.ConfigDiffers, "a", "b", "c")
	w.now = w.now.Add(time.Minute)
	changed = w.now
	w.now = w.now.Add(2*time.Minute - time.Second)
	check("not settled for long enough", report.ConfigDiffers, "a", "b", "c")
	w.now = w.now.Add(time.Second)
	check("settled", report.Settled, "b", "c")

	if out := reconcile(t, w.reconciler(client), listed("three", "new", "c")); out.Settling != report.Settled || !slices.Equal(mapped(mapRoles(t, client)), []string{"c"}) {
		t.Errorf("without a term it is unsettled by %q and holds\n%s", out.Settling, mapRoles(t, client))
	}
}

// Losses count for an hour by the clock of the leader that counts, from when it saw
// them first: the one that recorded them may have had a wrong clock.
func TestHourOfLosses(t *testing.T) {
	w, client := newWorld(), newClient(nil)
	at := func(ago time.Duration) plan.Loss { return plan.Loss{At: start.Add(-ago), Total: 1} }
	lost := []plan.Loss{at(time.Minute), at(61 * time.Minute), at(5 * time.Hour), at(-5 * time.Hour), at(25 * time.Hour)}
	count := func(r *Reconciler) int { return len(r.hour(lost)) }
	r := leads(w, client)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 4}, {30 * time.Minute, 4}, {time.Hour - time.Second, 4}, {time.Hour, 0}} {
		w.now = start.Add(step.after)
		if got := count(r); got != step.want {
			t.Errorf("after %s of the term %d count, want %d", step.after, got, step.want)
		}
	}
	w.now = start
	if got := count(w.reconciler(client)); got != 1 {
		t.Errorf("in no term %d count, want 1", got)
	}
}

// A leader whose clock is hours ahead has taken as many as an hour lets. The one after
// it, whose clock is right, lets an hour go by before it takes more.
func TestHourIsNotOfTheLeaderBefore(t *testing.T) {
	w, client := newWorld(), newClient(nil)
	names := func(n int) []string {
		var out []string
		for i := range n {
			out = append(out, string(rune('a'+i)))
		}
		return out
	}
	reconcile(t, w.reconciler(client), listed("one", "x", names(20)...))
	w.now = start.Add(3 * time.Hour)
	ahead := leads(w, client)
	ahead.Term.Settle = 0
	reconcile(t, ahead, listed("two", "x", names(15)...))
	if n := len(mapped(mapRoles(t, client))); n != 15 {
		t.Fatalf("%d entries, want 15", n)
	}
	w.now = start.Add(time.Minute)
	right := leads(w, client)
	right.Term.Settle = 0
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 15}, {59 * time.Minute, 15}, {61 * time.Minute, 10}} {
		w.now = start.Add(time.Minute + step.after)
		out := reconcile(t, right, listed("three", "x", names(10)...))
		if n := len(mapped(mapRoles(t, client))); n != step.want || len(out.Change.Removals) == 0 != (step.want == 10) {
			t.Errorf("%s into the term: %d entries, want %d; pending are %+v", step.after, n, step.want, out.Change.Removals)
		}
	}
}
