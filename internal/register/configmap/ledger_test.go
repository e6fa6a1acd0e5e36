package configmap

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
)

func TestLedgerKeepsAll(t *testing.T) {
	state := &plan.State{Config: "abc", Owned: []plan.Owned{
		owned(account("111122223333"), "file"),
		{Entry: role("a", "a", "g1", "g2"), Since: now, Claims: []plan.Claim{{Source: "file", Username: "a", Groups: []string{"g1"}}, {}}},
		pending(owned(role("a", "b"), "node")),
		owned(user("ü # \u2028", "{{SessionName}}"), "group/x"),
	}, Removals: []plan.PendingRemoval{{ID: "0123456789ab", Source: "group/x", Of: 9, Since: now, Changes: []plan.Change{
		{Op: plan.Remove, Entry: user("x", "x", "g"), Sources: []string{"group/x"}},
		{Op: plan.Update, Entry: role("y", "y"), Before: &awsauth.Entry{Kind: awsauth.Role, ARN: "y", Username: "y", Groups: []string{awsauth.Masters}}},
	}}}}
	state.Owned[2].Waiting = true
	data, wrote, err := EncodeLedger(state)
	if err != nil {
		t.Fatal(err)
	}
	again, read, err := DecodeLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	if wrote != read || len(read) != 16 {
		t.Errorf("it is written as %q and read as %q", wrote, read)
	}
	if diff := cmp.Diff(state, again); diff != "" || !state.Equal(again) {
		t.Errorf("Equal says %v (-want +got):\n%s", state.Equal(again), diff)
	}
	if twice, _, err := EncodeLedger(again); err != nil || !bytes.Equal(data, twice) {
		t.Errorf("the same ledger has other bytes: %v", err)
	}
}

func TestLedgerEqual(t *testing.T) {
	base := func() *plan.State {
		return &plan.State{Config: "1", Owned: []plan.Owned{owned(role("a", "a", "g1", "g2"), "file")}}
	}
	if !base().Equal(base()) {
		t.Error("a ledger is not equal to itself")
	}
	for name, change := range map[string]func(*plan.State){
		"config":         func(l *plan.State) { l.Config = "2" },
		"one more":       func(l *plan.State) { l.Owned = append(l.Owned, owned(role("b", "b"), "file")) },
		"ARN":            func(l *plan.State) { l.Owned[0].ARN += "x" },
		"kind":           func(l *plan.State) { l.Owned[0].Kind = awsauth.User },
		"username":       func(l *plan.State) { l.Owned[0].Username = "b" },
		"groups":         func(l *plan.State) { l.Owned[0].Groups = []string{"g1"} },
		"pending":        func(l *plan.State) { l.Owned[0].Pending = true },
		"lost":           func(l *plan.State) { l.Lost = []plan.Loss{{At: now, Total: 1}} },
		"adopted marks":  func(l *plan.State) { l.Adopt = []string{"some-tool"} },
		"waiting":        func(l *plan.State) { l.Owned[0].Waiting = true },
		"hold":           func(l *plan.State) { l.Removals = []plan.PendingRemoval{{ID: "a"}} },
		"since":          func(l *plan.State) { l.Owned[0].Since = now },
		"claim's source": func(l *plan.State) { l.Owned[0].Claims[0].Source = "node" },
		"claim's name":   func(l *plan.State) { l.Owned[0].Claims[0].Username = "b" },
		"claim's groups": func(l *plan.State) { l.Owned[0].Claims[0].Groups = nil },
		"no claim":       func(l *plan.State) { l.Owned[0].Claims = nil },
	} {
		other := base()
		change(other)
		if base().Equal(other) || other.Equal(base()) {
			t.Errorf("%s: no difference is seen", name)
		}
	}
	local := base()
	local.Owned[0].Since = local.Owned[0].Since.In(time.FixedZone("x", 3600))
	if !base().Equal(local) {
		t.Error("another time zone is a difference")
	}
}

func zipped(tb testing.TB, text string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestDecodeLedger(t *testing.T) {
	whole := zipped(t, `{"version":1,"owned":[]}`)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6] ^= 1 // in the checksum
	tests := []struct {
		name string
		data []byte
		want string // in the error; empty for none
	}{
		{"none", nil, ""},
		{"empty", []byte{}, ""},
		{"fields of a later day", zipped(t, `{"version":1,"owned":[{"kind":"role","arn":"x","mood":"fine"}],"more":1}`), ""},
		{"not packed", []byte(`{"version":1}`), "unpack the ledger"},
		{"cut", whole[:len(whole)-9], "unpack the ledger"},
		{"flipped", flipped, "unpack the ledger"},
		{"not JSON", zipped(t, "owned: []"), "read the ledger"},
		{"another shape", zipped(t, `{"version":1,"owned":{}}`), "read the ledger"},
		{"newer", zipped(t, `{"version":2,"owned":[]}`), "upgrade this one"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, _, err := DecodeLedger(test.data)
			if test.want == "" {
				if err != nil || l == nil {
					t.Fatalf("got %v, %v", l, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || l != nil {
				t.Errorf("got %v, %v, want %q", l, err, test.want)
			}
			if errors.Is(err, ErrNewerLedger) != (test.name == "newer") {
				t.Errorf("%v is taken for a newer ledger", err)
			}
		})
	}
}

// TestLedgerBomb does not unpack without end.
func TestLedgerBomb(t *testing.T) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range ledgerMax>>20 + 1 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := DecodeLedger(out.Bytes()); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("got %v", err)
	}
}

// Much fits into little, and each object takes many times its text.
func TestLedgerOfManyObjects(t *testing.T) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	fmt.Fprintf(zip, `{"version": 1, "owned": [{}%s]}`, strings.Repeat(",{}", ledgerObjects))
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := DecodeLedger(packed.Bytes()); err == nil || !strings.Contains(err.Error(), "objects") {
		t.Errorf("%d bytes were taken for a ledger: %v", packed.Len(), err)
	}
}

// TestAFullAwsAuthFitsTheLedger packs the entries of an aws-auth of 1 MiB,
// each with a name of its own, each of several sources, each about to change:
// the old one and the new one beside each other.
func TestAFullAwsAuthFitsTheLedger(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a full aws-auth: not with -short")
	}
	r := rand.New(rand.NewPCG(1, 1))
	hex := func() string { return fmt.Sprintf("%016x", r.Uint64()) }
	var state plan.State
	size := 0
	for size < awsauth.Limit {
		o := plan.Owned{Entry: user(hex(), hex()[:8], "developers", "viewers", "team-"+hex()[:2]), Since: now.Add(time.Duration(r.IntN(1e6)) * time.Second)}
		if r.IntN(10) == 0 {
			o.Entry = role("AWSReservedSSO_"+hex(), "system:node:{{EC2PrivateDNSName}}", "system:nodes")
		}
		for _, g := range []string{"developers", "team-" + hex()[:2]} {
			o.Claims = append(o.Claims, plan.Claim{Source: "group/" + g, Username: o.Username, Groups: []string{g}})
		}
		state.Owned = append(state.Owned, o)
		size += len(marked(o.Entry))
	}
	entries := len(state.Owned)
	for _, o := range state.Owned[:entries] {
		o.Groups = append([]string{"new"}, o.Groups...)
		state.Owned = append(state.Owned, pending(o))
	}
	state.Sort()
	data, _, err := EncodeLedger(&state)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries of %d bytes in aws-auth take %d bytes", entries, size, len(data))
	if len(data) > awsauth.Limit {
		t.Errorf("%d entries take %d bytes, more than a ConfigMap holds", entries, len(data))
	}
	if again, _, err := DecodeLedger(data); err != nil || !again.Equal(&state) {
		t.Errorf("read back: %v", err)
	}
}

// TestLedgerSort makes one ledger of one set.
func TestLedgerSort(t *testing.T) {
	want := []plan.Owned{owned(account("1")), owned(role("A", "x")), pending(owned(role("a", "y"))), owned(role("b", "x")), owned(user("a", "x"))}
	for seed := range uint64(10) {
		l := &plan.State{Owned: append([]plan.Owned{}, want...)}
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(l.Owned), func(i, j int) { l.Owned[i], l.Owned[j] = l.Owned[j], l.Owned[i] })
		l.Sort()
		if diff := cmp.Diff(want, l.Owned); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}
