package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// advice says what to look at where an error tells only how the cluster was not
// reached: whoever reads it may just have been locked out. It is empty for any
// other error.
func advice(err error) string {
	var dial *net.OpError
	var name *net.DNSError
	switch {
	case apierrors.IsUnauthorized(err):
		return "The API server does not know who asks. See who you are (aws sts get-caller-identity) and log in anew. If that is right and worked before, aws-auth\n" +
			"may have lost you: who has made the cluster, or has an access entry, still gets in, and rolecall lint and rolecall rollback mend it."
	case errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &name):
		return "Nobody answers there. See that it is the right cluster (kubectl config current-context), and that its endpoint can be reached from here: a\n" +
			"private one only from its network."
	}
	return ""
}

// unknownCommand has the error about a command that there is not say which may
// be meant, and where to look on. Any other error it returns as it is.
func unknownCommand(root *cobra.Command, err error) error {
	rest, is := strings.CutPrefix(err.Error(), "unknown command ")
	quoted, prefixErr := strconv.QuotedPrefix(rest)
	if !is || prefixErr != nil || strings.Contains(rest, "see '") {
		return err
	}
	given, unquoteErr := strconv.Unquote(quoted)
	if unquoteErr != nil {
		return err
	}
	meant := ""
	if other := otherCommand(given); other != "" {
		meant = other + ": write that, or "
	}
	if names := root.SuggestionsFor(given); len(names) > 0 {
		meant = "write " + strings.Join(names, " or ") + ", or "
	}
	return fmt.Errorf("unknown command %q for %q: %ssee '%s --help'", given, root.CommandPath(), meant, root.CommandPath())
}
