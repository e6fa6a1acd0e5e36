package awsauth_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rolecall/rolecall/awsauth"
)

// cluster stands in for client.CoreV1().ConfigMaps(awsauth.Namespace) of a
// client-go clientset.
type cluster struct{ data map[string]string }

func (c *cluster) Get(_ context.Context, name string, _ metav1.GetOptions) (*corev1.ConfigMap, error) {
	if c.data == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1"}, Data: c.data}, nil
}

func (c *cluster) Create(_ context.Context, cm *corev1.ConfigMap, _ metav1.CreateOptions) (*corev1.ConfigMap, error) {
	c.data = cm.Data
	return cm, nil
}

func (c *cluster) Update(_ context.Context, cm *corev1.ConfigMap, _ metav1.UpdateOptions) (*corev1.ConfigMap, error) {
	c.data = cm.Data
	return cm, nil
}

// A program maps the role of a new node group, and tries again for a while
// where the API server is not to be reached.
func ExampleEditor_Upsert() {
	client := &cluster{} // client.CoreV1().ConfigMaps(awsauth.Namespace)
	editor := &awsauth.Editor{
		Store:   awsauth.NewStore(client, awsauth.Name, "my-tool"),
		Retry:   &awsauth.Retry{MaxCount: 12, MinTime: 100 * time.Millisecond, MaxTime: 30 * time.Second},
		Timeout: 5 * time.Minute,
	}
	edited, err := editor.Upsert(context.Background(), awsauth.UpsertOptions{}, awsauth.Entry{
		Kind:     awsauth.Role,
		ARN:      "arn:aws:iam::555555555555:role/my-new-node-group",
		Username: "system:node:{{EC2PrivateDNSName}}",
		Groups:   []string{"system:bootstrappers", "system:nodes"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range edited.Changes {
		fmt.Println(c.Op, c.Entry.ARN)
	}
	fmt.Print(client.data["mapRoles"])
	// Output:
	// add arn:aws:iam::555555555555:role/my-new-node-group
	// - rolearn: arn:aws:iam::555555555555:role/my-new-node-group
	//   username: system:node:{{EC2PrivateDNSName}}
	//   groups:
	//   - system:bootstrappers
	//   - system:nodes
}

// Several entries go in with one write; groups are added to those that are
// there, and comments stay.
func ExampleEditor_Upsert_several() {
	client := &cluster{data: map[string]string{"mapUsers": `# on call
- userarn: arn:aws:iam::111122223333:user/ana
  username: ana # since 2024
  groups:
  - "viewers"
`}}
	editor := &awsauth.Editor{Store: awsauth.NewStore(client, awsauth.Name, "my-tool")}
	_, err := editor.Upsert(context.Background(), awsauth.UpsertOptions{Append: true},
		awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/ana", Groups: []string{"editors"}},
		awsauth.Entry{Kind: awsauth.User, ARN: "arn:aws:iam::111122223333:user/ben", Username: "ben", Groups: []string{"viewers"}},
	)
	fmt.Println(err)
	fmt.Print(client.data["mapUsers"])
	// Output:
	// <nil>
	// # on call
	// - userarn: arn:aws:iam::111122223333:user/ana
	//   username: ana # since 2024
	//   groups:
	//   - "viewers"
	//   - editors
	// - userarn: arn:aws:iam::111122223333:user/ben
	//   username: ben
	//   groups:
	//   - viewers
}

// What is not there can be told from what went wrong.
func ExampleEditor_Remove() {
	client := &cluster{data: map[string]string{"mapAccounts": "- \"111122223333\"\n"}}
	editor := &awsauth.Editor{Store: awsauth.NewStore(client, awsauth.Name, "my-tool")}
	_, err := editor.Remove(context.Background(), awsauth.RemoveOptions{}, awsauth.Match{ARN: "arn:aws:iam::111122223333:role/gone"})
	if not := (*awsauth.NotFoundError)(nil); errors.As(err, &not) {
		fmt.Println("not there:", not.Match.ARN)
	}
	// Output:
	// not there: arn:aws:iam::111122223333:role/gone
}

// Review looks at an edit before it is written, and can refuse it.
func ExampleEditor_review() {
	client := &cluster{data: map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/admin\n  username: admin\n"}}
	editor := &awsauth.Editor{
		Store: awsauth.NewStore(client, awsauth.Name, "my-tool"),
		Review: func(_ context.Context, planned *awsauth.Edited) error {
			for _, c := range planned.Changes {
				if c.Op == awsauth.Remove && c.Entry.Username == "admin" {
					return fmt.Errorf("%s stays", c.Entry.ARN)
				}
			}
			return nil
		},
	}
	_, err := editor.RemoveByUsername(context.Background(), awsauth.RemoveOptions{}, "admin")
	fmt.Println(err)
	// Output:
	// arn:aws:iam::111122223333:role/admin stays
}

// Without a cluster: a document is a value, and an edit makes another one.
func ExampleDocument_Upsert() {
	doc, err := awsauth.Parse(map[string]string{"mapRoles": `[{"rolearn": "arn:aws:iam::111122223333:role/ops", "username": "ops", "groups": ["b", "a"]}]`})
	if err != nil {
		fmt.Println(err)
		return
	}
	same, changes, err := doc.Upsert(awsauth.UpsertOptions{}, awsauth.Entry{
		Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/teams/ops", Username: "ops", Groups: []string{"a", "b"},
	})
	fmt.Println(same == doc, len(changes), err)
	_, _, err = doc.Upsert(awsauth.UpsertOptions{}, awsauth.Entry{Kind: awsauth.Role, ARN: "ops", Username: "ops"})
	fmt.Println(err)
	// Output:
	// true 0 <nil>
	// "ops" is a bare name, not the ARN of a role: write arn:aws:iam::ACCOUNT:role/ops with the account's 12 digits
}

// Entries says what stands there, and what of it the authenticator drops.
func ExampleEditor_Get() {
	client := &cluster{data: map[string]string{
		"mapRoles":    "- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops\n- username: nobody\n",
		"mapAccounts": "- \"111122223333\"\n",
	}}
	editor := &awsauth.Editor{Store: awsauth.NewStore(client, awsauth.Name, "my-tool")}
	doc, err := editor.Get(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range doc.Entries() {
		fmt.Printf("%s %q %q %q\n", l.Kind, l.ARN, l.Username, l.Dropped)
	}
	// Output:
	// role "arn:aws:iam::111122223333:role/ops" "ops" ""
	// role "" "nobody" "it has no rolearn"
	// account "111122223333" "" ""
}
