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
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// Kept is how many good contents are kept: the newest, and older ones thinned
	// with age.
	Kept = KeptNewest + KeptHours + KeptDays
	// KeptNewest is how many of the newest good ones are kept whatever their age.
	KeptNewest = 5
	// KeptHours is of how many hours before those the newest is kept.
	KeptHours = 2
	// KeptDays is of how many days before that the newest is kept. Where all of these
	// are fewer than Kept, the newest of the others fill it up.
	KeptDays = 3
	// KeptBroken is how many broken ones are kept, the newest.
	KeptBroken = 3

	// Label is the label of the revisions; its value is the name of the
	// ConfigMap that they are revisions of.
	Label = "rolecall.dev/history"

	annotationWho     = "rolecall.dev/who"
	annotationWhy     = "rolecall.dev/why"
	annotationAt      = "rolecall.dev/at"
	annotationVersion = "rolecall.dev/resource-version"
	annotationBroken  = "rolecall.dev/broken"
	annotationContent = "rolecall.dev/content" // the content's key

	plainMax   = 64 << 10 // bytes of JSON up to which a content stays readable with kubectl
	contentMax = 16 << 20 // bytes unpacked: the API server takes some 1.5 MiB of a ConfigMap in all
	textMax    = 1000     // bytes of who and why

	// numberMax is the highest number that is counted on from: JSON's numbers are exact
	// up to it. Whoever made one that is higher must not end the history.
	numberMax = 1 << 53
)

// ControllerRevisions is the part of client-go's ControllerRevisionInterface
// that a store needs. It is bound to one namespace.
type ControllerRevisions interface {
	List(ctx context.Context, opts metav1.ListOptions) (*appsv1.ControllerRevisionList, error)
	Create(ctx context.Context, r *appsv1.ControllerRevision, opts metav1.CreateOptions) (*appsv1.ControllerRevision, error)
	Update(ctx context.Context, r *appsv1.ControllerRevision, opts metav1.UpdateOptions) (*appsv1.ControllerRevision, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// A Content is all of a ConfigMap that its writers decide. Data and BinaryData are
// what it is told apart by: they decide access.
type Content struct {
	Data        map[string]string `json:"data,omitempty"`
	BinaryData  map[string][]byte `json:"binaryData,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Key stands for what decides access: contents that differ in labels and annotations
// alone have the same.
func (c Content) Key() string { return digest(c.Data, textual(c.BinaryData)) }

// ID stands for all of the content.
func (c Content) ID() string {
	return digest(c.Data, textual(c.BinaryData), c.Labels, c.Annotations)
}

// ContentOf is the content of a ConfigMap. It shares the maps.
func ContentOf(cm *corev1.ConfigMap) Content {
	return Content{cm.Data, cm.BinaryData, cm.Labels, cm.Annotations}
}

// A Revision is a content with what is known of it.
type Revision struct {
	Name    string    // of the ControllerRevision: the same content, with its labels and annotations, has the same
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
	if body.Packed != nil {
		unzip, err := gzip.NewReader(bytes.NewReader(body.Packed))
		if err != nil {
			return Content{}, fmt.Errorf("unpack revision %s: %w", r.Name, err)
		}
		body.Packed = nil
		if err := json.NewDecoder(io.LimitReader(unzip, contentMax)).Decode(&body); err != nil {
			return Content{}, fmt.Errorf("unpack revision %s: %w", r.Name, err)
		}
	}
	for key, text := range body.NotUTF8 {
		if _, ok := body.Data[key]; ok {
			body.Data[key] = string(text)
		}
	}
	return body.Content, nil
}

// key is that of the content, or of nothing else where it can't be read. Versions that
// tell contents apart by labels and annotations, too, do not write it down.
func (r *Revision) key() string {
	if key := r.object.Annotations[annotationContent]; key != "" {
		return key
	}
	c, err := r.Content()
	if err != nil {
		return r.Name
	}
	return c.Key()
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
// a content that is the newest already is left as it is. Where its labels or
// annotations are others than were recorded, those of c take their place, and it
// keeps its number, its time, and who wrote it and why.
func (s *Store) Record(ctx context.Context, r Revision, c Content) (int64, error) {
	known, err := s.List(ctx)
	if err != nil {
		return 0, err
	}
	key := c.Key()
	r.Name, r.Number = s.of+"-"+c.ID(), 1
	if len(known) > 0 {
		newest := &known[0]
		switch {
		case newest.key() != key || (newest.Broken == "") != (r.Broken == ""):
			if newest.Number >= numberMax {
				if err := s.renumber(ctx, known); err != nil {
					return 0, err
				}
			}
			r.Number = known[0].Number + 1
		case newest.Name == r.Name && !slices.ContainsFunc(known[1:], func(k Revision) bool { return k.key() == key }):
			return newest.Number, nil
		default:
			r.Number, r.At, r.Who, r.Why = newest.Number, newest.At, newest.Who, newest.Why
		}
	}
	if err := s.write(ctx, known, &r, c); err != nil {
		return 0, err
	}
	known = slices.DeleteFunc(known, func(k Revision) bool { return k.Name == r.Name })
	return r.Number, s.prune(ctx, key, append([]Revision{r}, known...))
}

// renumber counts the revisions from 1, the oldest first, so that their order stands
// whenever it ends. known is changed with them.
func (s *Store) renumber(ctx context.Context, known []Revision) error {
	for i := range slices.Backward(known) {
		k := &known[i]
		next := k.object.DeepCopy()
		next.Revision = int64(len(known) - i)
		written, err := s.client.Update(ctx, next, metav1.UpdateOptions{FieldManager: s.fieldManager})
		if err != nil {
			return fmt.Errorf("number revision %s of %s anew, since the newest has the number %d: %w", k.Name, s.of, known[0].Number, err)
		}
		k.object, k.Number = written, written.Revision
	}
	return nil
}

func (s *Store) write(ctx context.Context, known []Revision, r *Revision, c Content) error {
	if i := slices.IndexFunc(known, func(k Revision) bool { return k.Name == r.Name }); i >= 0 {
		again := known[i].object.DeepCopy()
		r.describe(again, c)
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
	r.describe(object, c)
	_, err = s.client.Create(ctx, object, metav1.CreateOptions{FieldManager: s.fieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("record revision %s of %s: %w", r.Name, s.of, err)
	}
	return nil
}

// prune deletes the revisions beyond what is kept. The first has the key of its
// content; of those that are the same, the newest is kept.
func (s *Store) prune(ctx context.Context, key string, newestFirst []Revision) error {
	seen := map[string]bool{}
	var good, broken, drop []*Revision
	for i := range newestFirst {
		r := &newestFirst[i]
		if i > 0 {
			key = r.key()
		}
		switch {
		case seen[key]:
			drop = append(drop, r)
		case r.Broken != "":
			broken = append(broken, r)
		default:
			good = append(good, r)
		}
		seen[key] = true
	}
	drop = append(drop, thin(good)...)
	drop = append(drop, broken[min(len(broken), KeptBroken):]...)
	var errs []error
	for _, r := range drop {
		if err := s.client.Delete(ctx, r.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete revision %s of %s: %w", r.Name, s.of, err))
		}
	}
	return errors.Join(errs...)
}

// thin returns those of the good revisions, the newest first, that are too many. Hours
// and days are those of the clock in UTC, so that what is chosen once is chosen again
// as time goes on.
func thin(newestFirst []*Revision) []*Revision {
	if len(newestFirst) <= Kept {
		return nil
	}
	keep := map[*Revision]bool{}
	for _, r := range newestFirst[:KeptNewest] {
		keep[r] = true
	}
	spread := func(span time.Duration, n int) {
		taken := map[time.Time]bool{}
		for _, r := range newestFirst {
			if keep[r] {
				taken[r.At.UTC().Truncate(span)] = true
			}
		}
		for _, r := range newestFirst {
			at := r.At.UTC().Truncate(span)
			if n > 0 && !keep[r] && !taken[at] {
				keep[r], taken[at] = true, true
				n--
			}
		}
	}
	spread(time.Hour, KeptHours)
	spread(24*time.Hour, KeptDays)
	var drop []*Revision
	left := Kept - len(keep)
	for _, r := range newestFirst {
		switch {
		case keep[r]:
		case left > 0:
			left--
		default:
			drop = append(drop, r)
		}
	}
	return drop
}

// digest stands for the texts.
func digest(parts ...map[string]string) string {
	sum := sha256.New()
	for _, part := range parts {
		for _, k := range slices.Sorted(maps.Keys(part)) {
			fmt.Fprintf(sum, "%d %s %d %s\n", len(k), k, len(part[k]), part[k])
		}
		sum.Write([]byte{'\n'})
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func textual(m map[string][]byte) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// describe writes all but the content into the object.
func (r *Revision) describe(o *appsv1.ControllerRevision, c Content) {
	o.Revision = r.Number
	o.Annotations = map[string]string{
		annotationWho:     clip(r.Who),
		annotationWhy:     clip(r.Why),
		annotationAt:      r.At.UTC().Format(time.RFC3339Nano),
		annotationVersion: r.Version,
		annotationContent: c.Key(),
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
	// NotUTF8 are the texts of Data that JSON can't hold; in Data they are
	// as near as it comes. Versions that do not know the field read that.
	NotUTF8 map[string][]byte `json:"notUTF8,omitempty"`
	Packed  []byte            `json:"gzip,omitempty"` // the same as JSON
}

func encode(c Content) ([]byte, error) {
	whole := stored{Content: c}
	for key, text := range c.Data {
		if !utf8.ValidString(text) {
			if whole.NotUTF8 == nil {
				whole.NotUTF8 = map[string][]byte{}
			}
			whole.NotUTF8[key] = []byte(text)
		}
	}
	body, err := json.Marshal(whole)
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
