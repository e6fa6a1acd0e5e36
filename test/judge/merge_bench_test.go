package judge

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	theirs "sigs.k8s.io/aws-iam-authenticator/pkg/mapper/configmap"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
)

// A large cluster's aws-auth: about 890 kB of the 1 MiB that it may have.
const (
	manyUsers = 5000
	manyRoles = 500
)

func entries(users, roles int) []awsauth.Entry {
	var out []awsauth.Entry
	for i := range users {
		out = append(out, awsauth.Entry{
			Kind: awsauth.User, ARN: fmt.Sprintf("arn:aws:iam::111122223333:user/team/user-%05d", i),
			Username: fmt.Sprintf("user-%05d", i), Groups: []string{"developers", "viewers"},
		})
	}
	for i := range roles {
		out = append(out, awsauth.Entry{
			Kind: awsauth.Role, ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/node-%05d", i),
			Username: "system:node:{{EC2PrivateDNSName}}", Groups: []string{"system:bootstrappers", "system:nodes"},
		})
	}
	return out
}

func asking(entries []awsauth.Entry) plan.Snapshot {
	return plan.Snapshot{Now: now, Sources: []plan.Source{{Name: "file", Entries: entries}}}
}

// merge is what a leader does with aws-auth in one reconcile.
func merge(tb testing.TB, data map[string]string, state *plan.State, req plan.Snapshot) *configmap.Plan {
	doc, err := awsauth.Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	req.State = state
	p := configmap.MakePlan(doc, 0, req)
	if len(p.Left) > 0 {
		tb.Fatalf("left out: %+v", p.Left)
	}
	return p
}

// floor is the least that anything can do that reads and writes aws-auth: the
// authenticator's own parse and encode.
func floor(tb testing.TB, data map[string]string) {
	users, roles, accounts, err := theirs.ParseMap(data)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := theirs.EncodeMap(users, roles, accounts); err != nil {
		tb.Fatal(err)
	}
}

// passes are merges into documents of 5,500 entries, or to such.
func passes(tb testing.TB) []pass {
	all := entries(manyUsers, manyRoles)
	full := merge(tb, nil, nil, asking(all))
	if len(full.Managed) != len(all) || len(full.NoRoom) > 0 {
		tb.Fatalf("%d of %d entries found room", len(full.Managed), len(all))
	}
	other := slices.Clone(all)
	other[0].ARN += "-successor"
	changed := slices.Clone(all)
	for i := range changed {
		changed[i].Username += "x"
	}
	half := entries(manyUsers/2, manyRoles/2)
	unmarked := merge(tb, nil, nil, asking(slices.DeleteFunc(slices.Clone(all), func(e awsauth.Entry) bool {
		return slices.ContainsFunc(half, func(h awsauth.Entry) bool { return h.ARN == e.ARN })
	}))).After.Data()
	for k, text := range unmarked {
		unmarked[k] = strings.ReplaceAll(text, "  syncedBy: rolecall\n", "")
	}
	return []pass{
		{"steady", full.After.Data(), full.Settled, asking(all), 0},
		{"change-one", full.After.Data(), full.Settled, asking(other), 2},
		{"change-all", full.After.Data(), full.Settled, asking(changed), len(all)},
		{"all-new", nil, nil, asking(all), len(all)},
		{"half-new", unmarked, nil, asking(half), len(half)},
	}
}

type pass struct {
	name    string
	data    map[string]string
	state   *plan.State
	req     plan.Snapshot
	changes int
}

// BenchmarkMerge measures merges of 5,000 users and 500 roles, each beside the
// floor for the text that comes out: x-floor is the time as a multiple of the
// floor's in the same run.
func BenchmarkMerge(b *testing.B) {
	for _, p := range passes(b) {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			var ours, floors time.Duration
			for b.Loop() {
				start := time.Now()
				made := merge(b, p.data, p.state, p.req)
				ours += time.Since(start)
				b.StopTimer()
				if len(made.Changes) != p.changes {
					b.Fatalf("%d changes instead of %d", len(made.Changes), p.changes)
				}
				runtime.GC() // each pays for its own garbage
				start = time.Now()
				floor(b, made.After.Data())
				floors += time.Since(start)
				runtime.GC()
				b.StartTimer()
			}
			b.ReportMetric(float64(ours)/float64(floors), "x-floor")
		})
	}
}

// BenchmarkFloor is what x-floor is a multiple of.
func BenchmarkFloor(b *testing.B) {
	data := passes(b)[0].data
	b.ReportAllocs()
	for b.Loop() {
		floor(b, data)
	}
}

// TestMergeIsLinear doubles the entries: what a merge allocates about doubles.
func TestMergeIsLinear(t *testing.T) {
	allocated := func(n int, pick func([]awsauth.Entry) []awsauth.Entry) uint64 {
		all := entries(n, n/10)
		full := merge(t, nil, nil, asking(all))
		req := asking(pick(all))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		merge(t, full.After.Data(), full.Settled, req)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for name, pick := range map[string]func([]awsauth.Entry) []awsauth.Entry{
		"steady":     func(all []awsauth.Entry) []awsauth.Entry { return all },
		"change-one": func(all []awsauth.Entry) []awsauth.Entry { return all[1:] },
		"change-all": func(all []awsauth.Entry) []awsauth.Entry {
			for i := range all {
				all[i].Groups = nil
			}
			return all
		},
		"all-gone": func([]awsauth.Entry) []awsauth.Entry { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			once, twice := allocated(500, pick), allocated(1000, pick)
			if ratio := float64(twice) / float64(once); ratio > 2.5 {
				t.Errorf("twice the entries take %.1f times the bytes: %d instead of %d", ratio, twice, once)
			}
		})
	}
}
