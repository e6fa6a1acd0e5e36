package awsauth_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/rolecall/rolecall/awsauth"
)

// A program that takes a kubernetes.Interface is tested with client-go's fake
// clientset, without an API server. The aws-auth that it begins with is an object
// of the clientset; without one, Upsert creates it.
func ExampleEditor_fakeClientset() {
	ctx := context.Background()

	// What is to be tested: it maps the role of a team.
	mapTeam := func(ctx context.Context, client kubernetes.Interface, arn, team string) error {
		editor := &awsauth.Editor{
			Store:   awsauth.NewStore(client.CoreV1().ConfigMaps(awsauth.Namespace), awsauth.Name, "my-tool"),
			Timeout: time.Minute,
		}
		_, err := editor.Upsert(ctx, awsauth.UpsertOptions{}, awsauth.Entry{
			Kind: awsauth.Role, ARN: arn, Username: team + ":{{SessionName}}", Groups: []string{team},
		})
		return err
	}

	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name},
		Data:       map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/ops # on call\n  username: ops\n  groups: [ops]\n"},
	})
	if err := mapTeam(ctx, client, "arn:aws:iam::111122223333:role/web", "web"); err != nil {
		fmt.Println(err)
		return
	}
	cm, err := client.CoreV1().ConfigMaps(awsauth.Namespace).Get(ctx, awsauth.Name, metav1.GetOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(cm.Data["mapRoles"])
	// Output:
	// - rolearn: arn:aws:iam::111122223333:role/ops # on call
	//   username: ops
	//   groups: [ops]
	// - rolearn: arn:aws:iam::111122223333:role/web
	//   username: web:{{SessionName}}
	//   groups:
	//   - web
}

const (
	fakeRoleA = "arn:aws:iam::111122223333:role/a"
	fakeRoleB = "arn:aws:iam::111122223333:role/b"
	fakeText  = "- rolearn: " + fakeRoleA + "\n  username: a\n  groups: [g]\n"
)

// fakeAWSAuth is an aws-auth as tests of others make one: without a
// resourceVersion.
func fakeAWSAuth(text string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name}}
	if text != "" {
		cm.Data = map[string]string{"mapRoles": text}
	}
	return cm
}

// Both of client-go's fake clientsets keep no resourceVersions: an aws-auth exists
// by the clientset's answer.
func TestFakeClientset(t *testing.T) {
	t.Parallel()
	add := awsauth.Entry{Kind: awsauth.Role, ARN: fakeRoleB, Username: "b", Groups: []string{"g"}}
	get := func(ctx context.Context, e *awsauth.Editor) error { _, err := e.Get(ctx); return err }
	upsert := func(ctx context.Context, e *awsauth.Editor) error {
		_, err := e.Upsert(ctx, awsauth.UpsertOptions{}, add)
		return err
	}
	clientsets := map[string]func(...runtime.Object) *fake.Clientset{
		"NewClientset":       fake.NewClientset,
		"NewSimpleClientset": fake.NewSimpleClientset, // many tests of others use it
	}
	for _, tc := range []struct {
		name string
		have *corev1.ConfigMap
		do   func(context.Context, *awsauth.Editor) error
		err  error
		want []string // ARNs; nil: no aws-auth
		verb []string
	}{
		{"get", fakeAWSAuth(fakeText), get, nil, []string{fakeRoleA}, []string{"get"}},
		{"get an empty one", fakeAWSAuth(""), get, nil, []string{}, []string{"get"}},
		{"get none", nil, get, awsauth.ErrMissing, nil, []string{"get"}},
		{"upsert", fakeAWSAuth(fakeText), upsert, nil, []string{fakeRoleA, fakeRoleB}, []string{"get", "update"}},
		{"upsert into an empty one", fakeAWSAuth(""), upsert, nil, []string{fakeRoleB}, []string{"get", "update"}},
		{"upsert creates", nil, upsert, nil, []string{fakeRoleB}, []string{"get", "create"}},
		{"upsert twice", nil, func(ctx context.Context, e *awsauth.Editor) error {
			return errors.Join(upsert(ctx, e), upsert(ctx, e))
		}, nil, []string{fakeRoleB}, []string{"get", "create", "get"}},
		{"remove", fakeAWSAuth(fakeText), func(ctx context.Context, e *awsauth.Editor) error {
			_, err := e.Remove(ctx, awsauth.RemoveOptions{}, awsauth.Match{ARN: fakeRoleA})
			return err
		}, nil, []string{}, []string{"get", "update"}},
		{"remove from none", nil, func(ctx context.Context, e *awsauth.Editor) error {
			_, err := e.Remove(ctx, awsauth.RemoveOptions{IgnoreNotFound: true}, awsauth.Match{ARN: fakeRoleA})
			return err
		}, awsauth.ErrMissing, nil, []string{"get"}},
		{"remove by username", fakeAWSAuth(fakeText), func(ctx context.Context, e *awsauth.Editor) error {
			_, err := e.RemoveByUsername(ctx, awsauth.RemoveOptions{}, "a")
			return err
		}, nil, []string{}, []string{"get", "update"}},
		{"remove all", fakeAWSAuth(fakeText), func(ctx context.Context, e *awsauth.Editor) error {
			_, err := e.RemoveAll(ctx, awsauth.RemoveOptions{}, awsauth.Role)
			return err
		}, nil, []string{}, []string{"get", "update"}},
		{"a store by itself", fakeAWSAuth(fakeText), func(ctx context.Context, e *awsauth.Editor) error {
			cm, err := e.Store.Get(ctx)
			if err != nil {
				return err
			}
			cm.Data["mapRoles"] = ""
			_, err = e.Store.Put(ctx, cm)
			return err
		}, nil, []string{}, nil},
		{"a store creates", nil, func(ctx context.Context, e *awsauth.Editor) error {
			cm, exists, err := e.Store.Read(ctx)
			if err != nil || exists {
				return fmt.Errorf("exists %t: %w", exists, err)
			}
			cm.Data = map[string]string{"mapRoles": fakeText}
			_, err = e.Store.Put(ctx, cm)
			return err
		}, nil, []string{fakeRoleA}, []string{"get", "create"}},
	} {
		for kind, newClient := range clientsets {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				var have []runtime.Object
				if tc.have != nil {
					have = append(have, tc.have.DeepCopy())
				}
				client := newClient(have...)
				if err := tc.do(t.Context(), fakeEditor(client)); !errors.Is(err, tc.err) || tc.err == nil && err != nil {
					t.Fatalf("%v, want %v", err, tc.err)
				}
				var verbs []string
				for _, a := range client.Actions() {
					verbs = append(verbs, a.GetVerb())
				}
				if diff := cmp.Diff(tc.verb, verbs); tc.verb != nil && diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.want, arns(t, client)); diff != "" {
					t.Errorf("entries (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// An edit by hand says of a key in binaryData that it can't be read, as it says of one
// whose text can't be, and writes nothing.
func TestEditorReadsBinaryData(t *testing.T) {
	t.Parallel()
	cm := fakeAWSAuth("")
	cm.BinaryData = map[string][]byte{"mapRoles": []byte(fakeText)}
	client := fake.NewClientset(cm)
	e := fakeEditor(client)
	_, got := e.Get(t.Context())
	_, put := e.Upsert(t.Context(), awsauth.UpsertOptions{}, awsauth.Entry{Kind: awsauth.Role, ARN: fakeRoleB, Username: "b"})
	_, removed := e.Remove(t.Context(), awsauth.RemoveOptions{}, awsauth.Match{ARN: fakeRoleA})
	for name, err := range map[string]error{"get": got, "upsert": put, "remove": removed} {
		if broken := (*awsauth.ParseError)(nil); !errors.As(err, &broken) || broken.Key != "mapRoles" {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	for _, a := range client.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("it did %s", a.GetVerb())
		}
	}
}

func fakeEditor(client kubernetes.Interface) *awsauth.Editor {
	store := awsauth.NewStore(client.CoreV1().ConfigMaps(awsauth.Namespace), awsauth.Name, "tester")
	return &awsauth.Editor{Store: store, Timeout: 3 * time.Second, Retry: &awsauth.Retry{MaxCount: 3, MinTime: time.Millisecond, MaxTime: time.Millisecond}}
}

// arns are those of the entries that a clientset has; nil without an aws-auth.
func arns(t *testing.T, client *fake.Clientset) []string {
	t.Helper()
	obj, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("configmaps"), awsauth.Namespace, awsauth.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	cm, ok := obj.(*corev1.ConfigMap)
	if !ok {
		t.Fatalf("a %T", obj)
	}
	doc, err := awsauth.Parse(cm.Data)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, l := range doc.Entries() {
		out = append(out, l.ARN)
	}
	return out
}

// A write whose answer is lost is found without resourceVersions too, and one that
// was not done is made again.
func TestFakeClientsetLosesAnswers(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{true, false} {
		for _, have := range []string{"", fakeText} {
			t.Run(fmt.Sprintf("done=%t/exists=%t", done, have != ""), func(t *testing.T) {
				t.Parallel()
				var objects []runtime.Object
				verb := "create"
				if have != "" {
					objects, verb = append(objects, fakeAWSAuth(have)), "update"
				}
				client := fake.NewClientset(objects...)
				lost := false
				client.PrependReactor(verb, "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
					if lost {
						return false, nil, nil
					}
					lost = true
					if done {
						var err error
						switch a := a.(type) {
						case clienttesting.UpdateActionImpl:
							err = client.Tracker().Update(a.GetResource(), a.GetObject(), a.GetNamespace())
						case clienttesting.CreateActionImpl:
							err = client.Tracker().Create(a.GetResource(), a.GetObject(), a.GetNamespace())
						}
						if err != nil {
							t.Error(err)
						}
					}
					return true, nil, apierrors.NewInternalError(errors.New("the answer is lost"))
				})
				edited, err := fakeEditor(client).Upsert(t.Context(), awsauth.UpsertOptions{}, awsauth.Entry{Kind: awsauth.Role, ARN: fakeRoleB, Username: "b"})
				if err != nil || len(edited.Changes) != 1 || edited.Creates != (have == "") {
					t.Fatalf("%+v, %v", edited, err)
				}
				want := []string{fakeRoleB}
				if have != "" {
					want = []string{fakeRoleA, fakeRoleB}
				}
				if diff := cmp.Diff(want, arns(t, client)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Somebody else creates aws-auth after it was read as missing: that is a conflict,
// and the edit is made anew of what stands there.
func TestFakeClientsetOvertaken(t *testing.T) {
	t.Parallel()
	client := fake.NewClientset()
	editor := fakeEditor(client)
	first := true
	editor.Review = func(context.Context, *awsauth.Edited) error {
		if first {
			first = false
			return client.Tracker().Add(fakeAWSAuth(fakeText))
		}
		return nil
	}
	if _, err := editor.Upsert(t.Context(), awsauth.UpsertOptions{}, awsauth.Entry{Kind: awsauth.Role, ARN: fakeRoleB, Username: "b"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{fakeRoleA, fakeRoleB}, arns(t, client)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An object of an API server, which has a UID, is never written without its
// resourceVersion: a client that has lost it would undo what others wrote.
func TestNoWriteWithoutResourceVersion(t *testing.T) {
	t.Parallel()
	have := fakeAWSAuth(fakeText)
	have.UID = types.UID("00000000-0000-4000-8000-000000000000")
	client := fake.NewClientset(have)
	editor := fakeEditor(client)
	_, err := editor.Upsert(t.Context(), awsauth.UpsertOptions{}, awsauth.Entry{Kind: awsauth.Role, ARN: fakeRoleB, Username: "b"})
	if err == nil {
		t.Error("Upsert writes it")
	}
	cm, err := editor.Store.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["mapRoles"] = ""
	if _, err := editor.Store.Put(t.Context(), cm); err == nil {
		t.Error("Put writes it")
	}
	if diff := cmp.Diff([]string{fakeRoleA}, arns(t, client)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
