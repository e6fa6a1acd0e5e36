package writers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/rolecall/rolecall/test/fleet"
)

// A Record is every version of a ConfigMap from one on. A watch that ends is
// taken up where it ended; where the API server can't do that, because it has
// forgotten, the record is broken and says so rather than have a gap.
type Record struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	versions []Version
	edits    map[string]*Edit // by the resourceVersion that they made
	err      error
}

// Follow begins the record with the ConfigMap as it stands. End it with Stop.
func Follow(ctx context.Context, client kubernetes.Interface, namespace, name string) (*Record, error) {
	maps := client.CoreV1().ConfigMaps(namespace)
	begin, err := maps.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	events, err := watchtools.NewRetryWatcherWithContext(ctx, begin.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
			return maps.Watch(ctx, o)
		},
	})
	if err != nil {
		cancel()
		return nil, err
	}
	r := &Record{
		cancel: cancel, done: make(chan struct{}),
		versions: []Version{{ConfigMap: begin, Seen: time.Now()}}, edits: map[string]*Edit{},
	}
	go func() {
		defer close(r.done)
		for event := range events.ResultChan() {
			r.add(event)
		}
	}()
	return r, nil
}

func (r *Record) add(event watch.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch cm, ok := event.Object.(*corev1.ConfigMap); {
	case event.Type == watch.Error:
		r.err = errors.Join(r.err, fmt.Errorf("the watch broke, so versions are missing: %w", apierrors.FromObject(event.Object)))
	case event.Type == watch.Deleted:
		r.err = errors.Join(r.err, errors.New("the ConfigMap was deleted"))
	case ok && event.Type != watch.Bookmark:
		r.versions = append(r.versions, Version{ConfigMap: cm, Seen: time.Now()})
	}
}

// Claim says that an edit made a version.
func (r *Record) Claim(resourceVersion string, edit *Edit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edits[resourceVersion] = edit
}

// Stop ends the record and waits for that.
func (r *Record) Stop() {
	r.cancel()
	<-r.done
}

// Reaches waits until the record has come to a version.
func (r *Record) Reaches(ctx context.Context, resourceVersion string) error {
	_, err := fleet.Until(ctx, func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !slices.ContainsFunc(r.versions, func(v Version) bool { return v.ResourceVersion == resourceVersion }) {
			return fmt.Errorf("the record has %d versions, and not resourceVersion %s", len(r.versions), resourceVersion)
		}
		return nil
	})
	return err
}

// Versions returns what there is so far, each with the edit that made it. It
// fails where one is missing that an edit made, or where the watch broke.
func (r *Record) Versions() ([]Version, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	unseen := maps.Clone(r.edits)
	versions := slices.Clone(r.versions)
	for i := range versions {
		v := &versions[i]
		v.Edit = r.edits[v.ResourceVersion]
		delete(unseen, v.ResourceVersion)
	}
	if len(unseen) > 0 {
		return nil, fmt.Errorf("the record lacks %d of the versions that tools wrote", len(unseen))
	}
	return versions, nil
}

// A Request is a write to one ConfigMap that the API server's audit log has.
type Request struct {
	Verb string
	Base string // the resourceVersion that it named
	Code int    // of the answer, 0 where there was none
}

// Requests reads the writes of one user to a ConfigMap out of an audit log.
func Requests(auditLog, user, namespace, name string) ([]Request, error) {
	file, err := os.Open(auditLog)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found []Request
	events := json.NewDecoder(file)
	for {
		var e struct {
			Stage, Verb    string
			User           struct{ Username string }
			ObjectRef      struct{ Resource, Namespace, Name, ResourceVersion string }
			ResponseStatus struct{ Code int }
		}
		switch err := events.Decode(&e); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the last line is being written
			return found, nil
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", auditLog, err)
		}
		ref := e.ObjectRef
		// A request to create names no object, only its namespace.
		hit := ref.Resource == "configmaps" && ref.Namespace == namespace && (ref.Name == name || ref.Name == "")
		if hit && e.User.Username == user && slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb) {
			found = append(found, Request{e.Verb, ref.ResourceVersion, e.ResponseStatus.Code})
		}
	}
}

// Attribute tells each version of rolecall's what the request was based on that
// made it, as far as the audit log has one on top of the version before. It
// fails where rolecall wrote in any other way than by an update that names a
// resourceVersion.
func Attribute(versions []Version, requests []Request) error {
	updates := map[string]int{} // that may have been carried out, by what they named
	for _, q := range requests {
		switch {
		case q.Verb != "update":
			return fmt.Errorf("rolecall asked to %s aws-auth", q.Verb)
		case q.Base == "":
			return errors.New("rolecall wrote aws-auth without a resourceVersion")
		case q.Code != http.StatusConflict:
			updates[q.Base]++
		}
	}
	for i := range versions {
		v := &versions[i]
		if i == 0 || v.Edit != nil {
			continue
		}
		base := versions[i-1].ResourceVersion
		if updates[base] == 0 {
			base = "" // which Check finds to be blind
		}
		updates[base]--
		v.Base = &base
	}
	return nil
}
