package configmap

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/register"
)

// validating has an API server refuse what the real one does of a ConfigMap: a key that
// is in data and in binaryData, and another data of one that is immutable.
func validating(client *fake.Clientset) {
	client.PrependReactor("update", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		cm, ok := action.(clienttesting.UpdateAction).GetObject().(*corev1.ConfigMap) //nolint:forcetypeassert // it is an update
		if !ok {
			return false, nil, nil
		}
		invalid := func(why string) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, cm.Name+": "+why, nil)
		}
		for key := range cm.BinaryData {
			if _, both := cm.Data[key]; both {
				return invalid("duplicate of key present in data: " + key)
			}
		}
		got, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("configmaps"), cm.Namespace, cm.Name)
		if err != nil {
			return true, nil, err
		}
		was := got.(*corev1.ConfigMap) //nolint:forcetypeassert // of that resource
		if ptr.Deref(was.Immutable, false) && (!reflect.DeepEqual(was.Data, cm.Data) || !reflect.DeepEqual(was.BinaryData, cm.BinaryData) || !ptr.Deref(cm.Immutable, false)) {
			return invalid("field is immutable when `immutable` is set")
		}
		return false, nil, nil
	})
}

// inUTF16 is a text as Windows' PowerShell writes it to a file.
func inUTF16(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return out
}

// good are texts of each key.
var good = map[string]string{
	"mapRoles":    entryOf("theirs"),
	"mapUsers":    "- userarn: arn:aws:iam::111122223333:user/ana\n  username: ana\n",
	"mapAccounts": "- \"444455556666\"\n",
}

// A key of aws-auth that stands in binaryData, or that is not UTF-8, is one that the
// authenticator cannot read. It is put back, and its bytes are in the history.
func TestKeysThatAreNoText(t *testing.T) {
	bodies := map[string]func(text string) []byte{
		"UTF-16":          inUTF16,
		"UTF-16 backward": func(string) []byte { return []byte{0xfe, 0xff, 0, '-', 0, '\n'} },
		"UTF-16 bare":     func(text string) []byte { return inUTF16(text)[2:] },
		"Latin-1":         func(text string) []byte { return []byte(text + "# caf\xe9\n") },
		"good UTF-8":      func(text string) []byte { return []byte(text) },
		"nothing":         func(string) []byte { return nil },
	}
	for _, key := range awsauth.Keys {
		for encoded, body := range bodies {
			for _, known := range []string{"this term", "the history", "both, the newest being as broken"} {
				if known != "this term" && encoded != "UTF-16" {
					continue
				}
				t.Run(key+"/"+encoded+"/"+known, func(t *testing.T) {
					data := maps.Clone(good)
					data["theirs"] = "kept"
					x := newTestTerm(t, data, "workers")
					validating(x.client)
					x.must()
					x.must()
					was := x.current()
					if known != "this term" {
						x.anew()
					}
					broken := body(was.Data[key])
					broke := func(cm *corev1.ConfigMap) {
						delete(cm.Data, key)
						cm.BinaryData = map[string][]byte{key: broken, "other": {0xff}}
					}
					if known == "both, the newest being as broken" {
						// As versions record it that read no binaryData.
						cm := was.DeepCopy()
						broke(cm)
						cm.BinaryData["more"] = nil
						cm.ResourceVersion = "7"
						if err := x.restorer.recordNow(t.Context(), record{cm: cm}); err != nil {
							t.Fatal(err)
						}
						x.restorer.saw(cm)
					}
					x.edit(broke)
					o, written := x.must()
					now := x.current()
					if !maps.Equal(now.Data, was.Data) || !reflect.DeepEqual(now.BinaryData, map[string][]byte{"other": {0xff}}) {
						t.Errorf("it holds %q %v, want %q", now.Data, now.BinaryData, was.Data)
					}
					if !strings.Contains(o.Restored, key) || !strings.Contains(o.Restored, "binaryData") || written.History != nil {
						t.Errorf("put back is %q, %v", o.Restored, written.History)
					}
					wantKept(t, x, key, broken)
					if x.must(); len(x.writes()) == 0 {
						t.Error("nothing was written") // by all of the above
					}
					if x.must(); len(x.writes()) != 0 {
						t.Error("it is written again")
					}
				})
			}
		}
	}
}

// wantKept wants a broken revision that has the bytes of a key.
func wantKept(t *testing.T, x *testTerm, key string, body []byte) {
	t.Helper()
	all, err := x.restorer.revisions.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		c, err := all[i].Content()
		if err != nil {
			t.Fatal(err)
		}
		has, binary := c.BinaryData[key]
		if !binary {
			has = []byte(c.Data[key])
		}
		if all[i].Broken != "" && bytes.Equal(has, body) {
			return
		}
	}
	t.Errorf("no broken revision of %d has the bytes of %s", len(all), key)
}

// So is a text under data that is not UTF-8, which a client that speaks protobuf can write.
func TestTextThatIsNotUTF8(t *testing.T) {
	for _, key := range awsauth.Keys {
		x := newTestTerm(t, good)
		x.must()
		was := x.current()
		broken := was.Data[key] + "# \xe9\xff\n"
		x.edit(func(cm *corev1.ConfigMap) { cm.Data[key] = broken })
		x.must()
		if now := x.current(); !maps.Equal(now.Data, was.Data) {
			t.Errorf("%s: it holds %q, want %q", key, now.Data, was.Data)
		}
		wantKept(t, x, key, []byte(broken))
	}
}

// Where no good text is known, or none is to be put back, the key is left alone, and the
// others are reconciled.
func TestBinaryKeyWithoutAGoodText(t *testing.T) {
	for name, restore := range map[string]bool{"nothing is known": true, "nothing is to be put back": false} {
		x := newTestTerm(t, map[string]string{"mapRoles": ""}, "workers")
		validating(x.client)
		x.rules.Restore = restore
		body := inUTF16(good["mapUsers"])
		x.edit(func(cm *corev1.ConfigMap) { cm.BinaryData = map[string][]byte{"mapUsers": body} })
		x.want = append(x.want, user("bob", "bob"))
		o, _ := x.must()
		cm := x.current()
		if !strings.Contains(cm.Data["mapRoles"], "role/workers") || !bytes.Equal(cm.BinaryData["mapUsers"], body) || cm.Data["mapUsers"] != "" {
			t.Errorf("%s: it holds %q %q", name, cm.Data, cm.BinaryData)
		}
		if len(o.Unreadable) != 1 || o.Unreadable[0].Key != "mapUsers" || !strings.Contains(o.Unreadable[0].Error(), "UTF-16") || o.Unrestored == nil {
			t.Errorf("%s: unreadable are %v, %v", name, o.Unreadable, o.Unrestored)
		}
		all, err := x.restorer.revisions.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if c, err := all[i].Content(); err != nil || (c.BinaryData != nil) != (all[i].Broken != "") {
				t.Errorf("%s: revision %d is recorded as broken by %q, %v", name, all[i].Number, all[i].Broken, err)
			}
		}
	}
}

// A deleted aws-auth comes back with the newest labels and annotations that are known,
// also where its newest content could not be read.
func TestDeletedComesBackWithItsLabels(t *testing.T) {
	for _, known := range []string{"this term", "the history"} {
		for _, broken := range []bool{false, true} {
			x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs")}, "workers")
			x.must()
			was := x.edit(func(cm *corev1.ConfigMap) { cm.Labels = map[string]string{"team": "a"} })
			x.must()
			x.clock = x.clock.Add(describeEvery)
			last := x.edit(func(cm *corev1.ConfigMap) {
				cm.Labels, cm.Annotations["theirs"] = map[string]string{"team": "b"}, "2"
				if broken {
					cm.BinaryData = map[string][]byte{"mapRoles": inUTF16(cm.Data["mapRoles"])}
					delete(cm.Data, "mapRoles")
				}
			})
			if broken {
				if err := x.restorer.recordNow(t.Context(), record{cm: last, broken: "it is"}); err != nil {
					t.Fatal(err)
				}
				x.restorer.saw(last)
				x.restorer.unsure()
			} else {
				x.must()
			}
			if known == "the history" {
				x.anew()
			}
			x.remove()
			if _, _, err := x.reconcile(); !errors.Is(err, errJustDeleted) {
				t.Fatal(err)
			}
			x.clock = x.clock.Add(deletedGrace)
			x.must()
			now := x.current()
			if now.Data["mapRoles"] != was.Data["mapRoles"] || now.Labels["team"] != "b" || now.Annotations["theirs"] != "2" || len(now.BinaryData) > 0 {
				t.Errorf("by %s, the newest content broken %t: it is %v %v\n%q %q", known, broken, now.Labels, now.Annotations, now.Data, now.BinaryData)
			}
		}
	}
}

// Of a deleted aws-auth that had a key which could not be read, and no good text of it is
// known, the other keys come back all the same, and that one as it was.
func TestDeletedWithAnUnreadableKey(t *testing.T) {
	for name, broke := range map[string]func(*corev1.ConfigMap){
		"text":   func(cm *corev1.ConfigMap) { cm.Data["mapUsers"] = unreadable },
		"binary": func(cm *corev1.ConfigMap) { cm.BinaryData = map[string][]byte{"mapUsers": inUTF16(good["mapUsers"])} },
	} {
		for _, known := range []string{"this term", "the history"} {
			t.Run(name+"/"+known, func(t *testing.T) {
				x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs"), "other": "kept"}, "workers")
				validating(x.client)
				x.edit(broke)
				x.must()
				x.must()
				was := x.current()
				if known != "this term" {
					x.anew()
				}
				x.remove()
				if _, _, err := x.reconcile(); !errors.Is(err, errJustDeleted) {
					t.Fatal(err)
				}
				x.clock = x.clock.Add(deletedGrace)
				x.must()
				if now := x.current(); !maps.Equal(now.Data, was.Data) || !reflect.DeepEqual(now.BinaryData, was.BinaryData) {
					t.Errorf("it holds %q %q, want %q %q", now.Data, now.BinaryData, was.Data, was.BinaryData)
				}
				x.must()
				if x.writes(); len(x.writes()) > 0 {
					t.Error("it is written again")
				}
			})
		}
	}
}

// Another tool's heartbeat makes no revision, and asks for none; a label that is new is
// recorded soon.
func TestHeartbeatsAreNotRecorded(t *testing.T) {
	x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs")}, "workers")
	x.must()
	x.must()
	count := func() (n int, labels map[string]string) {
		all, err := x.restorer.revisions.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := all[0].Content()
		if err != nil {
			t.Fatal(err)
		}
		return len(all), c.Annotations
	}
	before, _ := count()
	x.client.ClearActions()
	beats := 0
	for range 20 * 60 / 11 { // for twenty minutes
		x.clock = x.clock.Add(11e9)
		beats++
		x.edit(func(cm *corev1.ConfigMap) { cm.Annotations["heartbeat"] = fmt.Sprint(beats) })
		x.must()
	}
	written := 0
	for _, a := range x.client.Actions() {
		if a.GetResource().Resource == "controllerrevisions" && (a.GetVerb() == "create" || a.GetVerb() == "update") {
			written++
		}
	}
	if written > 3 {
		t.Errorf("%d heartbeats made %d revisions be written, want one in ten minutes", beats, written)
	}
	_, again, err := x.restorer.record(t.Context(), record{cm: x.current()})
	if err != nil || again <= 0 || again > describeEvery {
		t.Errorf("the newest is recorded in %s, %v", again, err)
	}
	x.clock = x.clock.Add(describeEvery)
	x.must()
	if after, annotations := count(); after != before || annotations["heartbeat"] != fmt.Sprint(beats) {
		t.Errorf("%d revisions, want %d; it has %v", after, before, annotations)
	}
}

// An immutable aws-auth is not written, neither is the ledger, and what to do is said.
// Once it was made anew it is.
func TestImmutable(t *testing.T) {
	for name, test := range map[string]struct {
		data    map[string]string
		roles   []string
		fails   bool
		message string
	}{
		"nothing is to be written": {data: map[string]string{"mapRoles": entryOf("theirs")}},
		"an entry is to be added":  {data: map[string]string{"mapRoles": entryOf("theirs")}, roles: []string{"workers"}, fails: true},
		"it cannot be read":        {data: map[string]string{"mapRoles": unreadable}, roles: []string{"workers"}, fails: true, message: "locked out"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTestTerm(t, map[string]string{"mapRoles": entryOf("theirs")})
			validating(x.client)
			x.must()
			x.want = newTestTerm(t, nil, test.roles...).want
			x.edit(func(cm *corev1.ConfigMap) { cm.Data, cm.Immutable = test.data, ptr.To(true) })
			x.writes()
			o, _, err := x.reconcile()
			fixed := (*register.ImmutableError)(nil)
			if errors.As(err, &fixed) != test.fails || (err != nil) != test.fails || errors.Is(err, register.ErrMalformed) != (test.message != "") {
				t.Fatalf("the error is %v", err)
			}
			if fixed == nil {
				fixed = o.Immutable
			}
			const command = "kubectl -n kube-system get configmap aws-auth -o yaml | sed '/^immutable: true$/d' | kubectl replace --force -f -"
			if o.Immutable == nil || !strings.Contains(fixed.Error(), command) {
				t.Errorf("it says %v", fixed)
			}
			if done := x.writes(); len(done) > 0 && test.fails {
				t.Errorf("it did %q", done)
			}
			was := x.current()
			x.remove()
			was.Immutable = nil
			if err := x.client.Tracker().Add(was); err != nil {
				t.Fatal(err)
			}
			x.must()
			for _, role := range test.roles {
				if now := x.current().Data["mapRoles"]; !strings.Contains(now, "role/"+role) || !strings.Contains(now, "role/theirs") {
					t.Errorf("once it is no longer immutable it holds\n%s", now)
				}
			}
		})
	}
	t.Run("the ledger", func(t *testing.T) {
		x := newTestTerm(t, map[string]string{}, "a")
		x.must()
		ledger, err := x.ledgerStore.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ledger.Immutable = ptr.To(true)
		if _, err := x.ledgerStore.Put(t.Context(), ledger); err != nil {
			t.Fatal(err)
		}
		x.anew()
		x.want = x.want[:0]
		x.writes()
		_, _, err = x.reconcile()
		if fixed := (*register.ImmutableError)(nil); !errors.As(err, &fixed) || fixed.Name != LedgerName || fixed.Namespace != "n" {
			t.Errorf("the error is %v", err)
		}
		if done := x.writes(); len(done) > 0 {
			t.Errorf("it did %q", done)
		}
	})
}
