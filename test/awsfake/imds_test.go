package awsfake_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rolecall/rolecall/test/awsfake"
)

// ask sends one request to a handler.
func ask(h http.Handler, method, path string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func ttl(s string) map[string]string {
	return map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": s}
}

func token(s string) map[string]string { return map[string]string{"X-aws-ec2-metadata-token": s} }

func TestIMDSTokens(t *testing.T) {
	m := awsfake.NewIMDS(awsfake.IMDSOptions{Role: "node"})
	forwarded := ttl("60")
	forwarded["X-Forwarded-For"] = "10.0.0.1"
	for _, tc := range []struct {
		name, method string
		header       map[string]string
		want         int
	}{
		{"no TTL", http.MethodPut, nil, http.StatusBadRequest},
		{"TTL of nothing", http.MethodPut, ttl("0"), http.StatusBadRequest},
		{"TTL of more than six hours", http.MethodPut, ttl("21601"), http.StatusBadRequest},
		{"TTL no number", http.MethodPut, ttl("1h"), http.StatusBadRequest},
		{"through a proxy", http.MethodPut, forwarded, http.StatusForbidden},
		{"GET", http.MethodGet, ttl("60"), http.StatusMethodNotAllowed},
		{"as it should be", http.MethodPut, ttl("60"), http.StatusOK},
	} {
		if w := ask(m, tc.method, awsfake.IMDSTokenPath, tc.header); w.Code != tc.want {
			t.Errorf("%s: got %d, want %d", tc.name, w.Code, tc.want)
		}
	}

	good := token(ask(m, http.MethodPut, awsfake.IMDSTokenPath, ttl("60")).Body.String())
	for name, header := range map[string]map[string]string{"no token": nil, "empty token": token(""), "made-up token": token("x")} {
		if w := ask(m, http.MethodGet, awsfake.IMDSCredentialsPath, header); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", name, w.Code)
		}
	}
	if w := ask(m, http.MethodGet, awsfake.IMDSCredentialsPath, good); w.Code != http.StatusOK || w.Body.String() != "node" {
		t.Errorf("with a token: got %d %q", w.Code, w.Body)
	}
	m.ExpireTokens()
	if w := ask(m, http.MethodGet, awsfake.IMDSCredentialsPath, good); w.Code != http.StatusUnauthorized {
		t.Errorf("with an expired token: got %d, want 401", w.Code)
	}
}

func TestIMDSMetadata(t *testing.T) {
	m := awsfake.NewIMDS(awsfake.IMDSOptions{Role: "node", Profile: "eks-0ab1", Region: "us-gov-west-1"})
	header := token(ask(m, http.MethodPut, awsfake.IMDSTokenPath, ttl("60")).Body.String())
	get := func(path string) string {
		t.Helper()
		w := ask(m, http.MethodGet, path, header)
		if w.Code != http.StatusOK {
			t.Errorf("%s: got %d", path, w.Code)
		}
		return w.Body.String()
	}
	for path, want := range map[string]string{
		"/latest/meta-data/placement/region":            "us-gov-west-1",
		"/latest/meta-data/placement/availability-zone": "us-gov-west-1a",
		"/latest/meta-data/instance-id":                 "i-0123456789abcdef0",
		"/latest/meta-data/services/partition":          "aws-us-gov",
		awsfake.IMDSCredentialsPath:                     "node",
	} {
		if got := get(path); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	var info struct{ InstanceProfileArn string }
	if err := json.Unmarshal([]byte(get("/latest/meta-data/iam/info")), &info); err != nil {
		t.Fatal(err)
	}
	if want := "arn:aws-us-gov:iam::111122223333:instance-profile/eks-0ab1"; info.InstanceProfileArn != want {
		t.Errorf("profile %q, want %q", info.InstanceProfileArn, want)
	}
	m.SetRole("")
	for _, path := range []string{awsfake.IMDSCredentialsPath, awsfake.IMDSCredentialsPath + "node", "/latest/meta-data/iam/info", "/latest/nothing"} {
		if w := ask(m, http.MethodGet, path, header); w.Code != http.StatusNotFound {
			t.Errorf("%s without a role: got %d, want 404", path, w.Code)
		}
	}
}

func TestIMDSServes(t *testing.T) {
	m := awsfake.NewIMDS(awsfake.IMDSOptions{})
	url, err := m.Start()
	if err != nil {
		t.Fatal(err)
	}
	if want := "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + url; len(m.Env()) != 1 || m.Env()[0] != want {
		t.Errorf("environment %q, want %q", m.Env(), want)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url + "/latest/meta-data/")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d, want 401", resp.StatusCode)
	}

	// A request that hangs does not keep it from closing.
	m.Set(awsfake.IMDSHang)
	failed := make(chan error, 1)
	go func() {
		resp, err := client.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("a hanging request was answered")
	}
	if err := m.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}
