package configmap

import (
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/register"
)

// aws-auth and the ledger exist by the API server's answer, not by their
// resourceVersion: client-go's fake clientset gives none.
func TestClientsetWithoutVersions(t *testing.T) {
	t.Parallel()
	const theirs = "- rolearn: arn:aws:iam::111122223333:role/theirs # stays\n  username: theirs\n"
	for _, rules := range []register.Rules{{Restore: true}, {}} {
		client := fake.NewClientset(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: awsauth.Namespace, Name: awsauth.Name}, Data: map[string]string{"mapRoles": theirs},
		})
		x := &testTerm{t: t, client: client, clock: testStart, rules: rules}
		x.want = []awsauth.Entry{{Kind: awsauth.Role, ARN: "arn:aws:iam::111122223333:role/ours", Username: "ours", Groups: []string{"viewers"}}}
		x.Register = New(Options{Client: client, Namespace: "n", KeepWrites: 3, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return x.clock }})
		for range 2 {
			o, _ := x.must()
			if o.Deleted || o.Restored != "" {
				t.Errorf("taken for deleted: %+v", o)
			}
		}
		for _, w := range x.Writes() {
			if w.Why == "deleted" {
				t.Errorf("the diary has a deletion: %+v", w)
			}
		}
		doc, err := awsauth.Parse(x.current().Data)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(doc.Entries()); n != 2 {
			t.Errorf("%d entries, want both:\n%s", n, x.current().Data["mapRoles"])
		}
	}
}
