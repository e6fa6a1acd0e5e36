package aws_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/internal/aws"
	"github.com/rolecall/rolecall/test/awsfake"
)

// hasty answers before it has read the request's body, as net/http seems to where
// its sender is slower than the answer.
type hasty struct{ body io.ReadCloser }

func (h *hasty) Do(r *http.Request) (*http.Response, error) {
	h.body = r.Body
	const answer = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
		`<Arn>arn:aws:iam::111122223333:user/ana</Arn><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/xml"}},
		Body: io.NopCloser(strings.NewReader(answer)), Request: r,
	}, nil
}

// Who sends a request can go on to read its body after the answer is there: a body
// that is closed then counts as a failed write, and the call would be made again.
func TestAnswerBeforeTheBodyIsSent(t *testing.T) {
	start(t, awsfake.AWSOptions{}) // for its credentials
	client := &hasty{}
	if _, err := open(t, aws.Options{HTTPClient: client}).Caller(t.Context()); err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(client.body)
	if err != nil || !strings.Contains(string(body), "Action=GetCallerIdentity") {
		t.Errorf("after the answer the body has %q, err %v", body, err)
	}
	if err := client.body.Close(); err != nil {
		t.Error(err)
	}
}
