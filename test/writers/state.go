package writers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// ours are the annotations of rolecall: it signs its writes, and says which
// installation writes.
var ours = []string{"rolecall.dev/write", "rolecall.dev/installation"}

// A state is all that a version of aws-auth holds but those, cut into what one
// edit can make or end.
type state struct {
	lists map[string][]Atom // by the key of data
	pairs map[pair]value    // all else: other keys, labels, annotations
}

// A pair is a place of a text that is no list.
type pair struct {
	Where string // data, binaryData, labels, annotations
	Key   string
}

type value struct {
	Text string
	By   string // the edit that put it there
}

// readState reads a version. Whose each part is, is not known by that.
func readState(cm *corev1.ConfigMap) (*state, error) {
	s := &state{lists: map[string][]Atom{}, pairs: map[pair]value{}}
	for key, text := range cm.Data {
		if !slices.Contains(lists, key) {
			s.pairs[pair{"data", key}] = value{Text: text}
			continue
		}
		atoms, err := split(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		s.lists[key] = atoms
	}
	for key, data := range cm.BinaryData {
		s.pairs[pair{"binaryData", key}] = value{Text: string(data)}
	}
	for key, text := range cm.Labels {
		s.pairs[pair{"labels", key}] = value{Text: text}
	}
	for key, text := range cm.Annotations {
		if slices.Contains(ours, key) {
			continue
		}
		s.pairs[pair{"annotations", key}] = value{Text: text}
	}
	return s, nil
}

func (s *state) clone() *state {
	c := &state{lists: map[string][]Atom{}, pairs: maps.Clone(s.pairs)}
	for key, atoms := range s.lists {
		c.lists[key] = slices.Clone(atoms)
	}
	return c
}

// differs says how what another state holds is not what this one does,
// whoever made it; empty where it is.
func (s *state) differs(other *state) string {
	var diffs []string
	for _, key := range lists {
		if diff := cmp.Diff(join(s.lists[key]), join(other.lists[key])); diff != "" {
			diffs = append(diffs, key+" (-want +got)\n"+diff)
		}
	}
	if diff := cmp.Diff(texts(s.pairs), texts(other.pairs)); diff != "" {
		diffs = append(diffs, "data, labels and annotations (-want +got)\n"+diff)
	}
	return strings.Join(diffs, "\n")
}

func texts(pairs map[pair]value) map[string]string {
	m := map[string]string{}
	for p, v := range pairs {
		m[p.Where+"/"+p.Key] = v.Text
	}
	return m
}

// standing are the edits that something of is still there.
func (s *state) standing() map[string]bool {
	found := map[string]bool{}
	for _, atoms := range s.lists {
		for _, a := range atoms {
			if !a.Ours && a.By != "" {
				found[a.By] = true
			}
		}
	}
	for _, v := range s.pairs {
		if v.By != "" {
			found[v.By] = true
		}
	}
	return found
}

// resolve is the element that answers for an ARN, as the authenticator reads
// lists: the last of equals, and a role before a user.
func (s *state) resolve(arn string) (found element, ok bool) {
	for _, key := range []string{mapUsers, mapRoles, mapAccounts} {
		for _, a := range s.lists[key] {
			if e, err := a.read(); !a.isComment() && err == nil && strings.EqualFold(e.ARN, arn) {
				found, ok = e, true
			}
		}
	}
	return found, ok
}
