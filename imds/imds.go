package imds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"
)

const credentialsPath = "/latest/meta-data/iam/security-credentials/"

// tries is how often one request is sent before Identity gives up: a busy
// service answers the second time, a missing one should not hold anyone up.
const tries = 3

// Identity is who a node is.
type Identity struct {
	RoleARN    string // arn:PARTITION:iam::ACCOUNT:role/NAME, without a path, as aws-auth wants it
	RoleName   string
	AccountID  string // 12 digits
	Partition  string // aws, aws-cn, …
	Region     string // eu-west-3
	Zone       string // eu-west-3a; may be empty
	InstanceID string // i-0123456789abcdef0; may be empty
	OS         string // of the node, in Go's words: linux, windows
}

// Options shape a [Client]. The zero value is right for production.
type Options struct {
	Logger         *slog.Logger  // gets what the SDK warns of, and each failed try at debug; default none
	AttemptTimeout time.Duration // of one HTTP request, answer included; default 2 s
	MinWait        time.Duration // between two tries of Wait, at first; default 1 s
	MaxWait        time.Duration // and at last; default 1 min
}

// Client asks the instance metadata service. It is safe for concurrent use.
// Make one with [New].
type Client struct {
	options Options
	http    *http.Client
	sdk     *imds.Client
	err     error // why there is no sdk, for each call to return
}

// New returns a client. It reads the SDK's environment variables and sends
// nothing yet; what is wrong with them the first call says.
func New(o Options) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 2*time.Second)
	o.MinWait = cmp.Or(o.MinWait, time.Second)
	o.MaxWait = max(cmp.Or(o.MaxWait, time.Minute), o.MinWait)
	c := &Client{options: o, http: newHTTPClient(o.AttemptTimeout)}

	env, err := config.NewEnvConfig()
	if err != nil {
		c.err = &Error{Kind: ErrInvalid, Detail: "the AWS_ environment variables can't be read", Err: err}
		return c
	}
	if env.EC2IMDSClientEnableState == imds.ClientDisabled {
		c.err = &Error{Kind: ErrSwitchedOff}
		return c
	}
	c.sdk = imds.NewFromConfig(aws.Config{
		ConfigSources: []any{env},
		HTTPClient:    tracer{c.http},
		Logger: logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			o.Logger.Warn("the aws sdk warns", "message", fmt.Sprintf(format, v...))
		}),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(r *retry.StandardOptions) {
				r.MaxAttempts = tries
				r.MaxBackoff = min(time.Second, o.MinWait)
				r.Retryables = append(r.Retryables, retry.RetryableHTTPStatusCode{
					Codes: map[int]struct{}{http.StatusTooManyRequests: {}},
				})
				// The retry quota would run dry in a long Wait.
				r.RateLimiter = ratelimit.None
			})
		},
	}, func(so *imds.Options) {
		so.EnableFallback = aws.FalseTernary // version 2 or nothing
		so.DisableDefaultMaxBackoff = true   // ours is set above
	})
	return c
}

// Identity asks who this node is. Each request is tried a few times and the
// whole takes at most 5 × AttemptTimeout; it ends at once when ctx does. The
// error is an [*Error], or says that ctx was canceled.
func (c *Client) Identity(ctx context.Context) (Identity, error) {
	if c.err != nil {
		return Identity{}, c.err
	}
	// An hour may pass until it is asked again.
	defer c.http.CloseIdleConnections()
	tr := &trace{}
	callCtx, cancel := context.WithTimeout(context.WithValue(ctx, traceKey{}, tr), 5*c.options.AttemptTimeout)
	defer cancel()
	fail := func(err error) error {
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("ask the instance metadata service: %w", ctx.Err())
		}
		if ended := callCtx.Err(); ended != nil && !errors.Is(err, ended) {
			// The SDK doesn't always say so (see trace).
			err = fmt.Errorf("%w (%w)", err, ended)
		}
		x := tr.get()
		return &Error{Kind: kindOf(x), Detail: x.String(), Err: err}
	}
	document, err := c.sdk.GetInstanceIdentityDocument(callCtx, nil)
	if err != nil {
		return Identity{}, fail(err)
	}
	out, err := c.sdk.GetMetadata(callCtx, &imds.GetMetadataInput{Path: strings.TrimPrefix(credentialsPath, "/latest/meta-data/")})
	if err != nil {
		return Identity{}, fail(err)
	}
	role, err := io.ReadAll(out.Content)
	if err != nil {
		return Identity{}, fail(err)
	}
	return identity(document.InstanceIdentityDocument, string(role))
}

// VPC asks for the id of the VPC that the node's primary network interface is in. The
// same holds for its time and its error as for [Client.Identity]; an answer that is no
// id of a VPC is an [*Error] of kind [ErrInvalid].
func (c *Client) VPC(ctx context.Context) (string, error) {
	if c.err != nil {
		return "", c.err
	}
	defer c.http.CloseIdleConnections()
	tr := &trace{}
	callCtx, cancel := context.WithTimeout(context.WithValue(ctx, traceKey{}, tr), 5*c.options.AttemptTimeout)
	defer cancel()
	get := func(path string) (string, error) {
		out, err := c.sdk.GetMetadata(callCtx, &imds.GetMetadataInput{Path: path})
		var text []byte
		if err == nil {
			text, err = io.ReadAll(out.Content)
		}
		if err != nil && errors.Is(ctx.Err(), context.Canceled) {
			return "", fmt.Errorf("ask the instance metadata service: %w", ctx.Err())
		}
		if err != nil {
			x := tr.get()
			return "", &Error{Kind: kindOf(x), Detail: x.String(), Err: err}
		}
		return strings.TrimSpace(string(text)), nil
	}
	mac, err := get("mac")
	if err != nil {
		return "", err
	}
	if !macAddress.MatchString(mac) {
		return "", &Error{Kind: ErrInvalid, Detail: fmt.Sprintf("%.64q is not a MAC address", mac)}
	}
	vpc, err := get("network/interfaces/macs/" + mac + "/vpc-id")
	if err != nil {
		return "", err
	}
	if !vpcID.MatchString(vpc) {
		return "", &Error{Kind: ErrInvalid, Detail: fmt.Sprintf("%.64q is not the id of a VPC", vpc)}
	}
	return vpc, nil
}

var (
	macAddress = regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)
	vpcID      = regexp.MustCompile(`^vpc-[0-9a-f]{8,17}$`)

	roleName  = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`) // https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	plain     = regexp.MustCompile(`^[a-z0-9-]{0,64}$`) // zones and instance ids; nothing rests on them
)

// identity holds the service's answers to the rules and puts them together.
func identity(d imds.InstanceIdentityDocument, role string) (Identity, error) {
	role = strings.TrimSuffix(role, "\n")
	if role == "" {
		return Identity{}, &Error{Kind: ErrNoRole, Detail: "GET " + credentialsPath + " gave nothing"}
	}
	partition, err := PartitionOfRegion(d.Region)
	switch {
	case err != nil:
	case !accountID.MatchString(d.AccountID):
		err = fmt.Errorf("%.64q is not an AWS account id of 12 digits", d.AccountID)
	case !roleName.MatchString(role):
		err = fmt.Errorf("%.64q is not the name of one IAM role", role)
	case !plain.MatchString(d.AvailabilityZone):
		err = fmt.Errorf("%.64q is not the name of an availability zone", d.AvailabilityZone)
	case !plain.MatchString(d.InstanceID):
		err = fmt.Errorf("%.64q is not an instance id", d.InstanceID)
	}
	if err != nil {
		return Identity{}, &Error{Kind: ErrInvalid, Detail: err.Error()}
	}
	return Identity{
		RoleARN:    "arn:" + partition + ":iam::" + d.AccountID + ":role/" + role,
		RoleName:   role,
		AccountID:  d.AccountID,
		Partition:  partition,
		Region:     d.Region,
		Zone:       d.AvailabilityZone,
		InstanceID: d.InstanceID,
		OS:         runtime.GOOS,
	}, nil
}

// Wait asks who this node is until it is told, with a jittered pause that
// doubles from MinWait to MaxWait. An instance can be given a role, and its
// metadata options be changed, while it runs; so no error is final, and the
// only one returned is that ctx has ended, together with the last failure.
//
// onError is called with each failure that is new to this Wait, by its kind and
// detail, from the goroutine of Wait; it may be nil.
func (c *Client) Wait(ctx context.Context, onError func(error)) (Identity, error) {
	type reason struct {
		kind   error
		detail string
	}
	told := map[reason]bool{}
	ended := func(last error) (Identity, error) {
		if errors.Is(last, ctx.Err()) {
			return Identity{}, last
		}
		return Identity{}, fmt.Errorf("%w: %w", ctx.Err(), last)
	}
	wait := c.options.MinWait
	for {
		id, err := c.Identity(ctx)
		if err == nil {
			return id, nil
		}
		if ctx.Err() != nil {
			return ended(err)
		}
		c.options.Logger.Debug("asked the instance metadata service in vain", "err", err)
		var e *Error
		if errors.As(err, &e) && !told[reason{e.Kind, e.Detail}] {
			told[reason{e.Kind, e.Detail}] = true
			if onError != nil {
				onError(err)
			}
		}
		t := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ended(err)
		}
		wait = min(2*wait, c.options.MaxWait)
	}
}
