package agent

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/history"
	"github.com/rolecall/rolecall/internal/report"
)

// A list that cannot be read and is not put back is left alone, with its bytes; the
// others go on, so that a node's role gets in. The outcome, the metric, the Lease's
// status and the log say what is wrong.
func TestUnreadableListIsLeftAlone(t *testing.T) {
	const broken = "- userarn: [\n"
	for name, test := range map[string]struct {
		policy config.OnMalformed
		known  bool // a good text
	}{
		"no good text is known":           {config.Restore, false},
		"nothing is to be put back":       {config.Refuse, false},
		"nothing, though a good is known": {config.Refuse, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := newClient(map[string]string{"mapUsers": broken, "theirs": "kept"})
				if test.known {
					good := history.Content{Data: map[string]string{"mapUsers": "- userarn: arn:aws:iam::111122223333:user/ana\n  username: ana\n"}}
					if _, err := history.New(client.AppsV1().ControllerRevisions("n"), awsauth.Name, "test").Record(t.Context(), history.Revision{At: time.Now()}, good); err != nil {
						t.Fatal(err)
					}
				}
				var log lockedBuffer
				registry := prometheus.NewRegistry()
				opts := options(client, newWorld(by("n1", "workers")))
				opts.Registerer, opts.Logger = registry, slog.New(slog.NewTextHandler(&log, nil))
				l := NewLeader(opts)
				file := reported()
				file.Config.Safety.OnMalformed = test.policy
				file.Config.Users = []config.User{{ARN: "arn:aws:iam::111122223333:user/bob", Username: "bob"}}
				l.Apply(file)
				lead(t, l)
				time.Sleep(10 * time.Second)

				cm := awsAuth(t, client)
				if !slices.Equal(mapped(cm.Data["mapRoles"]), []string{"workers"}) || cm.Data["mapUsers"] != broken || cm.Data["theirs"] != "kept" {
					t.Errorf("it holds %q", cm.Data)
				}
				last := l.View().Last
				if last.Err != nil || last.Outcome() != report.Malformed || last.Unmapped != 0 || len(last.Change.Left) != 1 {
					t.Errorf("the outcome is %s, %v; %d roles are not mapped, left out are %+v", last.Outcome(), last.Err, last.Unmapped, last.Change.Left)
				}
				if n := metric(t, registry, "rolecall_aws_auth_malformed"); n != 1 {
					t.Errorf("rolecall_aws_auth_malformed is %v", n)
				}
				status, err := report.DecodeStatus(l.Published())
				if err != nil {
					t.Fatal(err)
				}
				if status.Result != "malformed" || !strings.Contains(status.Error, "mapUsers") || status.Left != 1 {
					t.Errorf("the status says %+v", status)
				}
				if n := strings.Count(log.String(), "malformed"); n != 1 {
					t.Errorf("the log says %d times that it is malformed:\n%s", n, log.String())
				}

				// Somebody fixes it.
				edit(t, client, func(cm *corev1.ConfigMap) { cm.Data["mapUsers"] = "" })
				time.Sleep(10 * time.Second)
				if n := metric(t, registry, "rolecall_aws_auth_malformed"); n != 0 || !strings.Contains(awsAuth(t, client).Data["mapUsers"], "user/bob") {
					t.Errorf("once it is fixed, rolecall_aws_auth_malformed is %v and it holds %q", n, awsAuth(t, client).Data)
				}
			})
		})
	}
}

// The entries of a list that cannot be read are still managed once it can be.
func TestUnreadableListStaysManaged(t *testing.T) {
	w, client := newWorld(by("n1", "workers")), newClient(nil)
	file := reported()
	file.Config.Safety.OnMalformed = config.Refuse
	file.Config.Users = []config.User{{ARN: "arn:aws:iam::111122223333:user/bob", Username: "bob"}}
	r := w.reconciler(client)
	reconcile(t, r, file)
	good := awsAuth(t, client).Data["mapUsers"]
	edit(t, client, func(cm *corev1.ConfigMap) { cm.Data["mapUsers"] = "- userarn: [\n" })
	w.reports.Reports = append(w.reports.Reports, by("n2", "more"))
	if out := reconcile(t, r, file); out.Outcome() != report.Malformed || !slices.Equal(mapped(mapRoles(t, client)), []string{"more", "workers"}) {
		t.Errorf("the outcome is %s; it holds\n%s", out.Outcome(), mapRoles(t, client))
	}
	stripped := strings.ReplaceAll(good, "syncedBy", "other")
	edit(t, client, func(cm *corev1.ConfigMap) { cm.Data["mapUsers"] = stripped })
	file.Config.Users = nil
	file.Hash = "without bob"
	reconcile(t, r, file)
	if got := awsAuth(t, client).Data["mapUsers"]; strings.Contains(got, "bob") {
		t.Errorf("what was managed before the list could not be read is not removed after it:\n%s", got)
	}
}
