package cli_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/rolecall/rolecall/test/trial"
)

// What somebody else writes between reading and writing is never written over:
// it is looked at anew, and what is wrong with it is mended too.
func TestLintFixConflict(t *testing.T) {
	t.Parallel()
	c := trial.New(t, "", trial.Options{})
	const first = "- rolearn: arn:aws:iam::111122223333:role/x/a\n  username: a\n"
	const second = "- rolearn: arn:aws:iam::111122223333:role/x/b\n  username: b\n"
	c.Replace(map[string]string{"mapRoles": first})
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int32
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			if r.In.Method == http.MethodPut && writes.Add(1) == 1 {
				c.Edit(func(data map[string]string) { data["mapRoles"] += second })
			}
			r.SetURL(server)
		},
	})
	defer proxy.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{"a": {Server: proxy.URL}},
		Contexts:       map[string]*api.Context{"a": {Cluster: "a"}},
		CurrentContext: "a",
	}, kubeconfig); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	r, err := c.Run(ctx, "lint", "--fix", "--yes", "--kubeconfig", kubeconfig)
	if err != nil || r.Code != 0 {
		t.Fatalf("exit status %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	if !strings.Contains(r.Stderr, "meanwhile: looked at anew") || writes.Load() != 2 {
		t.Errorf("%d writes:\n%s%s", writes.Load(), r.Stdout, r.Stderr)
	}
	if got, want := c.Now().Data["mapRoles"], strings.ReplaceAll(first+second, "role/x/", "role/"); got != want {
		t.Errorf("mapRoles is %q, want %q", got, want)
	}
}
