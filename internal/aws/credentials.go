package aws

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
)

// A CredentialsError says that there are no credentials to sign a request with.
type CredentialsError struct {
	RoleARN string // the role that could not be assumed, or empty
	AsNode  bool   // nothing but the node's own role was there to get any from
	Err     error
}

const (
	// ownCredentials is how a pod gets credentials of its own. They are put into a pod
	// when it is made.
	ownCredentials = "give rolecall's service account a role through EKS Pod Identity (a pod identity association) " +
		"or IRSA (the annotation eks.amazonaws.com/role-arn, and its trust policy), and restart the pods that are older than that"

	// podIdentityTrust is what the role of a pod identity association has to allow
	// (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html).
	podIdentityTrust = "the trust policy of the role in the pod identity association has to allow " +
		"pods.eks.amazonaws.com the actions sts:AssumeRole and sts:TagSession"

	podIdentityMissing = "make a pod identity association for rolecall's namespace and service account in this cluster " +
		"(aws eks create-pod-identity-association)"
)

func (e *CredentialsError) Error() string {
	switch advice := e.podIdentity(); {
	case e.unanswered(): // what to do is said by whom was asked, see call.advice
		return "the AWS credentials can't be fetched: " + e.Err.Error()
	case e.RoleARN != "":
		return "the role " + e.RoleARN + " (aws.roleARN) can't be assumed: " + e.Err.Error() +
			": allow sts:AssumeRole on it to the role that rolecall's service account has, and name that role in its trust policy"
	case advice != "":
		return "EKS Pod Identity gives no credentials: " + e.Err.Error() + ": " + advice
	case e.AsNode:
		return "there are no AWS credentials, this pod got none of its own, and the node's own role gives none: " + e.Err.Error() +
			": " + ownCredentials + "; on your own machine log in (aws sso login) or set AWS_PROFILE"
	}
	return "there are no AWS credentials: " + e.Err.Error() + ": " + ownCredentials + "; on your own machine log in (aws sso login) or set AWS_PROFILE"
}

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// unanswered reports whether nobody has answered, as opposed to a refusal.
func (e *CredentialsError) unanswered() bool {
	switch Reason(e) {
	case ReasonTimeout, ReasonUnreachable:
		return true
	}
	return false
}

// podIdentity is what to do where the agent of EKS Pod Identity answers with an error
// of EKS's (the SDK's error is of that answer, status and text, and of no service); else
// empty. The agent passes on the exception's name in its text
// (https://docs.aws.amazon.com/eks/latest/APIReference/API_auth_AssumeRoleForPodIdentity.html).
func (e *CredentialsError) podIdentity() string {
	var (
		answer  smithy.APIError
		status  interface{ HTTPStatusCode() int }
		service *smithy.OperationError
	)
	if !errors.As(e.Err, &answer) || !errors.As(e.Err, &status) || errors.As(e.Err, &service) {
		return ""
	}
	text := answer.ErrorCode() + " " + answer.ErrorMessage()
	switch {
	case strings.Contains(text, "AccessDenied"):
		return podIdentityTrust
	case strings.Contains(text, "ResourceNotFound"), status.HTTPStatusCode() == http.StatusNotFound:
		return podIdentityMissing
	case strings.Contains(text, "Token"): // ExpiredTokenException, InvalidTokenException
		return "the pod's token is not valid any more: restart the pod, and look at the node's clock"
	}
	return "look at the log of the EKS Pod Identity agent (DaemonSet eks-pod-identity-agent) on this node; " + podIdentityTrust
}

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

// fromIMDS reports whether a provider's credentials come from the instance metadata
// service, those that it assumes a role with included.
func fromIMDS(p aws.CredentialsProvider) bool {
	chain, ok := p.(aws.CredentialProviderSource)
	return ok && slices.Contains(chain.ProviderSources(), aws.CredentialSourceIMDS)
}

// explained makes a provider's errors say what they mean for rolecall.
type explained struct {
	aws.CredentialsProvider
	roleARN string // that it assumes, or empty
	asNode  bool
}

// Retrieve returns the provider's credentials, or a [*CredentialsError].
func (p explained) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.CredentialsProvider.Retrieve(ctx)
	var inner *CredentialsError
	if err != nil && !errors.As(err, &inner) {
		err = &CredentialsError{RoleARN: p.roleARN, AsNode: p.asNode, Err: err}
	}
	return c, err
}
