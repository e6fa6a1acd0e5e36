package history

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// Kept is how many good contents are kept.
	Kept = 10
	// KeptBroken is how many broken ones are.
	KeptBroken = 3

	// Label is the label of the revisions; its value is the name of the
	// ConfigMap that they are revisions of.
	Label = "rolecall.dev/history"

	annotationWho     = "rolecall.dev/who"
	annotationWhy     = "rolecall.dev/why"
	annotationAt      = "rolecall.dev/at"
	annotationVersion = "rolecall.dev/resource-version"
	annotationBroken  = "rolecall.dev/broken"

	plainMax   = 64 << 10 // bytes of JSON up to which a content stays readable with kubectl
	contentMax = 16 << 20 // bytes unpacked: the API server takes some 1.5 MiB of a ConfigMap in all
	textMax    = 1000     // bytes of who and why
)

// ControllerRevisions is the part of client-go's ControllerRevisionInterface
// that a store needs. It is bound to one namespace.
type ControllerRevisions interface {
	List(ctx context.Context, opts metav1.ListOptions) (*appsv1.ControllerRevisionList, error)
	Create(ctx context.Context, r *appsv1.ControllerRevision, opts metav1.CreateOptions) (*appsv1.ControllerRevision, error)
	Update(ctx context.Context, r *appsv1.ControllerRevision, opts metav1.UpdateOptions) (*appsv1.ControllerRevision, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// A Content is all of a ConfigMap that its writers decide.
type Content struct {
	Data        map[string]string `json:"data,omitempty"`
	BinaryData  map[string][]byte `json:"binaryData,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// ContentOf is the content of a ConfigMap. It shares the maps.
func ContentOf(cm *corev1.ConfigMap) Content {
	return Content{cm.Data, cm.BinaryData, cm.Labels, cm.Annotations}
}

// A Revision is a content with what is known of it.
type Revision struct {
	Name    string    // of the ControllerRevision: the same content has the same
	Number  int64     // 1 is the first; the highest is what aws-auth was last known to hold
	At      time.Time // when it was written, or found if that is not known
	Who     string    // the field manager that wrote it
	Why     string
	Version string // resourceVersion of aws-auth
	Broken  string // why the authenticator cannot read it; empty for a good one

	object *appsv1.ControllerRevision
}

// Content unpacks what aws-auth held.
func (r *Revision) Content() (Content, error) {
	var body stored
	if err := json.Unmarshal(r.object.Data.Raw, &body); err != nil {
		return Content{}, fmt.Errorf("read revision %s: %w", r.Name, err)
	}
	if body.Packed == nil {
		return body.Content, nil
	}
	unzip, err := gzip.NewReader(bytes.NewReader(body.Packed))
	if err != nil {
		return Content{}, fmt.Errorf("unpack revision %s: %w", r.Name, err)
	}
	if err := json.NewDecoder(io.LimitReader(unzip, contentMax)).Decode(&body.Content); err != nil {
		return Content{}, fmt.Errorf("unpack revision %s: %w", r.Name, err)
	}
	return body.Content, nil
}

// A Store keeps the revisions of one ConfigMap. Its methods are safe for
// concurrent use, also by several processes: two leaders at once may both
// record, and what one of them misses the other has.
type Store struct {
	client       ControllerRevisions
	of           string
	fieldManager string
}

// New returns the store of the revisions of the ConfigMap named of. It needs
// the verbs list, create, update and delete.
func New(client ControllerRevisions, of, fieldManager string) *Store {
	return &Store{client, of, fieldManager}
}

// List returns all revisions, the newest first.
func (s *Store) List(ctx context.Context) ([]Revision, error) {
	list, err := s.client.List(ctx, metav1.ListOptions{LabelSelector: Label + "=" + s.of})
	if err != nil {
		return nil, fmt.Errorf("list revisions of %s: %w", s.of, err)
	}
	out := make([]Revision, len(list.Items))
	for i := range list.Items {
		out[i] = revisionOf(&list.Items[i])
	}
	slices.SortFunc(out, func(a, b Revision) int {
		return cmp.Or(cmp.Compare(b.Number, a.Number), b.At.Compare(a.At), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Record makes c, of which r tells, the newest revision, and deletes those
// that are too many. It sets the Name and Number of r and returns the number;
// a content that is the newest already is left as it is.
func (s *Store) Record(ctx context.Context, r Revision, c Content) (int64, error) {
	known, err := s.List(ctx)
	if err != nil {
		return 0, err
	}
	r.Name = s.name(c)
	r.Number = 1
	if len(known) > 0 {
		if known[0].Name == r.Name {
			return known[0].Number, nil
		}
		r.Number = known[0].Number + 1
	}
	if err := s.write(ctx, known, &r, c); err != nil {
		return 0, err
	}
	known = slices.DeleteFunc(known, func(k Revision) bool { return k.Name == r.Name })
	return r.Number, s.prune(ctx, append([]Revision{r}, known...))
}

func (s *Store) write(ctx context.Context, known []Revision, r *Revision, c Content) error {
	if i := slices.IndexFunc(known, func(k Revision) bool { return k.Name == r.Name }); i >= 0 {
		again := known[i].object.DeepCopy()
		r.describe(again)
		_, err := s.client.Update(ctx, again, metav1.UpdateOptions{FieldManager: s.fieldManager})
		if err != nil && !apierrors.IsConflict(err) { // else another leader has just done so
			return fmt.Errorf("renew revision %s of %s: %w", r.Name, s.of, err)
		}
		return nil
	}
	body, err := encode(c)
	if err != nil {
		return fmt.Errorf("encode revision %s of %s: %w", r.Name, s.of, err)
	}
	object := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name, Labels: map[string]string{Label: s.of, "app.kubernetes.io/managed-by": "rolecall"}},
		Data:       runtime.RawExtension{Raw: body},
	}
	r.describe(object)
	_, err = s.client.Create(ctx, object, metav1.CreateOptions{FieldManager: s.fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("record revision %s of %s: %w", r.Name, s.of, err)
	}
	return nil
}

// prune deletes the oldest revisions beyond what is kept.
func (s *Store) prune(ctx context.Context, newestFirst []Revision) error {
	left := map[bool]int{false: Kept, true: KeptBroken}
	var errs []error
	for i := range newestFirst {
		r := &newestFirst[i]
		broken := r.Broken != ""
		if left[broken]--; left[broken] >= 0 {
			continue
		}
		if err := s.client.Delete(ctx, r.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete revision %s of %s: %w", r.Name, s.of, err))
		}
	}
	return errors.Join(errs...)
}

// name is the content's own: whoever records it finds what is there already.
func (s *Store) name(c Content) string {
	sum := sha256.New()
	for _, part := range []map[string]string{c.Data, textual(c.BinaryData), c.Labels, c.Annotations} {
		for _, k := range slices.Sorted(maps.Keys(part)) {
			fmt.Fprintf(sum, "%d %s %d %s\n", len(k), k, len(part[k]), part[k])
		}
		sum.Write([]byte{'\n'})
	}
	return s.of + "-" + hex.EncodeToString(sum.Sum(nil)[:8])
}

func textual(m map[string][]byte) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// describe writes all but the content into the object.
func (r *Revision) describe(o *appsv1.ControllerRevision) {
	o.Revision = r.Number
	o.Annotations = map[string]string{
		annotationWho:     clip(r.Who),
		annotationWhy:     clip(r.Why),
		annotationAt:      r.At.UTC().Format(time.RFC3339Nano),
		annotationVersion: r.Version,
	}
	if r.Broken != "" {
		o.Annotations[annotationBroken] = clip(r.Broken)
	}
}

func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), textMax)], "")
}

// stored is a content as the ControllerRevision's data has it: plain while it
// is small, else packed.
type stored struct {
	Content
	Packed []byte `json:"gzip,omitempty"` // the same as JSON
}

func encode(c Content) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil || len(body) <= plainMax {
		return body, err
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, err = zip.Write(body)
	if err := errors.Join(err, zip.Close()); err != nil {
		return nil, err
	}
	return json.Marshal(stored{Packed: packed.Bytes()})
}

func revisionOf(o *appsv1.ControllerRevision) Revision {
	r := Revision{
		Name: o.Name, Number: o.Revision, object: o,
		Who: o.Annotations[annotationWho], Why: o.Annotations[annotationWhy],
		Version: o.Annotations[annotationVersion], Broken: o.Annotations[annotationBroken],
	}
	at, err := time.Parse(time.RFC3339Nano, o.Annotations[annotationAt])
	if err != nil {
		at = o.CreationTimestamp.Time
	}
	r.At = at
	return r
}

// LastWriter is the field manager that wrote a ConfigMap last, and when, as the
// API server recorded it: to the second. Of several in one second it names
// another one than us if it can. It is "unknown" where nothing is recorded.
func LastWriter(cm *corev1.ConfigMap, us string) (who string, at time.Time) {
	who = "unknown"
	for _, m := range cm.ManagedFields {
		if m.Time == nil || m.Time.Time.Before(at) || m.Time.Time.Equal(at) && m.Manager == us {
			continue
		}
		who, at = m.Manager, m.Time.Time
	}
	return who, at
}
