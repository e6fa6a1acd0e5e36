package writers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// habits are the tools. Each is one of those that people run on aws-auth, as far
// as its manners go.
var habits = []struct {
	name string
	act  func(context.Context, *tool) error
}{
	{"eksctl", eksctl},
	{"kubectl", kubectl},
	{"terraform", terraform},
	{"keikoproj", keikoproj},
	{"mark-stripper", stripper},
	{"metadata", metadata},
	{"remover", remover},
	{"managed-node-group", managed},
}

const (
	account   = "arn:aws:iam::111122223333:"
	mostOwn   = 12          // entries that a tool has at most, so that aws-auth stays of a usual size
	elsewhere = "elsewhere" // a group that only those entries have that shadow ours
)

// ownRole picks what to do with the tool's own entries: a new one's ARN, or one
// to remove.
func (t *tool) ownRole(id string) (add, remove string) {
	if len(t.own) >= mostOwn || len(t.own) > 0 && t.chance(35) {
		return "", t.own[t.rand.IntN(len(t.own))]
	}
	return account + "role/" + id, ""
}

// did keeps count of the tool's own entries.
func (t *tool) did(add, remove string) {
	if add != "" {
		t.own = append(t.own, add)
	}
	t.own = slices.DeleteFunc(t.own, func(arn string) bool { return arn == remove })
}

// serialise has every element of roles and users written anew, and one role
// added or removed.
func serialise(cm *corev1.ConfigMap, render func(string) (string, error), add, remove string) ([]Effect, error) {
	var effects []Effect
	for _, list := range []string{mapRoles, mapUsers} {
		text := cm.Data[list]
		if list == mapRoles {
			if remove != "" {
				effects = append(effects, Remove{list, Match{ARN: remove}})
				atoms, err := split(text)
				if err != nil {
					return nil, err
				}
				text = join(slices.DeleteFunc(atoms, Match{ARN: remove}.holds))
			}
			text += add
		}
		if strings.TrimSpace(text) == "" {
			continue
		}
		out, err := render(text)
		if err != nil {
			return nil, err
		}
		cm.Data[list] = out
		effects = append(effects, Serialise{list, func(one string) (string, error) {
			out, err := render(one)
			return strings.TrimSuffix(out, "\n"), err
		}})
		if list == mapRoles && add != "" {
			out, err := render(add)
			if err != nil {
				return nil, err
			}
			effects = append(effects, Append{list, strings.TrimSuffix(out, "\n")})
		}
	}
	return effects, nil
}

// identity is all that eksctl and keikoproj know of an entry.
type identity struct {
	RoleARN  string   `json:"rolearn,omitempty" yaml:"rolearn,omitempty"`
	UserARN  string   `json:"userarn,omitempty" yaml:"userarn,omitempty"`
	Username string   `json:"username,omitempty" yaml:"username,omitempty"`
	Groups   []string `json:"groups,omitempty" yaml:"groups,omitempty"`
}

// eksctl reads entries into a type of its own and writes all of them: comments
// and unknown fields, our mark among them, are gone.
func eksctl(ctx context.Context, t *tool) error {
	var add, remove string
	err := t.update(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		add, remove = t.ownRole(id)
		text := ""
		if add != "" {
			text = fmt.Sprintf("- rolearn: %s\n  username: %s\n  groups: [eksctl, viewers]\n", add, id)
		}
		return serialise(cm, func(text string) (string, error) {
			var all []identity
			if err := yaml.Unmarshal([]byte(text), &all); err != nil {
				return "", err
			}
			out, err := yaml.Marshal(all)
			return string(out), err
		}, text, remove)
	})
	t.did(add, remove)
	return err
}

// keikoproj does the same in another order of fields; at times it makes data
// anew of the two lists that it knows.
func keikoproj(ctx context.Context, t *tool) error {
	var add, remove string
	err := t.update(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		add, remove = t.ownRole(id)
		text := ""
		if add != "" {
			text = fmt.Sprintf("- rolearn: %s\n  username: %s\n  groups: [keiko]\n", add, id)
		}
		effects, err := serialise(cm, func(text string) (string, error) {
			var all []identity
			if err := yaml.Unmarshal([]byte(text), &all); err != nil {
				return "", err
			}
			out, err := yamlv2.Marshal(all)
			return string(out), err
		}, text, remove)
		if err == nil && t.chance(10) {
			keep := []string{mapRoles, mapUsers}
			maps.DeleteFunc(cm.Data, func(key, _ string) bool { return !slices.Contains(keep, key) })
			effects = append(effects, Rebuild{keep})
		}
		return effects, err
	})
	t.did(add, remove)
	return err
}

// terraform writes all entries that it read by yamlencode, which quotes every
// string. Whether fields that it doesn't know stay is up to the module's author.
func terraform(ctx context.Context, t *tool) error {
	var add, remove string
	keep := t.chance(50)
	err := t.update(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		add, remove = t.ownRole(id)
		text := ""
		if add != "" {
			text = fmt.Sprintf("- rolearn: %s\n  username: %s\n  groups: [terraform]\n  module: %s\n", add, id, id)
		}
		return serialise(cm, func(text string) (string, error) { return yamlencode(text, keep) }, text, remove)
	})
	t.did(add, remove)
	return err
}

func yamlencode(text string, keepUnknown bool) (string, error) {
	var all []map[string]any
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, e := range all {
		if !keepUnknown {
			maps.DeleteFunc(e, func(name string, _ any) bool {
				return !slices.Contains([]string{"rolearn", "userarn", "username", "groups"}, name)
			})
		}
		lead := "- "
		for _, name := range slices.Sorted(maps.Keys(e)) {
			items, isList := e[name].([]any)
			if !isList {
				quoted, err := json.Marshal(e[name])
				if err != nil {
					return "", err
				}
				fmt.Fprintf(&b, "%s%q: %s\n", lead, name, quoted)
			} else {
				fmt.Fprintf(&b, "%s%q:\n", lead, name)
				for _, item := range items {
					quoted, err := json.Marshal(item)
					if err != nil {
						return "", err
					}
					fmt.Fprintf(&b, "  - %s\n", quoted)
				}
			}
			lead = "  "
		}
	}
	return b.String(), nil
}

// carryOut does effects to the text itself, as a person or a careful tool does:
// all that they don't name stays as it is.
func carryOut(cm *corev1.ConfigMap, effects ...Effect) ([]Effect, error) {
	s, err := readState(cm)
	if err != nil {
		return nil, err
	}
	for _, e := range effects {
		e.apply(s, "")
	}
	for _, list := range lists {
		if _, was := cm.Data[list]; was || len(s.lists[list]) > 0 {
			cm.Data[list] = join(s.lists[list])
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case Set:
			switch e.Where {
			case "data":
				cm.Data[e.Key] = e.Text
			case "labels":
				cm.Labels = with(cm.Labels, e.Key, e.Text)
			case "annotations":
				cm.Annotations = with(cm.Annotations, e.Key, e.Text)
			}
		case Unset:
			for _, m := range []map[string]string{cm.Data, cm.Labels, cm.Annotations} {
				delete(m, e.Key)
			}
		}
	}
	return effects, nil
}

func with(m map[string]string, key, text string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[key] = text
	return m
}

// kubectl is people: they edit the text, leave comments in it, in our entries
// too, and apply keys of their own.
func kubectl(ctx context.Context, t *tool) error {
	if t.chance(30) {
		return t.apply(ctx, "kubectl-notes", "applied-by")
	}
	var add, remove string
	what := t.rand.IntN(100)
	target := t.o.Targets[t.rand.IntN(len(t.o.Targets))]
	err := t.patch(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		switch {
		case what < 15:
			return carryOut(cm, Append{mapRoles, "# " + id + ": ask the platform team first"})
		case what < 30 && strings.Contains(cm.Data[target.List], target.ARN):
			return carryOut(cm, Suffix{target.List, Match{ARN: target.ARN}, " # seen by " + id})
		}
		if add, remove = t.ownRole(id); remove != "" {
			if !strings.Contains(cm.Data[mapRoles], remove) {
				return nil, nil
			}
			return carryOut(cm, Remove{mapRoles, Match{ARN: remove}})
		}
		return carryOut(cm, Append{mapRoles, fmt.Sprintf(
			"- rolearn: %s # by hand\n  # %s: until the move is over\n  username: \"%s:{{SessionName}}\"\n  groups: [ people,  'viewers' ]\n  ticket: %s",
			add, id, id, id)})
	})
	t.did(add, remove)
	return err
}

// stripper takes all syncedBy marks away, and says in an annotation that it was
// here.
func stripper(ctx context.Context, t *tool) error {
	marks := t.chance(60)
	return t.update(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		effects := []Effect{Set{"annotations", "cleaned-by", id}}
		if marks {
			effects = append(effects, StripMarks{mapRoles}, StripMarks{mapUsers})
		}
		return carryOut(cm, effects...)
	})
}

// metadata minds everything but roles and users.
func metadata(ctx context.Context, t *tool) error {
	what, n := t.rand.IntN(100), strconv.Itoa(t.rand.IntN(8))
	accountID := "22223333444" + n
	return t.patch(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		switch {
		case what < 35 && strings.Contains(cm.Data[mapAccounts], accountID):
			return carryOut(cm, Remove{mapAccounts, Match{ARN: accountID}})
		case what < 35:
			return carryOut(cm, Append{mapAccounts, fmt.Sprintf("- %q # %s", accountID, id)})
		case what < 50:
			return carryOut(cm, Set{"data", "settings-" + n, id + "\n\n"})
		case what < 60:
			return carryOut(cm, Unset{"data", "settings-" + n})
		case what < 75:
			return carryOut(cm, Set{"labels", "team-" + n, id})
		case what < 90:
			return carryOut(cm, Set{"annotations", "example.com/note-" + n, id + " # no comment"})
		}
		return carryOut(cm, Unset{"annotations", "example.com/note-" + n})
	})
}

// remover takes entries of ours away, now and then all roles.
func remover(ctx context.Context, t *tool) error {
	targets := []Target{t.o.Targets[t.rand.IntN(len(t.o.Targets))], t.o.Targets[t.rand.IntN(len(t.o.Targets))]}
	if t.chance(5) {
		targets = t.o.Targets
	}
	return t.update(ctx, func(cm *corev1.ConfigMap, _ string) ([]Effect, error) {
		before := maps.Clone(cm.Data)
		var effects []Effect
		for _, target := range targets {
			effects = append(effects, Remove{target.List, Match{ARN: target.ARN, Without: elsewhere}})
		}
		effects, err := carryOut(cm, effects...)
		if err != nil || maps.Equal(before, cm.Data) {
			return nil, err
		}
		return effects, nil
	})
}

// managed has entries of its own for ARNs of ours, as EKS has for the role of a
// managed node group. They grant more than ours.
func managed(ctx context.Context, t *tool) error {
	shadowed := slices.DeleteFunc(slices.Clone(t.o.Targets), func(target Target) bool { return target.List == mapAccounts })
	target := shadowed[t.rand.IntN(len(shadowed))]
	return t.update(ctx, func(cm *corev1.ConfigMap, id string) ([]Effect, error) {
		mine := Match{ARN: target.ARN, With: elsewhere}
		s, err := readState(cm)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(s.lists[target.List], mine.holds) {
			return carryOut(cm, Remove{target.List, mine})
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "- groups: # %s\n", id)
		for _, g := range append(slices.Clone(target.Groups), elsewhere) {
			fmt.Fprintf(&b, "    - %s\n", g)
		}
		name := "rolearn"
		if target.List == mapUsers {
			name = "userarn"
		}
		fmt.Fprintf(&b, "  %s: %s\n  username: %q", name, target.ARN, target.Username)
		return carryOut(cm, Append{target.List, b.String()})
	})
}
