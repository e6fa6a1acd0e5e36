package e2e_test

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// versions is every version of a ConfigMap since it was begun.
type versions struct{ *fleet.History }

// follow begins the history of a ConfigMap. It ends with the test.
func (c *cluster) follow(namespace, name string) versions {
	c.T.Helper()
	h, err := c.Follow(c.T.Context(), namespace, name)
	if err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(h.Stop)
	return versions{h}
}

// upTo waits until the history has a version, and returns all that it has then.
func (h versions) upTo(c *cluster, version *corev1.ConfigMap) []fleet.Version {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), trial.Patience)
	defer cancel()
	list, err := h.UpTo(ctx, version)
	if err != nil {
		c.T.Fatal(err)
	}
	return list
}

// written is how many versions there are so far.
func (h versions) written() int { return len(h.Versions()) }
