package aws_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolecall/rolecall/internal/aws"
)

// Answers without an end, of each kind, are given up.
func TestAnswerWithoutEnd(t *testing.T) {
	const group = `<GetGroupResponse><GetGroupResult><Group><GroupName>Admins</GroupName><Arn>arn:aws:iam::111122223333:group/Admins</Arn></Group><Users>`
	for name, part := range map[string][2]string{
		"users":       {group, `<member><UserName>ana</UserName><Arn>arn:aws:iam::111122223333:user/ana</Arn></member>`},
		"a long name": {group + "<member><UserName>", "long"},
		"blanks":      {"", " "},
		"an error":    {"<ErrorResponse><Error><Message>", "long"},
		"not XML":     {"", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "an error" {
				t.Skip("reads hundreds of MiB: not with -short")
			}
			var requests atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if name == "an error" {
					w.WriteHeader(http.StatusBadRequest)
				}
				_, err := io.WriteString(w, part[0])
				for chunk := strings.Repeat(part[1], 64<<10/len(part[1])); err == nil; {
					_, err = io.WriteString(w, chunk)
				}
			}))
			defer s.Close()
			setenv(t, "AWS_ENDPOINT_URL="+s.URL, "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, err := groupUsers(t, open(t, aws.Options{AttemptTimeout: time.Minute}), "Admins")
			runtime.ReadMemStats(&after)
			if err == nil || got != nil || requests.Load() > 5 {
				t.Errorf("got %v, %.200v after %d requests", got, err, requests.Load())
			}
			if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 1024 {
				t.Errorf("%d MiB were allocated", n)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}
