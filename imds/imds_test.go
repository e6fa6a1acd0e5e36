package imds_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/imds"
	"github.com/rolecall/rolecall/test/awsfake"
)

// setenv sets variables given as NAME=value, and clears the others that lead
// the SDK to a metadata service.
func setenv(t *testing.T, env ...string) {
	t.Helper()
	for _, name := range []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_V1_DISABLED"} {
		t.Setenv(name, "")
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}

// stand starts a stand-in and returns a client of it that tries again quickly.
func stand(t *testing.T, o awsfake.IMDSOptions) (*awsfake.IMDS, *imds.Client) {
	t.Helper()
	m := awsfake.NewIMDS(o)
	if _, err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	setenv(t, m.Env()...)
	return m, quick()
}

func quick() *imds.Client { return waiting(10 * time.Second) }

// waiting is a client that waits that long for an answer.
func waiting(d time.Duration) *imds.Client {
	return imds.New(imds.Options{AttemptTimeout: d, MinWait: time.Millisecond, MaxWait: time.Millisecond})
}

// short is for services that do not answer. One that does may take longer.
const short = 200 * time.Millisecond

func TestIdentity(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options awsfake.IMDSOptions
		want    imds.Identity
	}{{
		name:    "the role's name, not its profile's",
		options: awsfake.IMDSOptions{Role: "node", Profile: "eks-0ab1"},
		want: imds.Identity{
			RoleARN: "arn:aws:iam::111122223333:role/node", RoleName: "node", AccountID: "111122223333", Partition: "aws",
			Region: "eu-west-3", Zone: "eu-west-3a", InstanceID: "i-0123456789abcdef0", OS: runtime.GOOS,
		},
	}, {
		name:    "China, local zone",
		options: awsfake.IMDSOptions{Role: "n+o=d,e.@-_", AccountID: "012345678901", Region: "cn-north-1", Zone: "cn-north-1-pkx-1a", InstanceID: "i-1"},
		want: imds.Identity{
			RoleARN: "arn:aws-cn:iam::012345678901:role/n+o=d,e.@-_", RoleName: "n+o=d,e.@-_", AccountID: "012345678901", Partition: "aws-cn",
			Region: "cn-north-1", Zone: "cn-north-1-pkx-1a", InstanceID: "i-1", OS: runtime.GOOS,
		},
	}} {
		t.Run(tc.name, func(t *testing.T) {
			m, c := stand(t, tc.options)
			got, err := c.Identity(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
			// One token serves all.
			want := map[string]int{"PUT " + awsfake.IMDSTokenPath: 1, "GET " + awsfake.IMDSDocumentPath: 1, "GET " + awsfake.IMDSCredentialsPath: 1}
			if diff := cmp.Diff(want, m.Requests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIdentityFailures(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault awsfake.IMDSFault
		want  error
		mend  string
	}{
		{"401", awsfake.IMDSUnauthorized, imds.ErrUnauthorized, "directly"},
		{"403", awsfake.IMDSDisabled, imds.ErrDisabled, "HttpEndpoint"},
		{"404", awsfake.IMDSNoRole, imds.ErrNoRole, "instance profile"},
		{"503", awsfake.IMDSUnavailable, imds.ErrUnavailable, "overloaded"},
		{"hang", awsfake.IMDSHang, imds.ErrUnreachable, "hostNetwork: true"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
			m.Set(tc.fault)
			faced := c
			if tc.fault == awsfake.IMDSHang {
				faced = waiting(short)
			}
			_, err := faced.Identity(t.Context())
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.mend) {
				t.Errorf("%q does not speak of %q", err, tc.mend)
			}
			m.Set(awsfake.IMDSHealthy)
			if _, err := c.Identity(t.Context()); err != nil {
				t.Errorf("after it was mended: %v", err)
			}
		})
	}
}

// A refused token is fetched anew before anything is said.
func TestTokenExpires(t *testing.T) {
	m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
	for range 3 {
		if _, err := c.Identity(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.ExpireTokens()
	}
	if got := m.Requests()["PUT "+awsfake.IMDSTokenPath]; got != 3 {
		t.Errorf("%d tokens were fetched, want 3", got)
	}
}

func TestTokenRefusedIsFetchedAnew(t *testing.T) {
	m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
	m.Set(awsfake.IMDSUnauthorized)
	if _, err := c.Identity(t.Context()); !errors.Is(err, imds.ErrUnauthorized) {
		t.Fatalf("got %v, want %v", err, imds.ErrUnauthorized)
	}
	if got := m.Requests()["PUT "+awsfake.IMDSTokenPath]; got < 2 {
		t.Errorf("%d tokens were fetched, want more than one", got)
	}
}

// Once a token has come, the service is known to be in reach; then silence is
// slowness and no matter of the hop limit.
func TestSlowIsNotUnreachable(t *testing.T) {
	m, _ := stand(t, awsfake.IMDSOptions{Role: "node"})
	c := waiting(short)
	for { // on a machine that stands still it can take two
		if _, err := c.Identity(t.Context()); err == nil {
			break
		} else if !errors.Is(err, imds.ErrUnreachable) && !errors.Is(err, imds.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	m.Set(awsfake.IMDSHang)
	_, err := c.Identity(t.Context())
	if !errors.Is(err, imds.ErrUnavailable) {
		t.Errorf("got %v, want %v", err, imds.ErrUnavailable)
	}
}

func TestSlowButInTime(t *testing.T) {
	m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
	m.SetDelay(20 * time.Millisecond)
	if _, err := c.Identity(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNobodyListens(t *testing.T) {
	m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Identity(t.Context()); !errors.Is(err, imds.ErrUnreachable) {
		t.Errorf("got %v, want %v", err, imds.ErrUnreachable)
	}
}

func TestEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env  string
		want error
	}{
		{"AWS_EC2_METADATA_DISABLED=true", imds.ErrSwitchedOff},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv5", imds.ErrInvalid},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://%zz", imds.ErrInvalid},
	} {
		t.Run(tc.env, func(t *testing.T) {
			setenv(t, tc.env)
			_, err := quick().Identity(t.Context())
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if name, _, _ := strings.Cut(tc.env, "="); !strings.Contains(err.Error(), name) {
				t.Errorf("%q does not name the variable", err)
			}
		})
	}
}

// What is no identity gives an error, never an ARN.
func TestWrongAnswers(t *testing.T) {
	const document = `{"accountId":"111122223333","region":"eu-west-3","availabilityZone":"eu-west-3a","instanceId":"i-1"}`
	replace := func(old, new string) string { return strings.Replace(document, old, new, 1) }
	for _, tc := range []struct {
		name, path, body string
		want             error
	}{
		{"document not JSON", awsfake.IMDSDocumentPath, "<html>", imds.ErrInvalid},
		{"document empty", awsfake.IMDSDocumentPath, "", imds.ErrInvalid},
		{"document cut", awsfake.IMDSDocumentPath, document[:40], imds.ErrInvalid},
		{"document too large", awsfake.IMDSDocumentPath, document + strings.Repeat(" ", 1<<20), imds.ErrInvalid},
		{"account short", awsfake.IMDSDocumentPath, replace("111122223333", "11112222333"), imds.ErrInvalid},
		{"account not digits", awsfake.IMDSDocumentPath, replace("111122223333", "1111-2222-33"), imds.ErrInvalid},
		{"account missing", awsfake.IMDSDocumentPath, replace("accountId", "account"), imds.ErrInvalid},
		{"region unknown", awsfake.IMDSDocumentPath, replace(`"eu-west-3"`, `"moon-west-3"`), imds.ErrInvalid},
		{"region missing", awsfake.IMDSDocumentPath, replace(`"eu-west-3"`, `""`), imds.ErrInvalid},
		{"zone no name", awsfake.IMDSDocumentPath, replace("eu-west-3a", `eu\n-west`), imds.ErrInvalid},
		{"instance no id", awsfake.IMDSDocumentPath, replace(`"i-1"`, `"i/1"`), imds.ErrInvalid},
		{"role empty", awsfake.IMDSCredentialsPath, "", imds.ErrNoRole},
		{"role two", awsfake.IMDSCredentialsPath, "node\nother\n", imds.ErrInvalid},
		{"role with path", awsfake.IMDSCredentialsPath, "path/node", imds.ErrInvalid},
		{"role an ARN", awsfake.IMDSCredentialsPath, "arn:aws:iam::111122223333:role/node", imds.ErrInvalid},
		{"role too long", awsfake.IMDSCredentialsPath, strings.Repeat("n", 65), imds.ErrInvalid},
		{"role HTML", awsfake.IMDSCredentialsPath, "<html><body>login</body></html>", imds.ErrInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
			m.SetBody(tc.path, tc.body)
			id, err := c.Identity(t.Context())
			if !errors.Is(err, tc.want) {
				t.Errorf("got %+v, %v, want %v", id, err, tc.want)
			}
			if id != (imds.Identity{}) {
				t.Errorf("got %+v beside the error", id)
			}
		})
	}
	// The same document passes as it is.
	m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
	m.SetBody(awsfake.IMDSDocumentPath, document)
	m.SetBody(awsfake.IMDSCredentialsPath, "node\n")
	if _, err := c.Identity(t.Context()); err != nil {
		t.Error(err)
	}
}

// serve makes a handler be the metadata service.
func serve(t *testing.T, h http.HandlerFunc) *imds.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	setenv(t, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+s.URL)
	return quick()
}

// A service of version 1 alone is not asked for data.
func TestNeverVersion1(t *testing.T) {
	for status, want := range map[int]error{
		http.StatusForbidden:           imds.ErrDisabled,
		http.StatusNotFound:            imds.ErrInvalid,
		http.StatusMethodNotAllowed:    imds.ErrInvalid,
		http.StatusBadRequest:          imds.ErrInvalid,
		http.StatusInternalServerError: imds.ErrUnavailable,
	} {
		var gets atomic.Int64
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(status)
				return
			}
			gets.Add(1)
			_, _ = io.WriteString(w, "node")
		})
		if id, err := c.Identity(t.Context()); !errors.Is(err, want) {
			t.Errorf("token answered %d: got %+v, %v, want %v", status, id, err, want)
		}
		if gets.Load() != 0 {
			t.Errorf("token answered %d: data was asked for without a token", status)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	m, _ := stand(t, awsfake.IMDSOptions{Role: "elsewhere"})
	target := m.URL()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if id, err := c.Identity(t.Context()); !errors.Is(err, imds.ErrInvalid) {
		t.Errorf("got %+v, %v, want %v", id, err, imds.ErrInvalid)
	}
}

// A failure that passes is not told.
func TestTransientFailures(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		m := awsfake.NewIMDS(awsfake.IMDSOptions{Role: "node"})
		var mu sync.Mutex
		seen := map[string]bool{}
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			again := seen[r.URL.Path]
			seen[r.URL.Path] = true
			mu.Unlock()
			if !again {
				w.WriteHeader(status)
				return
			}
			m.ServeHTTP(w, r)
		})
		if _, err := c.Identity(t.Context()); err != nil {
			t.Errorf("%d to each first request: %v", status, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	arrived := make(chan struct{}, 1)
	serve(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	c := imds.New(imds.Options{AttemptTimeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := c.Identity(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, imds.ErrUnreachable) {
		t.Errorf("got %v, want that it was canceled and no more", err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), time.Second) // within which it is asked, also where the machine stands still
	defer cancel()
	_, err := c.Identity(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, imds.ErrUnreachable) {
		t.Errorf("got %v, want both that time ran out and why", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	m, c := stand(t, awsfake.IMDSOptions{Role: "node"})
	for range 5 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := c.Identity(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		m.ExpireTokens()
	}
}
