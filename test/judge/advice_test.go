package judge

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rolecall/rolecall/awsauth"
)

// access is what a caller gets in.
type access struct {
	username string
	groups   []string
}

// accesses are what the authenticator may give a caller; none where it turns the
// caller away.
func (m mapped) accesses(caller string) []access {
	id, err := identity(caller)
	if err != nil {
		return nil
	}
	var all []access
	for _, a := range m.answers(id) {
		if username, groups, refused := rendered(a.IdentityMapping, id); !refused {
			all = append(all, access{username, groups})
		}
	}
	return all
}

// covers reports whether who has other lacks nothing of a. What looks like a
// placeholder or a template was never bound to anybody.
func (a access) covers(other access) bool {
	meant := func(s string) bool { return s != "" && !strings.ContainsAny(s, "{}<>") && s != "system:node:" }
	return (!meant(other.username) || other.username == a.username) &&
		!slices.ContainsFunc(other.groups, func(g string) bool { return meant(g) && !slices.Contains(a.groups, g) })
}

// ofPeople reports whether access is more than nodes have. Who else is let in by an
// entry of nodes is nobody that was meant.
func (a access) ofPeople() bool {
	return len(a.groups) == 0 || slices.ContainsFunc(a.groups, func(g string) bool {
		return g != awsauth.NodesGroup && g != awsauth.BootstrappersGroup && g != "system:node-proxier" && g != "eks:kube-proxy-windows"
	})
}

func admin(list []access) bool {
	return slices.ContainsFunc(list, func(a access) bool { return slices.Contains(a.groups, awsauth.Masters) })
}

// harmful says which advice of a document takes access from a caller, or makes one an
// administrator of whom its own entry does not say so; or "".
func harmful(data map[string]string) string {
	before := load(data)
	for _, f := range awsauth.Lint(data) {
		next, err := awsauth.Follow(data, &f)
		if err != nil {
			continue
		}
		if why := differs(next); why != "" {
			return fmt.Sprintf("%s: followed: %s", f.String(), why)
		}
		after := load(next)
		own := map[string]bool{}
		for _, caller := range callers(f.ARN) {
			own[strings.ToLower(caller)] = true
		}
		for _, caller := range append(everybody(data), everybody(next)...) {
			was, is := before.accesses(caller), after.accesses(caller)
			if len(is) == 0 && slices.ContainsFunc(was, access.ofPeople) {
				return fmt.Sprintf("%s: %s had %+v and has nothing", f.String(), caller, was)
			}
			for _, a := range is {
				if len(was) > 0 && !slices.ContainsFunc(was, a.covers) {
					return fmt.Sprintf("%s: %s had %+v and has %+v", f.String(), caller, was, a)
				}
			}
			if admin(is) && !admin(was) && !own[strings.ToLower(caller)] {
				return fmt.Sprintf("%s: %s becomes administrator", f.String(), caller)
			}
		}
	}
	return ""
}

// TestAdvice follows the advice of every finding, and has the authenticator say who
// gets in before and after.
func TestAdvice(t *testing.T) {
	t.Parallel()
	docs := maps.Clone(lintDocuments(t))
	n := uint64(400)
	if testing.Short() {
		n = 100
	}
	for seed := range n {
		docs[fmt.Sprintf("seed %d", seed)] = randomDocument(rand.New(rand.NewPCG(seed, 4)))
	}
	followed := 0
	for name, data := range docs {
		for _, f := range awsauth.Lint(data) {
			if len(f.Advice) > 0 {
				followed++
			}
		}
		if why := harmful(data); why != "" {
			t.Errorf("%s: %s\n%q", name, why, data)
		}
	}
	if followed < 100 {
		t.Errorf("only %d advices", followed)
	}
}
