package aws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

const (
	hexA = "aaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbb"
	hexC = "0123456789abcdef"
	sso  = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/"
)

// setenv makes these, given as NAME=value, the only variables that the SDK
// sees, and keeps the files of whoever runs the test out of it.
func setenv(t *testing.T, env ...string) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	for _, e := range append([]string{"AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true"}, env...) {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}

func start(t *testing.T, o awsfake.AWSOptions) *awsfake.AWS {
	t.Helper()
	a := awsfake.NewAWS(o)
	if _, err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	setenv(t, a.Env()...)
	return a
}

// open returns a directory that doesn't linger over retries.
func open(t *testing.T, o aws.Options) *aws.Directory {
	t.Helper()
	if o.MaxBackoff == 0 {
		o.MaxBackoff = time.Millisecond
	}
	d, err := aws.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// groupUsers are the members of a group, without when they were created.
func groupUsers(t *testing.T, d *aws.Directory, group string) ([]aws.User, error) {
	t.Helper()
	answer, err := d.GroupUsers(t.Context(), group)
	if answer == nil {
		return nil, err
	}
	users := slices.Clone(answer.Users)
	for i := range users {
		users[i].Created = time.Time{}
	}
	return users, err
}

func day(n int) time.Time { return time.Date(2024, 3, n, 12, 0, 0, 0, time.UTC) }

// directory fills a with sets that are easily taken for one another.
func directory(a *awsfake.AWS) map[string]aws.Role {
	// Rotated twice, made in another order than they sort.
	a.AddPermissionSet("Admin", hexB, "", day(1))
	a.AddPermissionSet("Admin", hexC, "", day(3))
	a.AddPermissionSet("Admin", hexA, "", day(2))
	// Beginnings of one another, underscores, and a set whose name ends like a suffix.
	a.AddPermissionSet("Admin_RO", hexA, "eu-west-3", day(1))
	a.AddPermissionSet("Admin_RO_"+hexB, hexA, "", day(1))
	a.AddPermissionSet("admin", hexC, "", day(1))
	a.AddPermissionSet("A+d=m,i.n@-_", hexA, "us-gov-west-1", day(1))
	// Made in the same second: the name decides.
	a.AddPermissionSet("Tie", hexA, "", day(1))
	a.AddPermissionSet("Tie", hexB, "", day(1))
	// Not sets.
	a.AddRole(awsfake.Role{Name: "AWSReservedSSO_Forged_" + hexA, Created: day(9)})
	a.AddRole(awsfake.Role{Name: "AWSReservedSSO_Admin_" + "ffffffffffffffff", Path: "/aws-reserved/", Created: day(9)})
	a.AddRole(awsfake.Role{Name: "AWSReservedSSO_Short_0123", Path: awsfake.PermissionSetPath})
	a.AddRole(awsfake.Role{Name: "AWSReservedSSO__" + hexA, Path: awsfake.PermissionSetPath})
	a.AddRole(awsfake.Role{Name: "AWSReservedSSO_Nohex_" + "gggggggggggggggg", Path: awsfake.PermissionSetPath})
	a.AddRole(awsfake.Role{Name: "AWSReservedSSO_Long_" + hexA + "a", Path: awsfake.PermissionSetPath})
	for i := range 90 {
		a.AddRole(awsfake.Role{Name: fmt.Sprintf("AWSServiceRoleForSSO%02d", i), Path: awsfake.PermissionSetPath})
	}

	role := func(set, suffix, region string, created time.Time, others ...string) aws.Role {
		name := "AWSReservedSSO_" + set + "_" + suffix
		for i := range others {
			others[i] = sso + "AWSReservedSSO_" + set + "_" + others[i]
		}
		return aws.Role{Name: name, ARN: sso + region + name, Created: created, Others: others}
	}
	return map[string]aws.Role{
		"Admin":            role("Admin", hexC, "", day(3), hexA, hexB),
		"Admin_RO":         role("Admin_RO", hexA, "eu-west-3/", day(1)),
		"Admin_RO_" + hexB: role("Admin_RO_"+hexB, hexA, "", day(1)),
		"admin":            role("admin", hexC, "", day(1)),
		"A+d=m,i.n@-_":     role("A+d=m,i.n@-_", hexA, "us-gov-west-1/", day(1)),
		"Tie":              role("Tie", hexB, "", day(1), hexA),
	}
}

func TestPermissionSets(t *testing.T) {
	for _, size := range []int{1, 2, 1000} {
		t.Run(fmt.Sprintf("pages of %d", size), func(t *testing.T) {
			a := start(t, awsfake.AWSOptions{PageSize: size})
			want := directory(a)
			reg := prometheus.NewRegistry()
			got, err := open(t, aws.Options{Registerer: reg}).PermissionSets(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("permission sets (-want +got):\n%s", diff)
			}
			checkPages(t, reg, "ListRoles", (103+size-1)/size)
		})
	}
}

func TestNoPermissionSets(t *testing.T) {
	start(t, awsfake.AWSOptions{})
	got, err := open(t, aws.Options{}).PermissionSets(t.Context())
	if err != nil || got == nil || len(got) != 0 {
		t.Errorf("got %v, %v, want an empty map", got, err)
	}
}

func TestGroupUsers(t *testing.T) {
	for _, size := range []int{1, 2, 1000} {
		t.Run(fmt.Sprintf("pages of %d", size), func(t *testing.T) {
			a := start(t, awsfake.AWSOptions{PageSize: size})
			a.AddUser(awsfake.User{Name: "carol", Path: "/team/"})
			a.SetMembers("Admins", "bob", "carol", "alice")
			a.SetMembers("Others", "dave")
			a.AddGroup("Empty")
			d := open(t, aws.Options{})
			got, err := groupUsers(t, d, "Admins")
			if err != nil {
				t.Fatal(err)
			}
			want := []aws.User{
				{Name: "carol", ARN: "arn:aws:iam::111122223333:user/team/carol"},
				{Name: "alice", ARN: "arn:aws:iam::111122223333:user/alice"},
				{Name: "bob", ARN: "arn:aws:iam::111122223333:user/bob"},
			}
			want = []aws.User{want[1], want[2], want[0]} // by ARN
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}

			answer, err := d.GroupUsers(t.Context(), "Admins")
			if err != nil || answer.Created.IsZero() || slices.ContainsFunc(answer.Users, func(u aws.User) bool { return u.Created.IsZero() }) {
				t.Errorf("%+v, %v: want the times at which all were created", answer, err)
			}

			if got, err := groupUsers(t, d, "Empty"); err != nil || len(got) != 0 {
				t.Errorf("empty group: got %v, %v, want no users and no error", got, err)
			}
			got, err = groupUsers(t, d, "Missing")
			if !errors.Is(err, aws.ErrNoGroup) || got != nil || aws.Reason(err) != aws.ReasonNotFound {
				t.Errorf("missing group: got %v, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), `"Missing"`) {
				t.Errorf("%q does not name the group", err)
			}
		})
	}
}

func TestLargeGroup(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	var names []string
	for i := range 2500 {
		names = append(names, fmt.Sprintf("user-%04d", i))
	}
	a.SetMembers("All", names...)
	reg := prometheus.NewRegistry()
	got, err := groupUsers(t, open(t, aws.Options{Registerer: reg}), "All")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, u := range got {
		have = append(have, u.Name)
	}
	if diff := cmp.Diff(names, have); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	checkPages(t, reg, "GetGroup", 3)
}

// checkPages holds the number of good answers to what it should be. There may
// be more requests: over loopback the SDK loses a large answer now and then, to
// a race of its own, and asks again (a body that was closed gives its writer
// io.EOF: smithy-go v1.28.8 transport/http/internal/io/safe.go:36).
func checkPages(t *testing.T, reg *prometheus.Registry, operation string, want int) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == operation && m.GetLabel()[1].GetValue() == "ok" {
			got += int(m.GetCounter().GetValue())
		}
	}
	if got != want {
		t.Errorf("%d pages of %s were read, want %d", got, operation, want)
	}
}

// Whatever fails, on the first page or on the last, there is an error of the
// right category and no part of the list.
func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		name     string
		fault    awsfake.Fault
		want     string
		requests int // for a first page; 0: not checked
	}{
		{"denied", awsfake.Deny(), aws.ReasonDenied, 1},
		{"denied without a code", awsfake.Fault{Kind: awsfake.FaultForbidden}, aws.ReasonDenied, 1},
		{"expired", awsfake.Fault{Kind: awsfake.FaultExpired}, aws.ReasonDenied, 1},
		{"throttled for ever", awsfake.Throttle(0), aws.ReasonThrottled, 5},
		{"internal", awsfake.Fault{Kind: awsfake.FaultInternal}, aws.ReasonOther, 5},
		{"no marker", awsfake.Truncate(), aws.ReasonTruncated, 1},
		{"the same marker", awsfake.Fault{Kind: awsfake.FaultSameMarker}, aws.ReasonTruncated, 0},
		{"an end and a marker", awsfake.Fault{Kind: awsfake.FaultBothWays}, aws.ReasonTruncated, 1},
		{"cut", awsfake.Cut(), aws.ReasonTruncated, 5},
		{"empty body", awsfake.Fault{Kind: awsfake.FaultEmpty}, aws.ReasonTruncated, 1},
		{"hollow result", awsfake.Fault{Kind: awsfake.FaultHollow}, aws.ReasonTruncated, 1},
		{"endless", awsfake.Fault{Kind: awsfake.FaultEndless}, aws.ReasonTimeout, 0},
		{"hanging", awsfake.Fault{Kind: awsfake.FaultHang}, aws.ReasonTimeout, 0},
		{"slow", awsfake.Slow(time.Minute), aws.ReasonTimeout, 0},
		{"down", awsfake.Down(), aws.ReasonUnreachable, 5},
	} {
		for _, page := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s on page %d", tc.name, page), func(t *testing.T) {
				a := start(t, awsfake.AWSOptions{PageSize: 1})
				a.SetMembers("Admins", "alice", "bob", "carol")
				for i := range 3 {
					a.AddPermissionSet(fmt.Sprint("Set", i), hexA, "", day(1))
				}
				o := aws.Options{}
				if tc.want == aws.ReasonTimeout {
					o.AttemptTimeout, o.Timeout = 60*time.Millisecond, 120*time.Millisecond
				}
				d := open(t, o)
				f := tc.fault
				if f.Kind != awsfake.FaultEndless && f.Kind != awsfake.FaultSameMarker {
					f.Page = page
				}
				check := func(op string, got any, err error) {
					t.Helper()
					if err == nil {
						t.Fatalf("%s: got %v, want an error", op, got)
					}
					if aws.Reason(err) != tc.want {
						t.Errorf("%s: %q is for the reason %s, want %s", op, err, aws.Reason(err), tc.want)
					}
					var e *aws.Error
					if !errors.As(err, &e) || e.Reason != tc.want || e.Action != "iam:"+op {
						t.Errorf("%s: %#v is no error of this package with that reason", op, err)
					} else if e.Persists() != (tc.want == aws.ReasonDenied) {
						t.Errorf("%s: %q persists: %v", op, err, e.Persists())
					}
					if page == 1 && tc.requests != 0 && a.Requests(op) != tc.requests {
						t.Errorf("%s: %d requests, want %d", op, a.Requests(op), tc.requests)
					}
				}

				a.Fail("ListRoles", f)
				sets, err := d.PermissionSets(t.Context())
				if sets != nil {
					t.Errorf("got %v beside the error", sets)
				}
				check("ListRoles", sets, err)

				a.Fail("GetGroup", f)
				users, err := groupUsers(t, d, "Admins")
				if users != nil {
					t.Errorf("got %v beside the error", users)
				}
				check("GetGroup", users, err)

				a.Heal()
				if got, err := open(t, aws.Options{}).PermissionSets(t.Context()); err != nil || len(got) != 3 {
					t.Errorf("after it was mended: got %v, %v", got, err)
				}
			})
		}
	}
}

// What passes is retried, on any page.
func TestTransientFailures(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault awsfake.Fault
	}{
		{"throttled", awsfake.Throttle(3)},
		{"internal", awsfake.Fault{Kind: awsfake.FaultInternal, Times: 2}},
		{"down", awsfake.Fault{Kind: awsfake.FaultDropped, Times: 2}},
		{"cut", awsfake.Fault{Kind: awsfake.FaultCut, Times: 2}},
		{"hanging", awsfake.Fault{Kind: awsfake.FaultHang, Times: 1}},
	} {
		for _, page := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s on page %d", tc.name, page), func(t *testing.T) {
				a := start(t, awsfake.AWSOptions{PageSize: 2})
				a.SetMembers("Admins", "alice", "bob", "carol")
				tc.fault.Page = page
				a.Fail("GetGroup", tc.fault)
				hangs := tc.fault.Kind == awsfake.FaultHang
				options := aws.Options{}
				if hangs {
					options.AttemptTimeout = 200 * time.Millisecond
				}
				got, err := groupUsers(t, open(t, options), "Admins")
				if err != nil || len(got) != 3 {
					t.Errorf("got %v, %v, want three users", got, err)
				}
				if n, want := a.Requests("GetGroup"), 2+tc.fault.Times; n < want || n > want && !hangs { // what is slow may be asked again, too
					t.Errorf("%d requests, want %d", n, want)
				}
			})
		}
	}
}

// An hour of throttling leaves no mark: retries go on as before.
func TestRetriesAreNotUsedUp(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	d := open(t, aws.Options{})
	a.Fail("ListRoles", awsfake.Throttle(0))
	for range 60 {
		if _, err := d.PermissionSets(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
	a.Fail("ListRoles", awsfake.Throttle(4))
	if _, err := d.PermissionSets(t.Context()); err != nil {
		t.Error(err)
	}
}

// Time that runs out while AWS throttles is throttling, not slowness.
func TestTimeoutWhileThrottled(t *testing.T) {
	a := start(t, awsfake.AWSOptions{})
	a.Fail("ListRoles", awsfake.Throttle(0))
	d := open(t, aws.Options{MaxBackoff: time.Minute, MaxAttempts: 100, Timeout: 200 * time.Millisecond})
	_, err := d.PermissionSets(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || aws.Reason(err) != aws.ReasonThrottled {
		t.Errorf("got %v for the reason %q", err, aws.Reason(err))
	}
}

func TestCanceled(t *testing.T) {
	arrived := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server wouldn't see the client go
		close(arrived)
		<-r.Context().Done()
	}))
	defer s.Close()
	setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	d := open(t, aws.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := d.PermissionSets(ctx)
	if !errors.Is(err, context.Canceled) || aws.Reason(err) != aws.ReasonOther {
		t.Errorf("got %v for the reason %q", err, aws.Reason(err))
	}
}

// Answers that no IAM gives: a proxy's page, another group, users without ARNs.
func TestWrongAnswers(t *testing.T) {
	const group = `<Group><Path>/</Path><GroupName>%s</GroupName><GroupId>A</GroupId><Arn>arn:aws:iam::111122223333:group/x</Arn><CreateDate>2024-01-01T00:00:00Z</CreateDate></Group>`
	const user = `<member><UserName>%s</UserName><Arn>%s</Arn></member>`
	get := func(group, users string) string {
		return `<GetGroupResponse><GetGroupResult>` + group + users + `<IsTruncated>false</IsTruncated></GetGroupResult></GetGroupResponse>`
	}
	admins := fmt.Sprintf(group, "Admins")
	for _, tc := range []struct{ name, body, reason string }{
		{"HTML", "<!DOCTYPE html><html><body>Please sign in</body></html>", aws.ReasonTruncated},
		{"text", "it works", aws.ReasonTruncated},
		{"JSON", "{}", aws.ReasonTruncated},
		{"another operation", `<ListRolesResponse><ListRolesResult><Roles/></ListRolesResult></ListRolesResponse>`, aws.ReasonTruncated},
		{"another group", get(fmt.Sprintf(group, "Others"), "<Users/>"), aws.ReasonOther},
		{"no group", get("", "<Users/>"), aws.ReasonTruncated},
		{"no users", get(admins, ""), aws.ReasonTruncated},
		{"user without ARN", get(admins, "<Users>"+fmt.Sprintf(user, "alice", "")+"</Users>"), aws.ReasonTruncated},
		{"user with an ARN that isn't", get(admins, "<Users>"+fmt.Sprintf(user, "alice", "alice")+"</Users>"), aws.ReasonTruncated},
		{"user with another's ARN", get(admins, "<Users>"+fmt.Sprintf(user, "alice", "arn:aws:iam::111122223333:user/bob")+"</Users>"), aws.ReasonTruncated},
		{"user without name", get(admins, "<Users>"+fmt.Sprintf(user, "", "arn:aws:iam::111122223333:user/alice")+"</Users>"), aws.ReasonTruncated},
		{"breaks off in a tag", get(admins, "<Users>")[:60], aws.ReasonTruncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, tc.body) }))
			defer s.Close()
			setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
			if got, err := groupUsers(t, open(t, aws.Options{}), "Admins"); err == nil || got != nil || aws.Reason(err) != tc.reason {
				t.Errorf("got %v, %v for the reason %q, want an error for %q", got, err, aws.Reason(err), tc.reason)
			}
		})
	}
	for status, want := range map[int]string{403: aws.ReasonDenied, 404: aws.ReasonOther, 429: aws.ReasonThrottled, 502: aws.ReasonOther} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<!DOCTYPE html><html><br>")
		}))
		setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
		if _, err := groupUsers(t, open(t, aws.Options{}), "Admins"); aws.Reason(err) != want {
			t.Errorf("a page with status %d: %v is for the reason %q, want %q", status, err, aws.Reason(err), want)
		}
		s.Close()
	}
	// The frame itself is right.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, get(admins, "<Users>"+fmt.Sprintf(user, "alice", "arn:aws:iam::111122223333:user/alice")+"</Users>"))
	}))
	defer s.Close()
	setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	if got, err := groupUsers(t, open(t, aws.Options{}), "Admins"); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v, want alice", got, err)
	}
}

// IAM filters by path; should it not, what it gives is held to the path again.
func TestRolesOutsideThePath(t *testing.T) {
	const role = `<member><RoleName>%s</RoleName><Arn>%s</Arn>%s</member>`
	const date = `<CreateDate>2024-01-01T00:00:00Z</CreateDate>`
	name := "AWSReservedSSO_Admin_" + hexA
	var body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, body) }))
	defer s.Close()
	setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	for _, tc := range []struct {
		name, role string
		sets       int
		bad        bool
	}{
		{"in the path", fmt.Sprintf(role, name, sso+name, date), 1, false},
		{"twice", strings.Repeat(fmt.Sprintf(role, name, sso+name, date), 2), 1, false},
		{"in no path", fmt.Sprintf(role, name, "arn:aws:iam::111122223333:role/"+name, date), 0, false},
		{"in a path like it", fmt.Sprintf(role, name, "arn:aws:iam::111122223333:role/x/aws-reserved/sso.amazonaws.com/"+name, date), 0, false},
		{"no date", fmt.Sprintf(role, name, sso+name, ""), 0, true},
		{"no ARN", fmt.Sprintf(role, name, "", date), 0, true},
		{"another's ARN", fmt.Sprintf(role, name, sso+"AWSReservedSSO_Admin_"+hexB, date), 0, true},
		{"no name", fmt.Sprintf(role, "", sso+name, date), 0, true},
	} {
		body = "<ListRolesResponse><ListRolesResult><Roles>" + tc.role + "</Roles><IsTruncated>false</IsTruncated></ListRolesResult></ListRolesResponse>"
		got, err := open(t, aws.Options{}).PermissionSets(t.Context())
		if (err != nil) != tc.bad || len(got) != tc.sets {
			t.Errorf("%s: got %v, %v", tc.name, got, err)
		}
		if r, ok := got["Admin"]; ok && len(r.Others) != 0 {
			t.Errorf("%s: got %+v, want no others", tc.name, r)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	a := start(t, awsfake.AWSOptions{PageSize: 3})
	want := directory(a)
	a.SetMembers("Admins", "alice", "bob")
	a.AddRole(awsfake.Role{Name: "reader"})
	d := open(t, aws.Options{RoleARN: "arn:aws:iam::111122223333:role/reader"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := d.PermissionSets(t.Context()); err != nil || len(got) != len(want) {
				t.Errorf("got %d sets, %v", len(got), err)
			}
			if got, err := groupUsers(t, d, "Admins"); err != nil || len(got) != 2 {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if got := a.Requests("AssumeRole"); got != 1 {
		t.Errorf("the role was assumed %d times, want once", got)
	}
}

func TestMetrics(t *testing.T) {
	a := start(t, awsfake.AWSOptions{PageSize: 1})
	a.SetMembers("Admins", "alice", "bob")
	a.AddRole(awsfake.Role{Name: "reader"})
	reg := prometheus.NewPedanticRegistry()
	d := open(t, aws.Options{Registerer: reg, RoleARN: "arn:aws:iam::111122223333:role/reader"})
	a.Fail("GetGroup", awsfake.Throttle(1))
	if _, err := groupUsers(t, d, "Admins"); err != nil {
		t.Fatal(err)
	}
	a.Fail("ListRoles", awsfake.Deny())
	if _, err := d.PermissionSets(t.Context()); err == nil {
		t.Fatal("no error")
	}
	// Another one counts into the same.
	if _, err := open(t, aws.Options{Registerer: reg}).Caller(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, aws.Options{Registerer: reg}).Instances(t.Context(), aws.InstanceQuery{DNSNames: []string{"node"}}); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP rolecall_iam_requests_total Requests sent to IAM, STS and EC2, retries included, by operation and by result: ok or why it failed.
# TYPE rolecall_iam_requests_total counter
rolecall_iam_requests_total{operation="AssumeRole",result="ok"} 1
rolecall_iam_requests_total{operation="DescribeInstances",result="ok"} 1
rolecall_iam_requests_total{operation="GetCallerIdentity",result="ok"} 1
rolecall_iam_requests_total{operation="GetGroup",result="ok"} 2
rolecall_iam_requests_total{operation="GetGroup",result="throttled"} 1
rolecall_iam_requests_total{operation="ListRoles",result="denied"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestReason(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("wrapped: %w", &net.OpError{Op: "dial", Err: err}) }
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("x"), aws.ReasonOther},
		{dial(errors.New("connection refused")), aws.ReasonUnreachable},
		{dial(os.ErrDeadlineExceeded), aws.ReasonTimeout},
		{dial(context.Canceled), aws.ReasonOther},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, aws.ReasonUnreachable},
		{fmt.Errorf("wrapped: %w", aws.ErrTruncated), aws.ReasonTruncated},
		{fmt.Errorf("wrapped: %w", aws.ErrNoGroup), aws.ReasonNotFound},
		{&aws.CredentialsError{Err: errors.New("x")}, aws.ReasonDenied},
		{&aws.CredentialsError{Err: dial(errors.New("x"))}, aws.ReasonUnreachable},
	} {
		if got := aws.Reason(tc.err); got != tc.want {
			t.Errorf("Reason(%v) = %q, want %q", tc.err, got, tc.want)
		}
	}
}
