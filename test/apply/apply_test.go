package apply_test

import "testing"

// What a user does, on real nodes, in the order of a cluster's life.
func TestApply(t *testing.T) {
	s := newStory(t)
	s.tell(t, []struct {
		what string
		do   func(*chapter)
	}{
		{"three nodes join", threeNodesJoin},
		{"kubectl apply -k manifests/base", applied},
		{"every node's role is mapped", rolesMapped},
		{"an edit of the ConfigMap is live by the mount's swap", edited},
		{"an edit with a mistake disturbs nothing", mistaken},
		{"a node of a new role joins", newRole},
		{"the leader's pod is deleted", leaderDeleted},
		{"the leader's node is cut off", leaderCutOff},
		{"a rolling update", rollingUpdate},
		{"a node is deleted", nodeDeleted},
		{"an overlay with IAM", overlaid},
		{"the status page", pageShown},
		{"IAM identities log in", loggedIn},
		{"who left the IAM group is out", loggedOut},
		{"a locked-out node is let in", letIn},
		{"Prometheus scrapes", scraped},
		{"Pod Security", podSecurity},
		{"the overlay hardened", hardened},
		{"a stolen reporter's token", tokens},
	})
}
