package aws

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
)

// A CredentialsError says that there are no credentials to sign a request with.
type CredentialsError struct {
	RoleARN string // the role that could not be assumed, or empty
	Err     error
}

func (e *CredentialsError) Error() string {
	if e.RoleARN != "" {
		return "the role " + e.RoleARN + " (aws.roleARN) can't be assumed: " + e.Err.Error() +
			": allow sts:AssumeRole on it to the role that rolecall's service account has, and name that role in its trust policy"
	}
	return "there are no AWS credentials: " + e.Err.Error() +
		": give rolecall's service account a role through EKS Pod Identity (a pod identity association) " +
		"or IRSA (the annotation eks.amazonaws.com/role-arn, and its trust policy); on your own machine log in (aws sso login) or set AWS_PROFILE"
}

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// missing reports whether nothing was there to get credentials from: the SDK's
// chain then ends with the instance's own role, and with an error of IMDS that
// looks as if a network had failed.
func (e *CredentialsError) missing() bool {
	for err := e.Err; ; {
		var op *smithy.OperationError
		if !errors.As(err, &op) {
			return false
		}
		if op.ServiceID == imds.ServiceID {
			return true
		}
		err = op.Err
	}
}

// explained makes a provider's errors say what they mean for rolecall.
type explained struct {
	aws.CredentialsProvider
	roleARN string // that it assumes, or empty
}

// Retrieve returns the provider's credentials, or a [*CredentialsError].
func (p explained) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.CredentialsProvider.Retrieve(ctx)
	var inner *CredentialsError
	if err != nil && !errors.As(err, &inner) {
		err = &CredentialsError{RoleARN: p.roleARN, Err: err}
	}
	return c, err
}
