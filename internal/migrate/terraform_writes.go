package migrate

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// What writes aws-auth by an apply, and where that is switched off. rolecall and an
// apply would undo each other's writes, so an import tells of each.

// switches are the settings by which modules write aws-auth, or do not.
var switches = []string{"manage_aws_auth_configmap", "create_aws_auth_configmap", "manage_aws_auth", "apply_config_map_aws_auth"}

// A moduleWriter is a module that writes aws-auth unless one of its settings is false.
type moduleWriter struct {
	is       *regexp.Regexp // its source, in the registry or a repository
	most     int            // the last major version that does; 0: all
	settings []string       // any of them, false, switches it off
	// old are inputs that only such a version has, where none is named.
	old []string
}

// moduleWriters are the modules of which that is known: terraform-aws-eks up to
// v17 (v17.24.0 variables.tf, manage_aws_auth) and its module aws-auth of v20
// (v20.37.2 modules/aws-auth/variables.tf), cloudposse's up to v3 (3.0.0
// variables-deprecated.tf), eks-blueprints up to v4 (v4.32.1 aws-auth-configmap.tf),
// and modules that are named after it.
func moduleWriters() []moduleWriter {
	old := []string{"map_roles", "map_users", "map_accounts"}
	return []moduleWriter{
		{is: regexp.MustCompile(`terraform-aws-modules/(eks/aws|terraform-aws-eks)(\.git)?//modules/aws-auth/?$`), settings: []string{"manage_aws_auth_configmap", "create"}},
		{is: regexp.MustCompile(`terraform-aws-modules/(eks/aws|terraform-aws-eks)(\.git)?/?$`), most: 17, settings: []string{"manage_aws_auth", "create_eks"}, old: old},
		{is: regexp.MustCompile(`cloudposse/(eks-cluster/aws|terraform-aws-eks-cluster)(\.git)?/?$`), most: 3, settings: []string{"apply_config_map_aws_auth", "enabled"}, old: []string{"map_additional_iam_roles", "map_additional_iam_users", "map_additional_aws_accounts"}},
		{is: regexp.MustCompile(`aws-ia/terraform-aws-eks-blueprints(\.git)?/?$`), most: 4, settings: []string{"create_eks"}, old: old},
		{is: regexp.MustCompile(`(^|[/_.-])(aws-auth|eks-auth|aws_auth)($|[/_.-])`)},
	}
}

// A moduleCall is what is known of a module that is used.
type moduleCall struct {
	source, version string // literal; else empty
	has             func(setting string) bool
	off             func(setting string) bool // it is the literal false
}

// moduleWrites tells of a module that writes aws-auth by default. Where a setting
// says so, that is told in its own place.
func (t *terraform) moduleWrites(v value, m moduleCall) {
	source, query, _ := strings.Cut(m.source, "?")
	version := m.version
	if _, ref, ok := strings.Cut(query, "ref="); ok && version == "" {
		version, _, _ = strings.Cut(ref, "&")
	}
	writers := moduleWriters()
	i := slices.IndexFunc(writers, func(w moduleWriter) bool { return w.is.MatchString(source) })
	if i < 0 {
		return // nothing is known
	}
	w := &writers[i]
	if slices.ContainsFunc(w.settings, func(s string) bool { return slices.Contains(switches, s) && m.has(s) }) {
		return // what it is set to is told in its own place
	}
	newest, bounded := newestMajor(version)
	switch {
	case slices.ContainsFunc(w.settings, m.off):
		return
	case w.most == 0:
	case bounded && newest > w.most:
		return
	case !bounded && !slices.ContainsFunc(w.old, m.has):
		return // a newer version, which does not
	}
	t.found = true
	off := "remove the module"
	if len(w.settings) > 0 {
		off = "set " + w.settings[0] + " to false"
	}
	t.note(v, "the module %s writes aws-auth by default: each apply overwrites it. Take the resource out of the state (terraform state rm), then %s; docs/from-terraform.md says in which order", quote(m.source), off)
}

var constraint = regexp.MustCompile(`(~>|>=|<=|!=|=|>|<)?\s*v?(\d+)(?:\.(\d+))?(?:\.(\d+))?`)

// newestMajor is the highest major version that a constraint lets in, and whether it
// has an upper bound.
func newestMajor(text string) (major int, bounded bool) {
	for part := range strings.SplitSeq(text, ",") {
		m := constraint.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		switch m[1] {
		case ">=", ">", "!=":
			continue
		case "~>":
			if m[3] == "" {
				continue // ~> 17 lets in every later major version
			}
		case "<":
			if strings.Trim(m[3]+m[4], "0") == "" {
				n--
			}
		}
		if !bounded || n < major {
			major, bounded = n, true
		}
	}
	return major, bounded
}

// hclModule reads a module block's source, version and switches.
func (t *terraform) hclModule(b *hclsyntax.Block, key string) {
	attrs := b.Body.Attributes
	text := func(name string) string {
		if a := attrs[name]; a != nil {
			if v, ok := literalOf(a.Expr); ok && v.Type() == cty.String {
				return v.AsString()
			}
		}
		return ""
	}
	t.moduleWrites(value{node: &yaml.Node{}, line: b.TypeRange.Start.Line, key: key}, moduleCall{
		source: text("source"), version: text("version"),
		has: func(name string) bool { return attrs[name] != nil },
		off: func(name string) bool { return attrs[name] != nil && isFalse(attrs[name].Expr) },
	})
}

// jsonModules does so for .tf.json.
func (t *terraform) jsonModules(v value) {
	for _, module := range v.fields() {
		for _, body := range append(module.items(), module.value) {
			if !body.field("source").is() {
				continue
			}
			t.moduleWrites(body, moduleCall{
				source: body.field("source").scalar(), version: body.field("version").scalar(),
				has: func(name string) bool { return body.field(name).is() },
				off: func(name string) bool { return body.field(name).scalar() == "false" },
			})
		}
	}
}

func literalOf(e hclsyntax.Expression) (cty.Value, bool) {
	v, diags := e.Value(nil)
	return v, !diags.HasErrors() && v.IsWhollyKnown() && !v.IsNull()
}

func isFalse(e hclsyntax.Expression) bool {
	v, ok := literalOf(e)
	return ok && v.Type() == cty.Bool && v.False() || ok && v.Type() == cty.String && v.AsString() == "false"
}

// overwrites tells of a resource that writes aws-auth; its address is the key.
func (t *terraform) overwrites(v value, address string) {
	t.found = true
	t.note(v, "each apply overwrites aws-auth with what this resource holds: take it out of the state (terraform state rm %s), then out of the code; docs/from-terraform.md says in which order", shell(address))
}

// manifestTypes are the types of resource that hold any object.
var manifestTypes = []string{"kubernetes_manifest", "kubectl_manifest", "k8s_manifest"}

// manifestOf is the object that a resource holds, as an object or as a text.
func manifestOf(values value) (value, bool) {
	for _, name := range []string{"manifest", "yaml_body", "content", "object"} {
		v := values.field(name)
		if of := v.field("value"); of.is() && v.field("type").is() {
			v = of // a state file has the type of any object beside it
		}
		if v.is() && v.node.Kind == yaml.ScalarNode {
			docs := new(reader).documents([]byte(v.node.Value))
			if len(docs) != 1 {
				continue
			}
			docs[0].line, docs[0].key = v.at(), v.key
			v = docs[0]
		}
		if v.field("kind").scalar() == "ConfigMap" && v.field("metadata").field("name").scalar() == awsauth.Name {
			return v, true
		}
	}
	return value{}, false
}

// shown reads a resource of "terraform show -json" that writes aws-auth.
func (t *terraform) shown(r value) {
	if r.field("mode").scalar() == "data" {
		return // it reads
	}
	t.holds(r.field("type").scalar(), r.field("address").scalar(), r.field("values"))
}

// state reads a state file (terraform internal/states/statefile/version4.go).
func (t *terraform) state(root value) {
	for _, r := range root.field("resources").items() {
		if r.field("mode").scalar() == "data" {
			continue
		}
		kind := r.field("type").scalar()
		address := kind + "." + r.field("name").scalar()
		if module := r.field("module").scalar(); module != "" {
			address = module + "." + address
		}
		for _, instance := range r.field("instances").items() {
			at := address
			switch key := instance.field("index_key"); {
			case instance.field("deposed").is():
				continue
			case key.is() && key.node.ShortTag() == "!!str":
				at += "[" + hclQuoted(key.scalar()) + "]"
			case key.is():
				at += "[" + key.scalar() + "]"
			}
			t.holds(kind, at, instance.field("attributes"))
		}
	}
}

// holds reads what a resource holds, if it writes aws-auth.
func (t *terraform) holds(kind, address string, values value) {
	values.key = address
	switch {
	case slices.Contains(configMaps, kind) && isAWSAuth(values):
		t.overwrites(values, address)
		if data := values.field("data"); data.is() {
			t.items = append(t.items, t.bareKeys(data)...)
		}
	case slices.Contains(manifestTypes, kind):
		if doc, ok := manifestOf(values); ok {
			t.overwrites(values, address)
			doc.key = address
			t.items = append(t.items, t.configMap(doc)...)
		}
	}
}

// deletions tells of what a plan is about to take away.
func (t *terraform) deletions(root value) {
	for _, c := range root.field("resource_changes").items() {
		change := c.field("change")
		deletes, creates := false, false
		for _, action := range change.field("actions").items() {
			deletes = deletes || action.scalar() == "delete"
			creates = creates || action.scalar() == "create"
		}
		_, manifest := manifestOf(change.field("before"))
		ours := slices.Contains(configMaps, c.field("type").scalar()) && isAWSAuth(change.field("before")) || slices.Contains(manifestTypes, c.field("type").scalar()) && manifest
		if !deletes || creates || !ours {
			continue
		}
		t.found = true
		address := c.field("address").scalar()
		c.key = address
		t.note(c, "this plan deletes what %s holds, and everybody in it is locked out, nodes too: don't apply it. Take the resource out of the state first (terraform state rm %s)", address, shell(address))
	}
}
