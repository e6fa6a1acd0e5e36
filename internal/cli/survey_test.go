package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
)

// leaseOf is a Lease of 15 s that holder has renewed that long ago and on which
// somebody has said how it does.
func leaseOf(holder string, ago time.Duration, said string) *coordinationv1.Lease {
	seconds := int32(15)
	renewed := metav1.NewMicroTime(time.Now().Add(-ago))
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "rolecall", ResourceVersion: "1"}}
	l.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed, AcquireTime: &renewed}
	if said != "" {
		l.Annotations = map[string]string{report.StatusAnnotation: said}
	}
	return l
}

// newSurveyor looks at a cluster whose Lease is what leases returns, the first
// one for the first request, and in which there is nothing else.
func newSurveyor(leases ...*coordinationv1.Lease) *surveyor {
	client := fake.NewClientset()
	client.PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		l := leases[0]
		if len(leases) > 1 {
			leases = leases[1:]
		}
		return true, l, nil
	})
	return &surveyor{objects: &objects{client, "n", "kube-system", "aws-auth"}, leaseName: "rolecall"}
}

// A Lease that looks stale may only be of a leader whose clock is behind: while
// it is renewed it is not.
func TestStaleLease(t *testing.T) {
	renewed := func(l *coordinationv1.Lease) *coordinationv1.Lease {
		l = l.DeepCopy()
		l.ResourceVersion = "2"
		return l
	}
	for name, tt := range map[string]struct {
		leases func() []*coordinationv1.Lease
		want   bool
		took   time.Duration
	}{
		"fresh":  {func() []*coordinationv1.Lease { return []*coordinationv1.Lease{leaseOf("a_1", time.Second, "")} }, false, 0},
		"silent": {func() []*coordinationv1.Lease { return []*coordinationv1.Lease{leaseOf("a_1", time.Minute, "")} }, true, staleLook},
		"of a clock that is behind": {func() []*coordinationv1.Lease {
			l := leaseOf("a_1", time.Hour, "")
			return []*coordinationv1.Lease{l, l, renewed(l)}
		}, false, 2 * time.Second},
		"released long ago": {func() []*coordinationv1.Lease { return []*coordinationv1.Lease{leaseOf("", time.Hour, "")} }, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSurveyor(tt.leases()...)
				begun := time.Now()
				_, stale, err := s.lease(t.Context())
				if took := time.Since(begun); err != nil || stale != tt.want || took != tt.took {
					t.Errorf("stale is %t after %s (%v), want %t after %s", stale, took, err, tt.want, tt.took)
				}
			})
		})
	}
}

// What somebody else than the holder has said on the Lease is not the leader's.
func TestStatusOfAnotherLeader(t *testing.T) {
	for holder, want := range map[string]bool{"a_1": true, "b_2": false} {
		s := newSurveyor(leaseOf(holder, time.Second, `{"leader":"a_1","result":"error","error":"down"}`))
		v := s.look(t.Context())
		if told := v.Status != nil; told != want {
			t.Errorf("%s leads: what a_1 said is shown: %t, want %t", holder, told, want)
		}
		if said := strings.Contains(strings.Join(v.Problems, "\n"), "down"); said != want {
			t.Errorf("%s leads: that a_1's pass failed is said: %t, want %t", holder, said, want)
		}
	}
	s := newSurveyor(leaseOf("a_1", time.Second, "{"))
	if v := s.look(t.Context()); len(v.Unread) != 1 || v.Health != healthGood {
		t.Errorf("what cannot be read of it: %+v, health %s", v.Unread, v.Health)
	}
}

// Every problem makes health bad; what is unread makes it unknown only where
// health depends on it and nothing bad is known.
func TestHealth(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))
	good := func() *raw {
		return &raw{
			lease:   leaseOf("a_1", time.Second, `{"leader":"a_1","result":"unchanged"}`),
			ledger:  &plan.State{},
			awsAuth: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1"}}, awsAuthExists: true,
		}
	}
	says := func(body string) func(*raw) {
		return func(r *raw) { r.lease = leaseOf("a_1", time.Second, `{"leader":"a_1",`+body+`}`) }
	}
	hold := plan.PendingRemoval{ID: "0123456789ab", Source: "file", Of: 9, Changes: make([]plan.Change, 6), Since: time.Now()}
	for name, tt := range map[string]struct {
		change func(*raw)
		want   health
		text   string // of the only problem
	}{
		"all well":            {func(*raw) {}, healthGood, ""},
		"nothing said yet":    {func(r *raw) { r.lease.Annotations = nil }, healthGood, ""},
		"no ledger yet":       {func(r *raw) { r.ledger, r.ledgerErr = nil, errNoLedger }, healthGood, ""},
		"no lease to read":    {func(r *raw) { r.lease, r.leaseErr = nil, forbidden }, healthUnknown, ""},
		"no ledger to read":   {func(r *raw) { r.ledger, r.ledgerErr = nil, forbidden }, healthUnknown, ""},
		"no aws-auth to read": {func(r *raw) { r.awsAuth, r.awsAuthErr = nil, forbidden }, healthUnknown, ""},
		"the rest unread":     {func(r *raw) { r.setErr, r.rosterErr, r.revisionsErr = forbidden, forbidden, forbidden }, healthGood, ""},
		"bad, and no ledger to read": {func(r *raw) {
			r.stale, r.ledger, r.ledgerErr = true, nil, forbidden
		}, healthBad, "nobody leads"},
		"stale":           {func(r *raw) { r.stale = true }, healthBad, "nobody leads: node a holds the Lease"},
		"released":        {func(r *raw) { r.lease = leaseOf("", time.Minute, "") }, healthBad, "nobody leads: the Lease was released"},
		"pass failed":     {says(`"result":"error","error":"e"`), healthBad, "the leader's last pass failed"},
		"conflict passes": {says(`"result":"conflict","error":"e"`), healthGood, ""},
		"config refused":  {says(`"configError":{"error":"e"}`), healthBad, "the config is refused"},
		"source":          {says(`"sources":[{"name":"file","trouble":{"error":"e"}}]`), healthBad, "source file has failed"},
		"more sources":    {says(`"more":3,"moreFailed":2`), healthBad, "2 more sources fail"},
		"conflicts":       {says(`"conflicts":2`), healthBad, "2 more foreign entries"},
		"refused reports": {says(`"refused":1,"refusedSome":[{"lease":"l","error":"e"}]`), healthBad, "the role that Lease l reports"},
		"no room":         {says(`"noRoom":1`), healthBad, "aws-auth is full"},
		"no history":      {says(`"history":"e"`), healthBad, "no revision of aws-auth can be kept"},
		"adding only":     {says(`"addOnly":true`), healthGood, ""},
		"ledger lost":     {says(`"addOnly":true,"settling":"state"`), healthGood, ""},
		"left out":        {says(`"left":1,"leftSome":["add of a: why"]`), healthBad, "left out, the leader tries it again: add of a: why"},
		"more left out":   {says(`"left":2`), healthBad, "2 more changes are left out"},
		"managed elsewhere, as the leader says": {
			says(`"result":"elsewhere","owner":"m","error":"e"`), healthBad, "the leader writes nothing: e",
		},
		"managed elsewhere, as aws-auth says": {func(r *raw) {
			r.awsAuth.Annotations = map[string]string{configmap.InstallationAnnotation: "m"}
		}, healthBad, "rolecall handover -n n"},
		"managed elsewhere, as both say": {func(r *raw) {
			says(`"result":"elsewhere","owner":"m","error":"e"`)(r)
			r.awsAuth.Annotations = map[string]string{configmap.InstallationAnnotation: "m"}
		}, healthBad, "the leader writes nothing: e"},
		"managed here": {func(r *raw) {
			r.awsAuth.Annotations = map[string]string{configmap.InstallationAnnotation: "n"}
		}, healthGood, ""},
		"held, and managed elsewhere": {func(r *raw) {
			r.ledger.Removals = []plan.PendingRemoval{hold}
			r.awsAuth.Annotations = map[string]string{configmap.InstallationAnnotation: "m"}
		}, healthBad, "rolecall handover -n n"},
		"malformed":   {func(r *raw) { r.awsAuth.Data = map[string]string{"mapRoles": "- ["} }, healthBad, "mapRoles cannot be read"},
		"nearly full": {func(r *raw) { r.awsAuth.BinaryData = map[string][]byte{"x": make([]byte, report.WarnAt+1)} }, healthBad, "use access entries"},
		"deleted": {func(r *raw) {
			r.awsAuth, r.awsAuthExists = &corev1.ConfigMap{}, false
			r.ledger.Owned = []plan.Owned{{Entry: awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/a"}}}
		}, healthBad, "is gone"},
		"held": {func(r *raw) { r.ledger.Removals = []plan.PendingRemoval{hold} }, healthBad, "rolecall approve 0123456789ab"},
		"held and approved": {func(r *raw) {
			r.ledger.Removals = []plan.PendingRemoval{hold}
			r.awsAuth.Annotations = map[string]string{configmap.ApprovalAnnotation: hold.ID + "=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
		}, healthGood, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			tt.change(r)
			v := newSurveyor(r.lease).understand(r, time.Now())
			want := 0
			if tt.text != "" {
				want = 1
			}
			if v.Health != tt.want || len(v.Problems) != want || !strings.Contains(strings.Join(v.Problems, ""), tt.text) {
				t.Errorf("%s, %q; want %s and %q", v.Health, v.Problems, tt.want, tt.text)
			}
		})
	}
}

// The history is read anew where aws-auth has changed, and not else: with
// --watch it would be most of what is read.
func TestRevisionsAreReadOnce(t *testing.T) {
	s := newSurveyor(leaseOf("a_1", time.Second, ""))
	client, ok := s.client.(*fake.Clientset)
	if !ok {
		t.Fatal("no fake client")
	}
	lists := 0
	client.PrependReactor("list", "controllerrevisions", func(clienttesting.Action) (bool, runtime.Object, error) { lists++; return false, nil, nil })
	version := 0
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ResourceVersion: fmt.Sprint(version)}}, nil
	})
	for version = 1; version <= 3; version++ {
		for range 3 {
			s.look(t.Context())
		}
		if lists != version {
			t.Errorf("the history was listed %d times for %d contents", lists, version)
		}
	}
}
