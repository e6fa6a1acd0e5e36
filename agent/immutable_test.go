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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/report"
)

// An immutable aws-auth is no loop of retries and no reason to give way. The log
// says once what to do, and the status and the metric say so. Once somebody has created it anew it is
// written, by that event.
func TestImmutableIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(map[string]string{"mapRoles": ""})
		edit(t, client, func(cm *corev1.ConfigMap) { cm.Immutable = ptr.To(true) })
		var log lockedBuffer
		registry := prometheus.NewRegistry()
		opts := options(client, newWorld(by("n1", "workers")))
		opts.Registerer, opts.Logger = registry, slog.New(slog.NewTextHandler(&log, nil))
		l := NewLeader(opts)
		l.Apply(reported())
		lead(t, l)
		time.Sleep(10 * time.Second)
		client.ClearActions()
		time.Sleep(30 * time.Minute)
		if done := writes(client); len(done) > 0 {
			t.Errorf("it did %q", done)
		}
		reads := 0
		for _, a := range client.Actions() {
			if a.GetVerb() == "get" {
				reads++
			}
		}
		if reads > 2 {
			t.Errorf("%d reads in half an hour in which nothing happens", reads)
		}
		if n := strings.Count(log.String(), "is immutable"); n != 2 { // in the message, and in the advice
			t.Errorf("the log says %d times that it is immutable:\n%s", n, log.String())
		}
		status, err := report.DecodeStatus(l.Published())
		if err != nil {
			t.Fatal(err)
		}
		if status.Result != "immutable" || !strings.Contains(status.Error, "kubectl replace --force") || !strings.Contains(status.Immutable, "kubectl replace --force") {
			t.Errorf("the status says %+v", status)
		}
		if n := metric(t, registry, "rolecall_reconciles_total", "immutable"); n == 0 {
			t.Error("no reconcile is counted")
		}
		cm := awsAuth(t, client)
		maps := client.CoreV1().ConfigMaps(awsauth.Namespace)
		if err := maps.Delete(t.Context(), cm.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		cm.Immutable, cm.ResourceVersion = nil, ""
		if _, err := maps.Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := mapped(mapRoles(t, client)); !slices.Equal(got, []string{"workers"}) {
			t.Errorf("once it is created anew %q are mapped", got)
		}
		if status, err := report.DecodeStatus(l.Published()); err != nil || status.Immutable != "" || status.Result != "changed" && status.Result != "unchanged" {
			t.Errorf("the status says %+v, %v", status, err)
		}
	})
}
