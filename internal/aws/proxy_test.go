package aws_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

// A proxy forwards plain requests to one server, whatever host they are for, or keeps
// them without an answer.
type proxy struct {
	*httptest.Server
	to http.Handler // nil: nobody answers

	mu    sync.Mutex
	asked []string // hosts
}

func startProxy(t *testing.T, to http.Handler) *proxy {
	t.Helper()
	p := &proxy{to: to}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, r.URL.Host)
		p.mu.Unlock()
		if p.to == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		p.to.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://user:hunter2@"+p.Listener.Addr().String())
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	return p
}

func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nil
}

func (p *proxy) hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// asksAWS is set in a process that TestLinkLocalThroughNoProxy starts: net/http reads
// the proxies of the environment once in a process.
const asksAWS = "ROLECALL_TEST_ASKS_AWS"

func TestAsksAWS(t *testing.T) {
	if os.Getenv(asksAWS) == "" {
		t.Skip("a helper of another test")
	}
	_, err := open(t, aws.Options{MaxAttempts: 1, AttemptTimeout: 200 * time.Millisecond, Timeout: time.Second}).PermissionSets(t.Context())
	t.Log("it came to an end:", err)
}

// What only the node itself has is asked without a proxy, by every way to credentials
// that the SDK's chain has; all else through it.
func TestLinkLocalThroughNoProxy(t *testing.T) {
	p := startProxy(t, awsfake.NewAWS(awsfake.AWSOptions{}))
	for name, env := range map[string][]string{
		"ECS":                    {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v1/credentials"},
		"ECS by its URL":         {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.2/v1/credentials"},
		"EKS Pod Identity":       {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials"},
		"EKS Pod Identity, IPv6": {"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://[fd00:ec2::23]/v1/credentials"},
		"IMDS":                   {"AWS_EC2_METADATA_DISABLED=false"},
		"IMDS, IPv6":             {"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6"},
		"IMDS by its URL":        {"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254"},
		"keys":                   {"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"},
	} {
		setenv(t, append([]string{"AWS_ENDPOINT_URL=http://aws.example", "AWS_ENDPOINT_URL_STS=http://sts.example", "AWS_REGION=eu-west-3"}, env...)...)
		p.forget()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAsksAWS$", "-test.v")
		child.Env = append(os.Environ(), asksAWS+"=1")
		out, err := child.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "it came to an end") {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		var want []string
		if name == "keys" {
			want = []string{"aws.example"}
		}
		if got := p.hosts(); !slices.Equal(got, want) {
			t.Errorf("%s: the proxy was asked for %q, want %q\n%s", name, got, want, out)
		}
	}
}

// Where a proxy keeps a request, the error names the proxy and NO_PROXY and does not
// advise a proxy; it has no password.
func TestSilentProxyIsNamed(t *testing.T) {
	p := startProxy(t, nil)
	token := write(t, "token", "e30.e30.e30")
	for name, env := range map[string][]string{
		"IAM": {"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"},
		"STS": {"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/irsa", "AWS_WEB_IDENTITY_TOKEN_FILE=" + token},
	} {
		setenv(t, append([]string{"AWS_ENDPOINT_URL=http://aws.example", "AWS_ENDPOINT_URL_STS=http://aws.example", "AWS_REGION=eu-west-3"}, env...)...)
		_, err := open(t, aws.Options{MaxAttempts: 2, AttemptTimeout: 100 * time.Millisecond}).PermissionSets(t.Context())
		if aws.Reason(err) != aws.ReasonTimeout {
			t.Errorf("%s: %v is for the reason %q", name, err, aws.Reason(err))
		}
		for _, s := range []string{"aws.example is asked through the proxy http://" + p.Listener.Addr().String(), "NO_PROXY"} {
			if !strings.Contains(fmt.Sprint(err), s) {
				t.Errorf("%s: %v does not say %q", name, err, s)
			}
		}
		for _, s := range []string{"HTTPS_PROXY", "hunter2", "IRSA"} {
			if strings.Contains(fmt.Sprint(err), s) {
				t.Errorf("%s: %v says %q", name, err, s)
			}
		}
	}
}

// Without a proxy a way to AWS is advised, as before.
func TestNoWayWithoutAProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "")
	}
	setenv(t, "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=eu-west-3", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	_, err := open(t, aws.Options{MaxAttempts: 1}).PermissionSets(t.Context())
	if aws.Reason(err) != aws.ReasonUnreachable || !strings.Contains(err.Error(), "HTTPS_PROXY") || strings.Contains(err.Error(), "NO_PROXY") {
		t.Errorf("%v is for the reason %q", err, aws.Reason(err))
	}
}
