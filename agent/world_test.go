package agent

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/register"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/report"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/internal/source"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// liveFor is how long after its last report a node's role is in use.
const liveFor = 3 * roster.StaleAfter

// A world is a roster and a clock, to be set by a test.
type world struct {
	mu      sync.Mutex
	reports roster.ListResult
	listErr error
	cached  *roster.ListResult // what lists that may be older say; nil: the same
	lists   []string           // the resourceVersions that were asked for
	now     time.Time
}

func newWorld(reports ...roster.Report) *world {
	return &world{now: start, reports: roster.ListResult{Reports: reports}}
}

func (w *world) List(_ context.Context, notOlder string) (roster.ListResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists = append(w.lists, notOlder)
	if notOlder != "" && w.cached != nil {
		return *w.cached, nil
	}
	return w.reports, w.listErr
}

// asked returns the resourceVersions that were asked for since it was called last.
func (w *world) asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lists := w.lists
	w.lists = nil
	return lists
}

// set changes the world under a leader that runs.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func roleOf(name string) string { return "arn:aws:iam::111122223333:role/" + name }

func by(node, role string) roster.Report {
	return roster.Report{RoleARN: roleOf(role), Node: node, Renewed: start}
}

func self() (source.Node, bool) {
	return source.Node{RoleARN: roleOf("a"), Account: source.Account{ID: "111122223333", Partition: "aws"}}, true
}

// reported is a config of nodes that report their roles.
func reported() *config.File {
	return &config.File{Hash: "reported", Config: config.Config{
		RefreshInterval: time.Hour,
		NodeRoles:       config.NodeRoles{Report: true, KeepUnused: time.Hour},
		Safety:          config.Safety{RemovalLimit: config.RemovalLimit{Percent: 50}, OnMalformed: config.Restore},
	}}
}

// newClient is an API server with an aws-auth.
func newClient(data map[string]string) *fake.Clientset {
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name, ResourceVersion: "1"}, Data: data,
	})
	numbered(client)
	return client
}

// numbered gives each ConfigMap that is written a resourceVersion, as an API server
// does, and has informers list before they watch.
func numbered(client *fake.Clientset) {
	version := 1
	client.PrependReactor("*", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := action.(interface{ GetObject() runtime.Object }); ok {
			version++
			write.GetObject().(metav1.Object).SetResourceVersion(strconv.Itoa(version))
		}
		return false, nil, nil
	})
	// It knows no streaming lists, and does not say so.
	client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		if a, ok := action.(clienttesting.WatchActionImpl); ok && a.ListOptions.SendInitialEvents != nil {
			return true, nil, apierrors.NewBadRequest("sendInitialEvents")
		}
		return false, nil, nil
	})
}

// awsAuthOf makes aws-auth for one term.
func awsAuthOf(client kubernetes.Interface, now func() time.Time) func(func(string, error)) register.Register {
	return func(wrote func(string, error)) register.Register {
		return configmap.New(configmap.Options{Client: client, Namespace: "n", KeepWrites: 10, Wrote: wrote, Logger: slog.New(slog.DiscardHandler), Now: now})
	}
}

// reconciler is the pipeline of a world and an API server, in no term.
func (w *world) reconciler(client kubernetes.Interface) *Reconciler {
	clock := func() time.Time { return w.now }
	return &Reconciler{
		Register: awsAuthOf(client, clock)(nil), Sources: source.NewSet(source.Kinds(), source.Env{Self: self, Now: clock}),
		Roster: w, Logger: slog.New(slog.DiscardHandler), Now: clock,
	}
}

// reporting is a world in which nodes report their roles, an API server with an empty
// aws-auth, and the pipeline of both.
func reporting(reports ...roster.Report) (*world, *fake.Clientset, *Reconciler) {
	w, client := newWorld(reports...), newClient(nil)
	return w, client, w.reconciler(client)
}

// reconcile fails the test where a reconcile does.
func reconcile(t *testing.T, r *Reconciler, file *config.File) *report.Result {
	t.Helper()
	out := r.Reconcile(t.Context(), file, false)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	return out
}

// options are a leader's, by the clock of this process.
func options(client kubernetes.Interface, nodes Roster) Options {
	return Options{
		Register: awsAuthOf(client, time.Now), Env: source.Env{Self: self}, Roster: nodes,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}

// lead has it lead until the test's end, and not end before.
func lead(t *testing.T, l *Leader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Lead(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func awsAuth(t *testing.T, client kubernetes.Interface) *corev1.ConfigMap {
	t.Helper()
	cm, err := client.CoreV1().ConfigMaps(awsauth.Namespace).Get(t.Context(), awsauth.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm.DeepCopy()
}

func mapRoles(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	return awsAuth(t, client).Data["mapRoles"]
}

// edit has another tool change aws-auth.
func edit(t *testing.T, client kubernetes.Interface, change func(*corev1.ConfigMap)) {
	t.Helper()
	cm := awsAuth(t, client)
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	change(cm)
	if _, err := client.CoreV1().ConfigMaps(awsauth.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// writes are the writes of ConfigMaps that an API server has seen, by namespace.
func writes(client *fake.Clientset) []string {
	var out []string
	for _, a := range client.Actions() {
		if a.GetResource().Resource == "configmaps" && slices.Contains([]string{"create", "update", "patch", "delete"}, a.GetVerb()) {
			out = append(out, a.GetVerb()+" in "+a.GetNamespace())
		}
	}
	return out
}

// mapped are the names of roles in a text of mapRoles.
func mapped(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if _, arn, ok := strings.Cut(line, "rolearn: "); ok {
			arn = strings.Trim(strings.TrimSpace(arn), `"'`)
			out = append(out, arn[strings.LastIndexByte(arn, '/')+1:])
		}
	}
	slices.Sort(out)
	return out
}

// metric is the value of a metric without labels, or the sum over those of its labels
// that have one of the values; over all of them where none is given.
func metric(t *testing.T, registry prometheus.Gatherer, name string, values ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	found := false
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := len(values) == 0
			for _, label := range m.GetLabel() {
				has = has || slices.Contains(values, label.GetValue())
			}
			if f.GetName() == name && has {
				sum, found = sum+m.GetCounter().GetValue()+m.GetGauge().GetValue(), true
			}
		}
	}
	if !found {
		t.Errorf("there is no metric %s", name)
	}
	return sum
}

// A lockedBuffer takes a log under a leader that runs.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
