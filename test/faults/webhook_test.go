package faults_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rolecall/rolecall/test/trial"
)

// EKS has a validating webhook on aws-auth whose rules nobody knows. One refuses
// an entry of ours: nothing of the write is done, it is said and tried again.
// Then the webhook itself is gone. When it lets the write pass, it comes through.
func TestRefusedByWebhook(t *testing.T) {
	t.Parallel()
	c := newCluster(t, opsOnly, calm...)
	c.Create(foreignText)
	leader, _ := c.nodes()
	c.settled("merged", with(trial.NodeRole("workers"), ops)...)
	w := newWebhook(t, c)

	w.refuse.Store(ptr.To("user/ana"))
	c.Mount(opsAndAna)
	c.AtLeast(leader, 2, "rolecall_writes_total", "object", "aws-auth", "result", "error")
	c.Logs(leader, "ERROR", "not in this cluster")
	c.Event("ReconcileFailed", "denied the request", "1 entry waits", "add of "+trial.Account+"user/ana")
	if err := trial.Differs(c.Now(), with(trial.NodeRole("workers"), ops)); err != nil {
		t.Error(err)
	}
	// What another config asks is written meanwhile.
	c.Mount(opsEdits)
	c.settled("another change passes", with(trial.NodeRole("workers"), editing)...)

	w.broken.Store(true)
	c.Mount(opsAndAna)
	c.Logs(leader, "ERROR", "failed calling webhook")
	c.Event("ReconcileFailed", "failed calling webhook", "look at the service behind it", "add of "+trial.Account+"user/ana")
	c.alive()
	w.broken.Store(false)
	w.refuse.Store(nil)
	c.settled("the webhook lets it pass", with(trial.NodeRole("workers"), ops, ana)...)
	if w.asked.Load() == 0 {
		t.Error("the webhook was never asked")
	}
	c.judge(foreignText, "workers")
}

// A webhook is a validating webhook of the API server for one cluster's
// aws-auth.
type webhook struct {
	refuse atomic.Pointer[string] // an update whose users hold this text; nil: none
	broken atomic.Bool            // it does not answer
	asked  atomic.Int64
}

func newWebhook(t *testing.T, c *cluster) *webhook {
	t.Helper()
	w := &webhook{}
	server := httptest.NewUnstartedServer(w)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // aborted handlers
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: c.Namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:                    "aws-auth.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: &server.URL, CABundle: ca},
			AdmissionReviewVersions: []string{"v1"},
			SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: c.AWSAuthNamespace}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}
	webhooks := c.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := webhooks.Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhooks.Delete(context.WithoutCancel(t.Context()), config.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	// The API server learns of it by a watch.
	c.Eventually("the API server asks the webhook", func(ctx context.Context) error {
		_, err := c.Client.CoreV1().ConfigMaps(c.AWSAuthNamespace).Update(ctx, c.Now(), metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && w.asked.Swap(0) == 0 {
			err = errors.New("it does not")
		}
		return err
	})
	return w
}

func (w *webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.asked.Add(1)
	if w.broken.Load() {
		panic(http.ErrAbortHandler)
	}
	var review admissionv1.AdmissionReview
	var cm corev1.ConfigMap
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if err := json.Unmarshal(review.Request.Object.Raw, &cm); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if text := w.refuse.Load(); text != nil && strings.Contains(cm.Data["mapUsers"], *text) {
		review.Response.Allowed = false
		review.Response.Result = &metav1.Status{Message: "not in this cluster"}
	}
	review.Request = nil
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(review) // fails only if the API server has gone
}
