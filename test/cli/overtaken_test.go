package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rolecall/rolecall/test/faultproxy"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// What others do between reading and writing is said: that somebody writes
// without end, and that somebody has deleted aws-auth; so is what the API server
// does not do for its own reasons.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	cp := stage.ForTest(t)
	write := faultproxy.Match{Verb: "update", Name: "aws-auth"}
	review := faultproxy.Match{Verb: "create", Resource: "subjectaccessreviews"}
	conflict := faultproxy.Answer(apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, "aws-auth", nil))
	for _, tt := range []struct {
		name   string
		match  faultproxy.Match
		args   []string
		delete bool // while the first request is under way; else each is a conflict
		code   int
		stderr string
	}{
		{name: "lint", match: write, args: []string{"lint", "--fix", "--yes"}, code: 2, stderr: "times in a row; find out who writes it with rolecall history\n"},
		{name: "rollback", match: write, args: []string{"rollback", "1", "--yes"}, code: 1, stderr: "times in a row; find out who writes it with rolecall history\n"},
		{name: "upsert", match: write, args: []string{"upsert", "--role-arn=arn:aws:iam::111122223333:role/ops", "--username=ops"}, delete: true, code: 1, stderr: "somebody has deleted aws-auth meanwhile; all that stood in it is locked out; rolecall rollback brings it back\n"},
		{name: "remove", match: write, args: []string{"remove", "--first", "arn:aws:iam::111122223333:role/x/theirs"}, delete: true, code: 1, stderr: "; rolecall rollback brings it back\n"},
		{name: "resolve", match: review, args: []string{"resolve", "arn:aws:iam::111122223333:role/ana", "--can=get", "pods", "-n=default"}, code: 1, stderr: "ask the API server what \"ana\" may do: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := trial.New(t, "", trial.Options{})
			c.Create(map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/x/theirs # by hand\n  username: theirs\n- rolearn: arn:aws:iam::111122223333:role/ana\n  username: ana\n"})
			ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
			defer cancel()
			if tt.name == "rollback" {
				config := filepath.Join(t.TempDir(), "config.yaml")
				if err := os.WriteFile(config, []byte("apiVersion: rolecall.dev/v1\nkind: Config\naccounts: [\"111122223333\"]\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				c.Rolecall("agent", "--once", "--config="+config)
			}
			proxy, kubeconfig := throughProxy(t, cp, c)
			done := make(chan error, 1)
			if tt.delete {
				hold := proxy.HoldBefore(tt.match)
				go func() {
					held, err := hold.Next(ctx)
					if err == nil {
						err = c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Delete(ctx, "aws-auth", metav1.DeleteOptions{})
						held.Release()
					}
					done <- err
				}()
			} else {
				proxy.Add(tt.match, conflict)
				done <- nil
			}
			code, says := runAs(ctx, t, c, kubeconfig, tt.args...)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if code != tt.code || !strings.Contains(says, tt.stderr) {
				t.Errorf("exit status %d, want %d and %q:\n%s", code, tt.code, tt.stderr, says)
			}
		})
	}
}
