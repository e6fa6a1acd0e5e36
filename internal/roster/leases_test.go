package roster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientset "k8s.io/client-go/kubernetes/fake"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// heavy is the report of a role that has more beside it than a leader has memory for a
// hundred of.
func heavy(role string, bytes int) *coordinationv1.Lease {
	fields := fmt.Sprintf(`{"f:metadata":{"f:annotations":{"f:%s":{}}}}`, strings.Repeat("x", bytes))
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: LeaseName(role), Labels: map[string]string{Label: LabelValue}, ResourceVersion: "7", CreationTimestamp: metav1.NewTime(now),
			Annotations:     map[string]string{RoleARNAnnotation: role, "a": "b"},
			OwnerReferences: []metav1.OwnerReference{{Name: "o"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}},
		},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("node"), RenewTime: ptr.To(metav1.NewMicroTime(now)), LeaseTransitions: ptr.To(int32(3)), PreferredHolder: ptr.To("other"),
		},
	}
}

// served is a client of an API server that answers all with this.
func served(t *testing.T, answer http.HandlerFunc) coordinationv1client.CoordinationV1Interface {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"}})
	if err != nil {
		t.Fatal(err)
	}
	return client.CoordinationV1()
}

// A list of Leases takes the memory of one of them, however large they are, and is read
// as it would be whole.
func TestListTakesTheMemoryOfOneLease(t *testing.T) {
	const leases, bytes = 80, 1_300_000
	ballast := strings.Repeat("x", bytes)
	client := served(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept"); got != "application/json" {
			t.Errorf("it accepts %q", got)
		}
		if r.URL.Path != "/apis/coordination.k8s.io/v1/namespaces/n/leases" || r.URL.Query().Get("labelSelector") != Selector || r.URL.Query().Get("limit") == "" {
			t.Errorf("it asks for %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"LeaseList","apiVersion":"coordination.k8s.io/v1","metadata":{"resourceVersion":"9"},"items":[`)
		for i := range leases {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			role := fmt.Sprintf("arn:aws:iam::111122223333:role/r%03d", i)
			light, err := json.Marshal(heavy(role, 1))
			if err != nil {
				t.Error(err)
			}
			before, after, _ := strings.Cut(string(light), "f:x")
			fmt.Fprint(w, before, "f:", ballast, after)
		}
		fmt.Fprint(w, `]}`)
	})
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var m runtime.MemStats
		most := uint64(0)
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	list, err := New(Leases(client, "n")).List(t.Context(), "")
	close(stop)
	most := <-peak
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB in use at most, for a list of %d MiB", most>>20, leases*bytes>>20)
	if most > 50<<20 { // the test's own server encodes beside it
		t.Errorf("%d MiB are in use", most>>20)
	}
	if len(list.Reports) != leases || !list.Reports[0].Renewed.Equal(now) || list.Reports[0].Node != "node" || list.Reports[1].RoleARN != "arn:aws:iam::111122223333:role/r001" {
		t.Errorf("%d reports, the first is %+v", len(list.Reports), list.Reports[0])
	}
}

// What is read of a list is what client-go reads, without what no report has.
func TestSlimList(t *testing.T) {
	whole := &coordinationv1.LeaseList{
		TypeMeta: metav1.TypeMeta{Kind: "LeaseList", APIVersion: "coordination.k8s.io/v1"},
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "token", RemainingItemCount: ptr.To(int64(4))},
		Items: []coordinationv1.Lease{
			*heavy(arnA, 10), {ObjectMeta: metav1.ObjectMeta{Name: "bare", CreationTimestamp: metav1.NewTime(now)}}, *heavy(arnB+strings.Repeat("x", maxARN), 10),
		},
	}
	body, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readLeases(strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	want := whole.DeepCopy()
	want.APIVersion = ""
	for i := range want.Items {
		slim(&want.Items[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range body {
		if _, err := readLeases(strings.NewReader(string(body[:n]))); err == nil {
			t.Fatalf("a list that ends after %d of %d bytes is read", n, len(body))
		}
	}
	for _, text := range []string{"", "[]", "null", "1", `{}`, `{"kind":"Status"}`, `{"kind":"LeaseList","items":{}}`, `{"kind":"LeaseList","items":[1]}`, `{"kind":1}`} {
		if list, err := readLeases(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, list)
		}
	}
	for _, text := range []string{`{"kind":"LeaseList","items":null}`, `{"items":[],"kind":"LeaseList","later":{"a":[1]}}`, `{"kind":"LeaseList"}`} {
		if list, err := readLeases(strings.NewReader(text)); err != nil || len(list.Items) != 0 {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}

// What the API server refuses is refused in its words, and a list that is cut off is an
// error.
func TestListFails(t *testing.T) {
	refused := func(w http.ResponseWriter, _ *http.Request) {
		status := apierrors.NewForbidden(resource, "", errors.New("no")).Status()
		status.Kind, status.APIVersion = "Status", "v1"
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(status)
	}
	if _, err := New(Leases(served(t, refused), "n")).List(t.Context(), ""); !apierrors.IsForbidden(err) {
		t.Errorf("refused: %v", err)
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"kind":"LeaseList","items":[`)
	}
	if _, err := New(Leases(served(t, cut), "n")).List(t.Context(), ""); err == nil {
		t.Error("a list that was cut off is read")
	}
	hangs := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"kind":"LeaseList","items":[`)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's is one
		<-r.Context().Done()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := New(Leases(served(t, hangs), "n")).List(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that hangs: %v", err)
	}
}

// client-go's fake clientset has no connection, and is taken as it is.
func TestLeasesOfAFakeClient(t *testing.T) {
	client := clientset.NewClientset().CoordinationV1()
	if _, err := New(Leases(client, "n")).Report(t.Context(), arnA, "node", now); err != nil {
		t.Fatal(err)
	}
	if list, err := New(Leases(client, "n")).List(t.Context(), ""); err != nil || len(list.Reports) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
