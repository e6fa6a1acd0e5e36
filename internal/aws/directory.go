package aws

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"github.com/prometheus/client_golang/prometheus"
)

// pageSize is what is asked for in one page, the most that IAM gives. IAM may
// give less and say that there is more.
const pageSize = 1000

// Options shape a [Directory]. The zero value is right where the SDK's own
// environment says all.
type Options struct {
	// Region to ask in. Empty leaves it to the SDK's chain (AWS_REGION, shared
	// files), and failing that us-east-1. IAM has one directory for a whole
	// partition, so within partition aws any region will do; in the others the
	// region is what tells the partition and must be given.
	Region string

	// RoleARN is a role to assume for every call, perhaps of another account;
	// empty for none.
	RoleARN string

	Logger     *slog.Logger          // gets what the SDK warns of; default none
	Registerer prometheus.Registerer // gets rolecall_iam_requests_total; default none

	// NodeRole returns the ARN of the node's own role, for errors, where it is known,
	// else an empty text; default unknown. It must return at once and be safe for
	// concurrent use.
	NodeRole func() string

	// HTTPClient sends the requests to IAM, STS and EC2; default one with
	// AttemptTimeout, whose proxies are the environment's. A client that isn't the
	// SDK's own cannot take AWS_CA_BUNDLE. Requests for credentials, which go to
	// link-local addresses, have a client of their own that takes no proxy there.
	HTTPClient aws.HTTPClient

	AttemptTimeout time.Duration // of one HTTP request, answer included; default 15 s
	MaxAttempts    int           // of one HTTP request; default 5
	MaxBackoff     time.Duration // between two of them, exponential and jittered; default 20 s
	Timeout        time.Duration // of one call with all its pages and retries; default 60 s
}

// Directory reads the IAM directory of the account that its credentials are of.
// It is safe for concurrent use. Make one with [New].
type Directory struct {
	iam      *iam.Client
	ec2      *ec2.Client
	sts      *sts.Client
	timeout  time.Duration
	asNode   bool          // the credentials are those of the node's own role
	nodeRole func() string // its ARN, empty where unknown
}

// AsNode reports whether requests are signed as the node's own role, because nothing
// else gave this process credentials: in a pod neither EKS Pod Identity nor IRSA did.
// A role that is assumed on top of it changes nothing about that. It makes no request.
func (d *Directory) AsNode() bool { return d.asNode }

// New returns a directory. It reads the SDK's environment variables and shared
// files, but asks AWS nothing yet: missing credentials are the first call's
// error. Several directories may share a Registerer; they count together.
func New(ctx context.Context, o Options) (*Directory, error) {
	if o.RoleARN != "" {
		if a, err := arn.Parse(o.RoleARN); err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "role/") {
			return nil, fmt.Errorf("%q is not the ARN of a role to assume: write arn:aws:iam::ACCOUNT:role/NAME", o.RoleARN)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NodeRole == nil {
		o.NodeRole = func() string { return "" }
	}
	own := newHTTPClient(cmp.Or(o.AttemptTimeout, 15*time.Second), newProxies())
	if o.HTTPClient == nil {
		o.HTTPClient = own
	}
	counter, err := newCounter(o.Registerer)
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(ctx, &o, own, append(counter.apiOptions(), boundAnswers))
	if err != nil {
		return nil, fmt.Errorf("load the aws sdk's configuration: %w", err)
	}
	asNode := fromIMDS(cfg.Credentials)
	cfg.HTTPClient = wholeBodies{cfg.HTTPClient}
	cfg.Credentials = explained{CredentialsProvider: cfg.Credentials, asNode: asNode}
	if o.RoleARN != "" {
		assume := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), o.RoleARN, func(a *stscreds.AssumeRoleOptions) {
			a.RoleSessionName = "rolecall"
		})
		cache := aws.NewCredentialsCache(assume, func(c *aws.CredentialsCacheOptions) {
			c.ExpiryWindow = time.Minute // no request is signed with a session that ends on its way
		})
		cfg.Credentials = explained{CredentialsProvider: cache, roleARN: o.RoleARN, asNode: asNode}
	}
	return &Directory{
		iam:      iam.NewFromConfig(cfg),
		ec2:      ec2.NewFromConfig(cfg),
		sts:      sts.NewFromConfig(cfg),
		timeout:  cmp.Or(o.Timeout, time.Minute),
		asNode:   asNode,
		nodeRole: o.NodeRole,
	}, nil
}

// loadConfig reads the SDK's environment and shared files. It does so twice, since the
// client of IMDS that the credentials chain ends with is made of what was read, and
// the chain of that client.
func loadConfig(ctx context.Context, o *Options, own *awshttp.BuildableClient, api []func(*middleware.Stack) error) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRegion(o.Region),
		config.WithDefaultRegion("us-east-1"),
		config.WithHTTPClient(o.HTTPClient),
		config.WithAPIOptions(api),
		config.WithAppID("rolecall"),
		config.WithRetryer(func() aws.Retryer { return newRetryer(*o) }),
		config.WithLogger(logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			o.Logger.Warn("the aws sdk warns", "message", fmt.Sprintf(format, v...))
		})),
		config.WithEndpointCredentialOptions(func(e *endpointcreds.Options) { e.HTTPClient = own }),
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, err
	}
	metadata := cfg.Copy()
	metadata.HTTPClient = own
	client := imds.NewFromConfig(metadata, func(i *imds.Options) { i.EnableFallback = aws.FalseTernary }) // version 2 or nothing
	return config.LoadDefaultConfig(ctx, append(options, config.WithEC2RoleCredentialOptions(func(e *ec2rolecreds.Options) { e.Client = client }))...)
}

// newHTTPClient returns a client for single requests. It is the SDK's own kind,
// which alone can be given AWS_CA_BUNDLE.
func newHTTPClient(timeout time.Duration, proxies proxies) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(timeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = min(timeout, 5*time.Second) }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 2
			t.Proxy = proxies.choose
		})
}

// wholeBodies sends requests with a body of their own. The SDK closes its body as soon
// as there is an answer (smithy-go, transport/http/client.go, Handle); where net/http
// has not noticed yet that all of it was sent, as on a busy machine, it takes that for
// a failed write, closes the connection under the answer, and the call is made again.
type wholeBodies struct{ client aws.HTTPClient }

func (c wholeBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return c.client.Do(r)
	}
	body, err := io.ReadAll(r.Body) // a form of some hundred bytes
	if err != nil {
		return nil, err
	}
	own := r.WithContext(r.Context())
	own.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	own.Body, _ = own.GetBody()
	return c.client.Do(own)
}

func newRetryer(o Options) aws.Retryer {
	return retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
		r.MaxBackoff = cmp.Or(o.MaxBackoff, 20*time.Second)
		r.Retryables = append(r.Retryables, retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			// All requests here are reads, so one whose answer broke off may be
			// sent again. The SDK can't know that and doesn't.
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return aws.TrueTernary
			}
			return aws.UnknownTernary
		}))
		// The SDK's retry quota protects AWS from fleets that retry. Here one
		// leader asks once a minute or less, and a quota that an hour of
		// throttling has used up would only make recovery slower.
		r.RateLimiter = ratelimit.None
	})
}

// Caller is whose credentials a directory uses.
type Caller struct {
	AccountID string // 12 digits
	Partition string // aws, aws-cn, …
	ARN       string // of the user, or of the session of the role
}

// Caller asks STS whose credentials these are; no permission is needed. The
// error is an [*Error].
func (d *Directory) Caller(ctx context.Context) (Caller, error) {
	c := d.begin(ctx, "sts:GetCallerIdentity", "")
	defer c.end()
	out, err := d.sts.GetCallerIdentity(c.ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Caller{}, c.fail(err)
	}
	a, err := arn.Parse(aws.ToString(out.Arn))
	if err != nil || a.AccountID == "" || a.AccountID != aws.ToString(out.Account) {
		return Caller{}, c.fail(fmt.Errorf("%w: no ARN and account that go together", ErrTruncated))
	}
	return Caller{AccountID: a.AccountID, Partition: a.Partition, ARN: a.String()}, nil
}

// call is one call of a directory: its context, which has a time limit, and
// what its error should say.
type call struct {
	ctx    context.Context
	end    context.CancelFunc
	parent context.Context
	action string // as policies name it: iam:ListRoles
	what   string // what was read; may be empty
	last   *lastError
	way    *way
	dir    *Directory
}

func (d *Directory) begin(ctx context.Context, action, what string) *call {
	c := &call{parent: ctx, action: action, what: what, last: &lastError{}, way: &way{}, dir: d}
	noted := context.WithValue(context.WithValue(ctx, lastErrorKey{}, c.last), wayKey{}, c.way)
	c.ctx, c.end = context.WithTimeout(noted, d.timeout)
	return c
}

// fail makes an [*Error] of what ended a call.
func (c *call) fail(err error) error {
	if c.ctx.Err() != nil && c.parent.Err() == nil {
		err = fmt.Errorf("took too long: %w", err)
	}
	if last := c.last.get(); c.ctx.Err() != nil && last != nil && !errors.Is(err, last) {
		// Time ran out in the pause before a retry, and the SDK says nothing
		// of what it had to retry.
		err = fmt.Errorf("%w; the last answer was: %w", err, last)
	}
	e := &Error{Action: c.action, What: c.what, Reason: Reason(err), AsNode: c.dir.asNode, Err: err}
	e.Mend = c.advice(e)
	return e
}
