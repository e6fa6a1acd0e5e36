package cli_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/plan"
	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/stage"
	"github.com/rolecall/rolecall/test/trial"
)

// BenchmarkGet runs "rolecall get" and "kubectl get cm -o yaml" by turns on an
// aws-auth of 6,500 entries, and reports how long the first takes as a part of
// the second: the median of each. Once nobody has a ledger, once it has all of
// the entries.
func BenchmarkGet(b *testing.B) {
	c := trial.New(b, "", trial.Options{})
	assets, err := stage.Assets()
	if err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	ledger := &plan.State{}
	for i := range 6500 {
		e := awsauth.Entry{Kind: awsauth.Role, ARN: fmt.Sprintf("arn:aws:iam::111122223333:role/team-%04d", i), Username: fmt.Sprintf("team-%04d", i), Groups: []string{"viewers"}}
		fmt.Fprintf(&text, "- rolearn: %s\n  username: %s\n  groups:\n  - viewers\n  syncedBy: rolecall\n", e.ARN, e.Username)
		ledger.Owned = append(ledger.Owned, plan.Owned{Entry: e, Since: time.Unix(1700000000, 0), Claims: []plan.Claim{{Source: "file", Username: e.Username, Groups: e.Groups}}})
	}
	c.Create(map[string]string{"mapRoles": text.String()})
	env := append(os.Environ(), append(c.Env(), "HOME="+b.TempDir())...) // where kubectl keeps what it has discovered
	run := func(name string, args ...string) time.Duration {
		ctx, cancel := context.WithTimeout(b.Context(), trial.Patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env, cmd.Stdout = env, io.Discard
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	measure := func(b *testing.B) {
		var ours, theirs []time.Duration
		for b.Loop() {
			ours = append(ours, run(trial.Binary(b), "get"))
			theirs = append(theirs, run(filepath.Join(assets, "kubectl"), "--kubeconfig", c.Kubeconfig(), "get", "configmap", "-n", c.AWSAuthNamespace, "aws-auth", "-o", "yaml"))
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		b.ReportMetric(float64(ours[len(ours)/2].Milliseconds()), "ms/rolecall")
		b.ReportMetric(float64(theirs[len(theirs)/2].Milliseconds()), "ms/kubectl")
		b.ReportMetric(float64(ours[len(ours)/2])/float64(theirs[len(theirs)/2]), "rolecall/kubectl")
	}
	b.Run("ledger=none", measure)
	body, _, err := configmap.EncodeLedger(ledger)
	if err != nil {
		b.Fatal(err)
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fleet.LedgerName}, BinaryData: map[string][]byte{configmap.LedgerKey: body}}
	if _, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Create(b.Context(), cm, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Run("ledger=all", measure)
}
