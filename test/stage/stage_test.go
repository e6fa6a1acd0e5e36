package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func TestMain(m *testing.M) {
	if os.Getenv(parentVariable) != "" {
		beParent()
		os.Exit(1)
	}
	os.Exit(Main(m))
}

func clientFor(t *testing.T, config *rest.Config, err error) *kubernetes.Clientset {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func whoAmI(t *testing.T, client kubernetes.Interface) authenticationv1.UserInfo {
	t.Helper()
	review, err := client.AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.UserInfo
}

func TestStaleUpdateConflicts(t *testing.T) {
	cp := ForTest(t)
	configMaps := clientFor(t, cp.Config(), nil).CoreV1().ConfigMaps(cp.Namespace(t))
	first, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "aws-auth"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first.Data = map[string]string{"mapRoles": "[]"}
	if _, err := configMaps.Update(t.Context(), first, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Update(t.Context(), first, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update with a resourceVersion of before: %v, want a conflict", err)
	}
}

func TestWhoIsWho(t *testing.T) {
	cp := ForTest(t)
	ns := cp.Namespace(t)
	admin := clientFor(t, cp.Config(), nil)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "agent"}}
	if _, err := admin.CoreV1().ServiceAccounts(ns).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	accountConfig, err := cp.ServiceAccountConfig(t.Context(), ns, "agent")
	agent := clientFor(t, accountConfig, err)
	if got, want := whoAmI(t, agent).Username, "system:serviceaccount:"+ns+":agent"; got != want {
		t.Errorf("service account is %q, want %q", got, want)
	}
	if _, err := agent.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("service account without a role lists ConfigMaps: %v, want forbidden", err)
	}

	pod, err := admin.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-x"},
		Spec:       corev1.PodSpec{ServiceAccountName: "agent", NodeName: "node-x", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	podConfig, err := cp.PodConfig(t.Context(), pod)
	if got := whoAmI(t, clientFor(t, podConfig, err)).Extra["authentication.kubernetes.io/node-name"]; !slices.Equal(got, []string{"node-x"}) {
		t.Errorf("the pod's token names node %q, want node-x", got)
	}

	userConfig, err := cp.UserConfig("jane", "on-call", "viewers")
	user := whoAmI(t, clientFor(t, userConfig, err))
	if diff := cmp.Diff([]string{"on-call", "viewers", "system:authenticated"}, user.Groups); user.Username != "jane" || diff != "" {
		t.Errorf("user is %q; groups (-want +got):\n%s", user.Username, diff)
	}

	if _, err := cp.ServiceAccountConfig(t.Context(), ns, "nobody"); !apierrors.IsNotFound(err) {
		t.Errorf("token of a missing service account: %v, want not found", err)
	}
}

func TestKubeconfig(t *testing.T) {
	cp := ForTest(t)
	for name, write := range map[string]func(path string) error{
		"admin": cp.Kubeconfig,
		"user": func(path string) error {
			config, err := cp.UserConfig("user", "people")
			if err != nil {
				return err
			}
			return WriteKubeconfig(path, config)
		},
		"system:serviceaccount:kube-system:sa": func(path string) error {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "sa"}}
			_, err := clientFor(t, cp.Config(), nil).CoreV1().ServiceAccounts("kube-system").Create(t.Context(), account, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			config, err := cp.ServiceAccountConfig(t.Context(), "kube-system", "sa")
			if err != nil {
				return err
			}
			return WriteKubeconfig(path, config)
		},
	} {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := write(path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("kubeconfig of %s: %v %v, want mode 0600", name, info, err)
		}
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if got := whoAmI(t, clientFor(t, config, err)).Username; got != name {
			t.Errorf("kubeconfig of %s is %s's", name, got)
		}
	}
}

func TestServerIsVerified(t *testing.T) {
	cp := ForTest(t)
	config := cp.Config()
	config.CAData = nil
	_, err := clientFor(t, config, nil).ServerVersion()
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("client that doesn't know the authority: %v, want a certificate error", err)
	}
}

func TestCreateNamespaceTwice(t *testing.T) {
	cp := ForTest(t)
	for range 2 {
		if err := cp.CreateNamespace(t.Context(), "kube-system"); err != nil {
			t.Error(err)
		}
	}
}

// TestLifecycle breaks a control plane of its own.
func TestLifecycle(t *testing.T) {
	ForTest(t) // skips where there is none
	audit := filepath.Join(t.TempDir(), "audit.log")
	cp, err := Start(t.Context(), Options{AuditLog: audit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	configMaps := clientFor(t, cp.Config(), nil).CoreV1().ConfigMaps("kube-system")
	before, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	url, pids := cp.URL(), []int{cp.etcd.Pid, cp.apiserver.Pid}

	if text, err := os.ReadFile(audit); err != nil || !strings.Contains(string(text), `"requestURI":"/api/v1/namespaces/kube-system/configmaps`) {
		t.Errorf("the audit log lacks the request that was just answered: %v\n%s", err, text)
	}

	if err := cp.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := configMaps.Get(ctx, "kept", metav1.GetOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("request to a paused server: %v, want no answer", err)
	}
	if err := cp.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := configMaps.Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("request after Resume: %v", err)
	}

	for range 2 {
		if err := cp.StopAPIServer(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := configMaps.Get(t.Context(), "kept", metav1.GetOptions{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("request to a stopped server: %v, want connection refused", err)
	}
	for range 2 {
		if err := cp.StartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if cp.URL() != url {
		t.Errorf("after the restart the address is %s, was %s", cp.URL(), url)
	}
	after, err := configMaps.Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("object across a restart (-before +after):\n%s", diff)
	}

	pids = append(pids, cp.apiserver.Pid)
	if err := cp.Pause(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 2 {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(begin); took >= grace {
		t.Errorf("Stop of a paused server took %v: it had to be killed", took)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if _, err := os.Stat(cp.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary folder is left: %v", err)
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	ForTest(t) // skips where there is none
	for name, c := range map[string]struct {
		timeout time.Duration
		flags   []string
		want    []string // in the error
	}{
		"server ends": {
			timeout: time.Minute,
			flags:   []string{"--no-such-flag"},
			want:    []string{"kube-apiserver ended by itself: exit status 1", "unknown flag: --no-such-flag"},
		},
		"caller's deadline": {
			timeout: 500 * time.Millisecond,
			want:    []string{"wait for kube-apiserver: context deadline exceeded", "/readyz", "the end of its log"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			defer cancel()
			dir := t.TempDir()
			_, err := Start(ctx, Options{Dir: dir, APIServerFlags: c.flags})
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error without %q: %v", want, err)
				}
			}
			links, _ := filepath.Glob("/proc/[0-9]*/cwd") // only Linux has it; elsewhere this sees nothing
			for _, link := range links {
				if cwd, err := os.Readlink(link); err == nil && cwd == dir {
					t.Errorf("%s: a process is left", link)
				}
			}
		})
	}
}

// alive says whether the process runs. One that has ended and waits for its
// parent to notice doesn't.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || !strings.Contains(string(status), "State:\tZ")
}
