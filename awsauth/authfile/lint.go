package authfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
)

// A Finding is one of [awsauth.Lint] or [awsauth.LintObject], or one that only the
// file shows, with its place in the file. Lines and columns are from 1; 0 stands for
// what is not known. OtherFileLine is that of the entry or key that is the other one.
type Finding struct {
	awsauth.Finding
	FileLine      int `json:"fileLine,omitempty"`
	FileColumn    int `json:"fileColumn,omitempty"`
	OtherFileLine int `json:"otherFileLine,omitempty"`
}

// Lint says of the file what [awsauth.LintObject] says of the object that kubectl would
// make of it, and what kubectl passes over: keys that stand twice, of which the last one
// counts, and keys of aws-auth elsewhere than below data. How grave that is follows from
// who loses access by it. It makes no request. The same file always has the same
// findings, in the order of the document, those of the file last.
func (d *Document) Lint() []Finding {
	var out []Finding
	list := awsauth.Lint(d.Data)
	if d.Object != nil {
		list = awsauth.LintObject(d.Object, "", "")
	}
	for _, f := range list {
		own := Finding{Finding: f}
		own.FileLine, own.FileColumn = d.Line(f.Key, f.Line, f.Column)
		if f.Line == 0 && f.Key == "" || f.Rule == awsauth.RuleBinaryData {
			own.FileLine, own.FileColumn = d.objectLine(f.Rule, f.Key)
		}
		if f.OtherLine > 0 {
			own.OtherFileLine, _ = d.Line(f.OtherKey, f.OtherLine, 0)
		}
		d.folded(&own)
		out = append(out, own)
	}
	out = append(out, d.doubled()...)
	out = append(out, d.misplaced()...)
	if f := d.kindFinding(); f != nil {
		out = append(out, *f)
	}
	if d.encoding != "" {
		out = append(out, d.encoded())
	}
	return out
}

// folded puts the slip that joined the lines of a text where it was made: at its header.
func (d *Document) folded(f *Finding) {
	p, ok := d.places[f.Key]
	if !ok || p.value.Style&yaml.FoldedStyle == 0 || !strings.Contains(f.Message, "stand on one line") {
		return
	}
	f.FileLine, f.FileColumn = p.value.Line, p.value.Column
	f.Message = fmt.Sprintf("%s is a folded text (>), which joins its lines", f.Key)
	f.Write = f.Key + ": | in place of >"
}

// objectLine is where in the file something of the object stands.
func (d *Document) objectLine(rule awsauth.RuleID, name string) (line, column int) {
	if d.root == nil {
		return 0, 0
	}
	var path []string
	switch rule {
	case awsauth.RuleWrongObject:
		path = []string{"metadata", "namespace"}
		if _, n := get(d.root, "metadata"); n != nil {
			if key, _ := get(n, "namespace"); key == nil || text(d.root, "metadata", "namespace") == awsauth.Namespace {
				path = []string{"metadata", "name"}
			}
		}
	case awsauth.RuleImmutable:
		path = []string{"immutable"}
	case awsauth.RuleBinaryData:
		path = []string{"binaryData", name}
	case awsauth.RuleManagedBy:
		path = []string{"metadata"}
	default:
		return 0, 0
	}
	n := d.root
	for _, step := range path {
		key, value := get(n, step)
		if key == nil {
			break
		}
		line, column, n = key.Line, key.Column, value
	}
	return line, column
}

func newFinding(rule awsauth.RuleID, key *yaml.Node) Finding {
	for _, r := range awsauth.Rules() {
		if r.ID == rule {
			f := Finding{Finding: awsauth.Finding{Rule: rule, Severity: r.Severity, Message: r.Title, Consequence: r.Consequence, Write: r.Write}}
			f.FileLine, f.FileColumn = key.Line, key.Column
			return f
		}
	}
	return Finding{}
}

// lost says who loses access since texts are not read.
func (d *Document) lost(texts map[string]string) []awsauth.Entry {
	fixed, _ := awsauth.Mend(texts)
	return awsauth.LostAccess(fixed, d.Data)
}

// texts are the texts of aws-auth's keys in a map, of each the last. Lists that are
// written as lists, and not as text, count as well.
func texts(data *yaml.Node) map[string]string {
	out := map[string]string{}
	for _, p := range pairs(data) {
		if text, ok := listText(p.value); ok && isKey(p.key.Value) {
			out[p.key.Value] = text
		}
	}
	return out
}

func listText(n *yaml.Node) (string, bool) {
	switch {
	case n.Kind == yaml.ScalarNode:
		return n.Value, true
	case n.Kind == yaml.SequenceNode:
		body, err := yaml.Marshal(n)
		return string(body), err == nil
	}
	return "", false
}

// doubled is about keys that stand twice: the last one counts.
func (d *Document) doubled() []Finding {
	var out []Finding
	look := func(n *yaml.Node, path string) {
		last := map[string]*yaml.Node{}
		for _, p := range pairs(n) {
			last[p.key.Value] = p.key
		}
		for _, p := range pairs(n) {
			other := last[p.key.Value]
			if other == p.key {
				continue
			}
			name := p.key.Value
			f := newFinding(awsauth.RuleDoubledKey, p.key)
			f.OtherFileLine = other.Line
			f.Message = fmt.Sprintf("%s stands twice, on lines %d and %d", strings.TrimPrefix(path+"."+name, "."), p.key.Line, other.Line)
			before := map[string]string{}
			switch {
			case path == "data" || path == "" && d.dataAlone:
				f.Key = name
				if text, ok := listText(p.value); ok {
					before[name] = text
				}
			case name == "data":
				before = texts(p.value)
			}
			f.Consequence = "kubectl takes the last one without a word"
			if lost := d.lost(before); len(lost) > 0 {
				f.Consequence += ": " + awsauth.DescribeLost(lost)
			} else {
				f.Severity = awsauth.Warning
				f.Consequence += ", and the first one is lost"
			}
			out = append(out, f)
		}
	}
	look(d.root, "")
	if !d.dataAlone {
		for _, name := range []string{"metadata", "data", "binaryData"} {
			_, n := get(d.root, name)
			look(n, name)
		}
	}
	return out
}

// misplaced is about keys of aws-auth that stand elsewhere than below data.
func (d *Document) misplaced() []Finding {
	if d.dataAlone || d.root == nil {
		return nil
	}
	var out []Finding
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		for _, p := range pairs(n) {
			at := strings.TrimPrefix(path+"."+p.key.Value, ".")
			if !isKey(p.key.Value) {
				if at != "data" && at != "binaryData" && at != "metadata.annotations" && at != "metadata.managedFields" {
					walk(p.value, at)
				}
				continue
			}
			f := newFinding(awsauth.RuleMisplacedKey, p.key)
			f.Message = fmt.Sprintf("%s stands beside data, not below it", p.key.Value)
			if path != "" {
				f.Message = fmt.Sprintf("%s stands below %s, not below data", p.key.Value, path)
			}
			f.Write = fmt.Sprintf("%s below data, with the indentation of its other keys", p.key.Value)
			f.Consequence = "the API server refuses the object, or drops the key where nobody checks"
			if text, ok := listText(p.value); ok {
				if lost := d.lost(map[string]string{p.key.Value: text}); len(lost) > 0 {
					f.Consequence += ": " + awsauth.DescribeLost(lost)
				} else {
					f.Severity = awsauth.Error
				}
			}
			out = append(out, f)
		}
	}
	walk(d.root, "")
	return out
}

// kindFinding is about an object of another kind.
func (d *Document) kindFinding() *Finding {
	kind := text(d.root, "kind")
	if d.root == nil || d.dataAlone || kind == "ConfigMap" || d.Object == nil || kind == "" {
		return nil
	}
	key, _ := get(d.root, "kind")
	f := newFinding(awsauth.RuleWrongObject, key)
	f.Message = fmt.Sprintf("the kind is %q", kind)
	f.Consequence = "the authenticator reads a ConfigMap alone"
	if lost := awsauth.LostAccess(d.Data, nil); len(lost) > 0 {
		f.Consequence += ": " + awsauth.DescribeLost(lost)
	}
	f.Write = "kind: ConfigMap"
	return &f
}

// encoded is about a file that is not in UTF-8.
func (d *Document) encoded() Finding {
	f := newFinding(awsauth.RuleBinaryData, &yaml.Node{Line: 1, Column: 1})
	f.Message = "the file is in " + d.encoding
	f.Consequence = "kubectl create configmap --from-file puts it into binaryData, which the authenticator does not read"
	if !d.Bare() {
		f.Severity, f.Consequence = awsauth.Warning, "not every tool reads it"
	} else if lost := awsauth.LostAccess(d.Data, nil); len(lost) > 0 {
		f.Consequence += ": " + awsauth.DescribeLost(lost)
	}
	f.Write = "the file in UTF-8"
	f.Mendable = true
	return f
}

// Fix returns the file with every finding fixed that can be without asking what was
// meant, and those findings, as they stood before. All other bytes stay, but for a file
// in UTF-16, which becomes UTF-8. What it returns has been read back. The error says
// that the file is written in a way that takes no such edit; it stays as it is then.
func (d *Document) Fix() ([]byte, []Finding, error) {
	var done []awsauth.Finding
	data := d.Data
	var drop []string
	if d.Object == nil {
		data, done = awsauth.Mend(d.Data)
	} else {
		var fixed *corev1.ConfigMap
		fixed, done = awsauth.FixObject(d.Object)
		if fixed.Data != nil {
			data = fixed.Data
		}
		for k := range d.Object.BinaryData {
			if _, kept := fixed.BinaryData[k]; !kept {
				drop = append(drop, k)
			}
		}
		slices.Sort(drop)
	}
	file, err := d.write(data, drop)
	if err != nil {
		return nil, nil, err
	}
	out := make([]Finding, len(done))
	for i, f := range done {
		out[i].Finding = f
		out[i].FileLine, out[i].FileColumn = d.Line(f.Key, f.Line, f.Column)
	}
	if d.encoding != "" {
		out = append(out, d.encoded())
	}
	return file, out, nil
}

// object is what the file says of the ConfigMap; nil where it says nothing that an
// object has.
func object(root *yaml.Node, data map[string]string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{Data: data}
	whole := map[string]any{}
	for _, name := range []string{"metadata", "immutable", "binaryData"} {
		if _, n := get(root, name); n != nil {
			left := 1 << 20
			if v, ok := plainValue(n, &left); ok {
				whole[name] = v
			}
		}
	}
	// Each part alone: what one can't hold hinders no other.
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		body, err := json.Marshal(map[string]any{name: whole[name]})
		if err != nil {
			continue
		}
		var part corev1.ConfigMap
		if json.Unmarshal(body, &part) != nil {
			if name == "metadata" {
				cm.Name, cm.Namespace = text(root, "metadata", "name"), text(root, "metadata", "namespace")
			}
			continue
		}
		switch name {
		case "metadata":
			cm.ObjectMeta = part.ObjectMeta
		case "immutable":
			cm.Immutable = part.Immutable
		case "binaryData":
			cm.BinaryData = part.BinaryData
		}
	}
	return cm
}

// plainValue is a node as encoding/json writes it; of a key that stands twice the last
// counts. left bounds how many values aliases may make of it.
func plainValue(n *yaml.Node, left *int) (any, bool) {
	if *left--; *left < 0 {
		return nil, false
	}
	switch n.Kind {
	case yaml.AliasNode:
		return plainValue(n.Alias, left)
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, ok := plainValue(n.Content[i+1], left)
			if !ok {
				return nil, false
			}
			out[n.Content[i].Value] = v
		}
		return out, true
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			v, ok := plainValue(c, left)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return nil, true
		case "!!bool":
			return n.Value == "true" || n.Value == "True" || n.Value == "TRUE", true
		case "!!int", "!!float":
			var v any
			if n.Decode(&v) == nil {
				return v, true
			}
		}
		return n.Value, true
	}
	return nil, true
}
