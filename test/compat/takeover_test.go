package compat_test

import (
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/fleet"
)

// installation is the annotation of aws-auth with which a leader claims it. It is the
// one thing that an upgrade may write, once.
const installation = "rolecall.dev/installation"

// full is an intent with entries of every kind.
func full(nodes ...string) intent {
	return intent{
		nodes: nodes, accounts: []string{"555566667777"}, limit: "100%",
		users:   []fleet.Mapping{user("ops", "viewers"), user("ana", "editors", "viewers")},
		members: []fleet.Mapping{user("dev-0", "developers"), user("dev-1", "developers")},
		admins:  []string{"operators"},
	}
}

// A leader of one version takes over what a leader of the other wrote, and has nothing
// to write. After that it manages all of it.
func TestTakeover(t *testing.T) {
	inBothOrders(t, func(t *testing.T, first, second version) {
		c := newCluster(t, full("workers"), calm...)
		n := c.NewNode("node-a", "workers")
		c.start(n, first)
		c.settled("the first leader has written")
		c.leads(n)
		c.recorded()
		for _, v := range []version{second, first} {
			c.terminate(n)
			before, since := c.Now(), len(c.proxy.Records())
			c.start(n, v)
			c.leads(n)
			c.wroteNothing(v, before, since)
			c.settled("all is as it was")
		}
		c.terminate(n)
		c.start(n, second)
		c.leads(n)
		c.check(c.now.managed()...)

		changed := c.now.with(user("ops", "editors"), user("new", "viewers")) // one changes, one goes, one comes
		changed.accounts = nil
		changed.members = changed.members[:1]
		c.ask(changed)
		c.settled("the second leader manages what the first wrote")
		c.check(c.now.managed()...)
		c.noneDisowned()
	})
}

// wroteNothing fails where an agent has written aws-auth, the ledger or the history since
// the record of that number. These are no failure: the current version may set the
// annotation installation and nothing else, once, and either may record the same data with
// another annotation, once before that and once after. To the current version that is the
// same content: it may delete the revision that the record takes the place of, once, which
// has that data.
func (c *cluster) wroteNothing(v version, before *corev1.ConfigMap, since int) {
	c.T.Helper()
	claims, records, deletes := 1, 2, 1
	for _, r := range c.writes(since) {
		var excused bool
		switch o := r.Object.(type) {
		case *corev1.ConfigMap:
			claims--
			excused = v == current && claims >= 0 && r.Verb == "update" && r.Name == "aws-auth" && onlyClaims(before, o)
		case *appsv1.ControllerRevision:
			records--
			excused = records >= 0 && maps.Equal(before.Data, recordedData(o))
		default:
			deletes--
			excused = v == current && deletes >= 0 && records < 2 && r.Verb == "delete" && r.Resource == "controllerrevisions" &&
				maps.Equal(before.Data, c.revision(r.Name))
		}
		if !excused {
			c.T.Errorf("the %s version has taken over and wrote: %s, answered %d", v, r.Request, r.Upstream)
		}
	}
}

// revision is aws-auth's data in the revision of that name as agents created it, nil where
// none did.
func (c *cluster) revision(name string) map[string]string {
	for _, r := range c.proxy.Records() {
		if o, ok := r.Object.(*appsv1.ControllerRevision); ok && r.Verb == "create" && r.Name == name {
			return recordedData(o)
		}
	}
	return nil
}

// onlyClaims reports whether an update adds the annotation installation and changes
// nothing.
func onlyClaims(before, update *corev1.ConfigMap) bool {
	annotations := maps.Clone(update.Annotations)
	delete(annotations, installation)
	return sameText(before, update) && maps.Equal(before.Labels, update.Labels) && maps.Equal(before.Annotations, annotations)
}
