// Package release_test holds together what a release is made of: the one place
// that says the version, the notes, GoReleaser's configuration, krew's manifest,
// the images' Dockerfiles and the workflow that runs it all.
package release_test
