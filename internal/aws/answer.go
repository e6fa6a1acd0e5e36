package aws

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxAnswer bounds one answer, in bytes: a page of 1,000 roles, with a trust
// policy and a description as long as each may be, has about 8 MiB. What answers
// at an endpoint need not be AWS.
const maxAnswer = 16 << 20

var errTooLarge = fmt.Errorf("%w: it has over %d MiB", ErrTruncated, maxAnswer>>20)

// boundAnswers is an API option that has the SDK read no more of an answer.
func boundAnswers(s *middleware.Stack) error {
	return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("rolecall.BoundAnswers",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && resp.Body != nil {
				resp.Body = &boundedBody{resp.Body, maxAnswer}
			}
			return out, metadata, err
		}), middleware.After) // next to the transport, before anything reads
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
