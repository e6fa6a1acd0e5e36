package faults_test

import (
	"slices"
	"testing"

	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// A site is a fleet whose sources are broken: IAM, IMDS, the mount, and what
// others write. Its API server is well.
type site struct{ *trial.Cluster }

func newSite(t testing.TB, config string, flags ...string) *site {
	t.Helper()
	return &site{trial.New(t, config, trial.Options{Options: fleet.Options{Flags: slices.Concat(calm, flags)}})}
}
