package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/config"
	"github.com/rolecall/rolecall/internal/visible"
)

// A Result is a config.yaml that was made of what another tool knows.
type Result struct {
	// Config is the text, with comments that say where each entry comes from
	// and what has no equivalent. [config.Parse] takes it.
	Config []byte
	// Notes say what has no equivalent, or means something else here, and what
	// to do instead; by file and line.
	Notes []config.Problem
}

// What the agent maps the role of a node to (internal/source/items.go). Roles that are
// mapped to exactly this are roles of nodes.
const (
	nodeUsername = "system:node:{{EC2PrivateDNSName}}"
	windowsGroup = "eks:kube-proxy-windows"
)

// nodeGroups are those of a node, sorted.
func nodeGroups() []string { return []string{"system:bootstrappers", "system:nodes"} }

// A group is an IAM group whose users are mapped.
type group struct {
	value
	name   string
	groups []string
}

// A draft is a config in the making.
type draft struct {
	*reader
	tool string // whose settings it is made of

	interval  time.Duration // 0: the default
	region    string
	noReport  bool // nodeRoles.report: false
	items     []item
	karpenter []item
	adopt     []string
	objects   []string // formats of other controllers' objects that were met
}

func newDraft(tool, file string) *draft { return &draft{reader: &reader{file: file}, tool: tool} }

// result writes the config. Entries that it would not take are left out with a
// note.
func (d *draft) result() (*Result, error) {
	if err := d.fail(); err != nil {
		return nil, err
	}
	items := d.checked(d.inForce(d.items))
	karpenter := d.checkedNodes(d.karpenter)
	var groups []group
	for _, g := range d.groups {
		if d.accepts(g.value, fmt.Sprintf("iamGroups: [{name: %s, groups: %s}]", scalar(g.name), list(g.groups))) {
			groups = append(groups, g)
		}
	}
	slices.SortStableFunc(d.notes, func(a, b config.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})

	w := &writer{}
	w.comment("", "Made of the settings of %s by \"rolecall import\", from %s.", d.made(), d.file)
	w.comment("", "Check it with: rolecall validate FILE; and see what it would change: rolecall plan --config FILE.")
	if len(d.notes) > 0 {
		w.comment("", "")
		w.comment("", "What has no equivalent here, or means something else:")
		for _, n := range d.notes {
			w.comment("", "- %s", n)
		}
	}
	w.line("apiVersion: %s", config.APIVersion)
	w.line("kind: %s", config.Kind)
	if d.interval > 0 {
		w.line("refreshInterval: %s", short(d.interval))
	}
	if d.region != "" {
		w.line("aws:")
		w.line("  region: %s", scalar(d.region))
	}
	d.writeNodes(w, items)
	if len(karpenter) > 0 {
		w.line("karpenter:")
		w.line("  nodeRoleARNs:")
		for _, it := range karpenter {
			w.comment("    ", "%s", d.from(it.value))
			w.line("    - %s", scalar(it.arn))
		}
	}
	d.writeEntries(w, items)
	if len(groups) > 0 {
		w.line("iamGroups:")
		for _, g := range groups {
			w.comment("  ", "%s", d.from(g.value))
			w.line("  - name: %s", scalar(g.name))
			w.line("    groups: %s", list(g.groups))
		}
	}
	if len(d.adopt) > 0 {
		w.line("adopt: %s", list(d.adopt))
	}
	// What was written is read again: each entry was checked by itself, and
	// here they stand together.
	if _, err := config.Parse(d.file, []byte(w.String())); err != nil {
		return nil, fmt.Errorf("the config made of %s is not valid, which is a fault of this program: %w", d.file, err)
	}
	return &Result{Config: []byte(w.String()), Notes: d.notes}, nil
}

// made says whose settings the config is made of.
func (d *draft) made() string {
	if len(d.objects) > 0 {
		return strings.Join(d.objects, ", ")
	}
	return d.tool
}

// giver is who gives an entry no username.
func (d *draft) giver() string {
	if len(d.objects) > 0 {
		return "the object"
	}
	return d.tool
}

// from says where an entry stands.
func (d *draft) from(v value) string {
	return fmt.Sprintf("%s:%d: %s", cmp.Or(v.file, d.file), v.at(), v.key)
}

// inForce leaves of several entries of one identity the one that is in force:
// the last, since that is the one that the authenticator keeps. One whose path
// keeps the authenticator from ever matching it yields to any other.
func (d *draft) inForce(items []item) []item {
	best := map[string]int{}
	for i := range items {
		it := &items[i]
		id := it.identity()
		if was, ok := best[id]; !ok || items[was].pathed() || !it.pathed() {
			best[id] = i
		}
	}
	var out []item
	for i := range items {
		it := items[i]
		if winner := best[it.identity()]; winner != i {
			d.note(it.value, "the entry for %s is left out: of several the authenticator lets the last win, which is on line %d; rolecall writes one", quote(it.name()), items[winner].at())
			continue
		}
		if it.pathed() {
			d.note(it.value, "%s carries a path, so in aws-auth the entry lets nobody in: the authenticator never sees a role's path. rolecall writes it without, and it takes effect; remove it if that is not meant", quote(it.arn))
			it.arn, _ = awsauth.RoleARN(it.arn)
		}
		out = append(out, it)
	}
	return out
}

// pathed reports whether an item is a role whose ARN carries a path.
func (it *item) pathed() bool {
	arn, err := awsauth.RoleARN(it.arn)
	return it.kind == awsauth.Role && err == nil && arn != it.arn
}

func (it *item) name() string { return cmp.Or(it.permissionSet, it.arn) }

func (it *item) identity() string {
	if it.permissionSet != "" {
		return "permission set " + it.permissionSet
	}
	arn := it.arn
	if it.kind == awsauth.Role {
		if canonical, err := awsauth.RoleARN(arn); err == nil {
			arn = canonical
		}
	}
	return string(it.kind) + " " + strings.ToLower(arn)
}

// checked leaves out what config would not take, each with config's own words.
func (d *draft) checked(items []item) []item {
	var out []item
	for _, it := range items {
		text := ""
		switch {
		case it.kind == awsauth.Account:
			text = fmt.Sprintf("accounts: [%s]", scalar(it.arn))
		case it.username == "" && it.permissionSet == "":
			it.username = awsauth.DefaultUsername(awsauth.Entry{Kind: it.kind, ARN: it.arn, Groups: it.groups})
			d.note(it.value, "%s gives %s no username, so Kubernetes knows who it lets in by groups alone; rolecall wants one and it gets %s", d.giver(), quote(it.arn), quote(it.username))
			fallthrough
		default:
			text = fmt.Sprintf("%ss: [%s]", it.kind, strings.Join(entryFields(&it, ": "), ", "))
			text = strings.Replace(text, "[", "[{", 1)
			text = strings.TrimSuffix(text, "]") + "}]"
		}
		if d.accepts(it.value, text) {
			out = append(out, it)
		}
	}
	return out
}

func (d *draft) checkedNodes(items []item) []item {
	var out []item
	for _, it := range items {
		if d.accepts(it.value, fmt.Sprintf("nodeRoles: {extra: [%s]}", scalar(it.arn))) {
			out = append(out, it)
		}
	}
	return out
}

// accepts reports whether config takes a part of a file. What it warns of, and
// what it refuses, becomes a note.
func (d *draft) accepts(v value, text string) bool {
	file, err := config.Parse("", fmt.Appendf(nil, "apiVersion: %s\nkind: %s\n%s\n", config.APIVersion, config.Kind, text))
	if problems := (*config.Error)(nil); errors.As(err, &problems) {
		for _, p := range problems.Problems {
			d.note(v, "left out: %s", p.Message)
		}
		return false
	}
	if err != nil {
		d.note(v, "left out: %v", err)
		return false
	}
	for _, w := range file.Warnings {
		d.note(v, "%s", w.Message)
	}
	return true
}

// isNode reports whether an item is mapped as the role of a node is, and
// whether of a Windows node.
func (it *item) isNode() (node, windows bool) {
	if it.kind != awsauth.Role || it.permissionSet != "" || it.username != nodeUsername {
		return false, false
	}
	groups := slices.Compact(slices.Sorted(slices.Values(it.groups)))
	if slices.Equal(groups, nodeGroups()) {
		return true, false
	}
	is := slices.Equal(groups, append([]string{windowsGroup}, nodeGroups()...))
	return is, is
}

func (d *draft) writeNodes(w *writer, items []item) {
	var nodes, windows []item
	for _, it := range items {
		node, win := it.isNode()
		if node {
			nodes = append(nodes, it)
		}
		if win {
			windows = append(windows, it)
		}
	}
	if len(nodes) == 0 && !d.noReport {
		return
	}
	w.line("nodeRoles:")
	if d.noReport {
		w.line("  report: false")
	}
	if len(nodes) > 0 {
		w.line("  extra:")
		for _, it := range nodes {
			w.comment("    ", "%s", d.from(it.value))
			w.line("    - %s", scalar(it.arn))
		}
	}
	if len(windows) > 0 {
		w.line("  windows:")
		for _, it := range windows {
			w.line("    - %s", scalar(it.arn))
		}
	}
}

func (d *draft) writeEntries(w *writer, items []item) {
	for _, kind := range []awsauth.Kind{awsauth.Role, awsauth.User, awsauth.Account} {
		head := false
		for _, it := range items {
			if node, _ := it.isNode(); node || it.kind != kind {
				continue
			}
			if !head {
				w.line("%ss:", kind)
				head = true
			}
			w.comment("  ", "%s", d.from(it.value))
			if kind == awsauth.Account {
				w.line("  - %s", scalar(it.arn))
				continue
			}
			indent := "  - "
			for _, f := range entryFields(&it, ": ") {
				w.line("%s%s", indent, f)
				indent = "    "
			}
		}
	}
}

// entryFields are the fields of a role or user, each with its value.
func entryFields(it *item, colon string) []string {
	var out []string
	if it.permissionSet != "" {
		out = append(out, "permissionSet"+colon+scalar(it.permissionSet))
	} else {
		out = append(out, "arn"+colon+scalar(it.arn))
	}
	if it.username != "" {
		out = append(out, "username"+colon+scalar(it.username))
	}
	if len(it.groups) > 0 {
		out = append(out, "groups"+colon+list(it.groups))
	}
	return out
}

// A writer writes lines of YAML.
type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// comment writes one line, whatever the text of others is in it.
func (w *writer) comment(indent, format string, args ...any) {
	text := visible.Text(fmt.Sprintf(format, args...))
	fmt.Fprintf(w, "%s\n", strings.TrimRight(indent+"# "+text, " "))
}

func list(texts []string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = scalar(t)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// scalar writes a text so that every YAML parser reads it as that text, also
// within brackets: plain where nothing in it means anything, else in quotes.
func scalar(s string) string {
	plain := s != "" && !strings.HasSuffix(s, ":") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:+@$-") == ""
	var n yaml.Node
	if plain && yaml.Unmarshal([]byte("["+s+"]"), &n) == nil && len(n.Content) == 1 && len(n.Content[0].Content) == 1 {
		if text := n.Content[0].Content[0]; text.Kind == yaml.ScalarNode && text.ShortTag() == "!!str" && text.Value == s && !slices.Contains(words, strings.ToLower(s)) {
			return s
		}
	}
	return quoted(s)
}

// words are what YAML 1.1 takes for truth values and YAML 1.2 for texts
// (https://yaml.org/type/bool.html).
var words = []string{"y", "n", "yes", "no", "on", "off"}

// short writes a duration as people do: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
