package source

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
)

// items collects what went wrong with single items of a source.
type items struct{ failed []*itemsError }

// maxNamed is how many items an error names. A config may have thousands, and the
// error stands in the log, in an Event and in the status.
const maxNamed = 5

// itemsError says that items of a source have no entry, all for the same cause.
type itemsError struct {
	items []string
	cause error
}

func (e *itemsError) Error() string {
	cause := e.cause.Error()
	if len(e.items) == 1 && strings.Contains(cause, e.items[0]) {
		return cause
	}
	names := e.items
	var more string
	if len(names) > maxNamed {
		more = fmt.Sprintf(" and %d more", len(names)-maxNamed)
		names = names[:maxNamed]
	}
	return strings.Join(names, ", ") + more + ": " + cause
}

func (e *itemsError) Unwrap() error { return e.cause }

// itemsErrors are the errors of several causes.
type itemsErrors []*itemsError

func (e itemsErrors) Error() string {
	texts := make([]string, len(e))
	for i := range e {
		texts[i] = e[i].Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns each of the errors.
func (e itemsErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// fail notes that an item has no entry.
func (i *items) fail(item string, cause error) {
	for _, f := range i.failed {
		if f.cause.Error() == cause.Error() {
			f.items = append(f.items, item)
			return
		}
	}
	i.failed = append(i.failed, &itemsError{[]string{item}, cause})
}

// err names the items that failed, or is nil. It is [ErrNotAsked] only where
// nothing else is wrong.
func (i *items) err() error {
	var errs itemsErrors
	for _, f := range i.failed {
		if !errors.Is(f.cause, ErrNotAsked) {
			errs = append(errs, f)
		}
	}
	switch {
	case len(errs) == 1:
		return errs[0]
	case len(errs) > 1:
		return errs
	case len(i.failed) > 0:
		return i.failed[0]
	}
	return nil
}

// expand fills in $ACCOUNTID and $PARTITION, and asks for the account only where
// one of them stands.
func expand(s string, account func() (Account, error)) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	a, err := account()
	if err != nil {
		return "", err
	}
	return config.Expand(s, a.ID, a.Partition)
}

// What every Linux node's role is mapped to
// (https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html).
const (
	nodeUsername = "system:node:{{EC2PrivateDNSName}}"
	nodesGroup   = "system:nodes"
)

// nodeGroups returns a new slice: callers append to it.
func nodeGroups() []string { return []string{"system:bootstrappers", nodesGroup} }

func nodeEntry(arn string) awsauth.Entry {
	return awsauth.Entry{Kind: awsauth.Role, ARN: arn, Username: nodeUsername, Groups: nodeGroups()}
}

// nodeEntries are the entries of the roles of nodes that the config names.
func nodeEntries(arns []string, m *Moment, failed *items) []awsauth.Entry {
	var out []awsauth.Entry
	for _, text := range arns {
		arn, err := expand(text, m.Account)
		if err == nil {
			arn, err = awsauth.RoleARN(arn)
		}
		if err != nil {
			failed.fail(text, err)
			continue
		}
		out = append(out, nodeEntry(arn))
	}
	return out
}

// role is the principal of a role's ARN.
func role(arn string) string {
	e := awsauth.Entry{Kind: awsauth.Role, ARN: arn}
	return e.Principal()
}
