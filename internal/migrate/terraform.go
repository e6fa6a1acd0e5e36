package migrate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// FromTerraform makes a config of what terraform-aws-eks or a kubernetes_config_map
// writes into aws-auth: of HCL or its JSON form (.tf, .tfvars, .tf.json,
// .tfvars.json), in which only literal values are read, or of "terraform show
// -json", in which all values are. The error is a *[config.Error].
func FromTerraform(file string, data []byte) (*Result, error) {
	d := newDraft("Terraform", file)
	t := &terraform{draft: d}
	switch trimmed := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))); {
	case len(data) > maxSize:
		d.failAt(1, "the file has %d bytes: give one of at most %d MiB", len(data), maxSize>>20)
	case len(trimmed) == 0:
		d.failAt(1, "the file is empty: %s", terraformFormats)
	case t.manifests(data):
	case trimmed[0] == '{':
		t.json(data)
	default:
		t.hcl(data)
	}
	if !t.found && len(d.problems) == 0 {
		d.failAt(1, "nothing in it writes aws-auth: %s", terraformFormats)
	}
	return d.result()
}

// manifests reads a file that holds Kubernetes' objects and no Terraform: those of
// other controllers, which are known, are imported.
func (t *terraform) manifests(data []byte) bool {
	r := new(reader)
	docs := flatten(r.documents(data))
	object := func(doc value) bool {
		return doc.field("kind").is() && doc.field("apiVersion").is() || isAuthenticator(doc)
	}
	if len(r.problems) > 0 || !slices.ContainsFunc(docs, object) {
		return false
	}
	for _, doc := range docs {
		switch {
		case t.object(doc):
			t.found = true
		case len(docs) > 1:
			t.note(doc, "the document is not read: it is no Terraform")
		default:
			t.problem(doc, "the text is no HCL, but YAML of a %s: %s; or see what it holds with: rolecall import FILE", quote(doc.field("kind").scalar()), terraformFormats)
		}
	}
	if !t.found {
		t.failAt(1, "the text is no HCL, but YAML: %s; or: rolecall import FILE", terraformFormats)
	}
	return true
}

const terraformFormats = "give a .tf or .tfvars file with aws_auth_roles, aws_auth_users or aws_auth_accounts of terraform-aws-eks, or the output of terraform show -json"

// terraform reads what writes aws-auth.
type terraform struct {
	*draft
	found       bool
	unevaluated int // expressions
}

// An input is a variable of terraform-aws-eks that ends up in aws-auth.
type input struct {
	kind awsauth.Kind
	node []string // groups, where it lists ARNs of node roles
	user string   // username, likewise
}

// inputs are those of all major versions: up to 17 in the module itself
// (map_*, v17.24.0 aws_auth.tf), from 18 to 19 as aws_auth_*, in 20 in the
// module aws-auth (v20.37.2 modules/aws-auth/main.tf). The ARNs of nodes are
// mapped as v19.21.0 main.tf does it.
var inputs = map[string]input{
	"aws_auth_roles":    {kind: awsauth.Role},
	"aws_auth_users":    {kind: awsauth.User},
	"aws_auth_accounts": {kind: awsauth.Account},
	"map_roles":         {kind: awsauth.Role},
	"map_users":         {kind: awsauth.User},
	"map_accounts":      {kind: awsauth.Account},

	// cloudposse's eks-cluster, up to v3.
	"map_additional_iam_roles":                         {kind: awsauth.Role},
	"map_additional_iam_users":                         {kind: awsauth.User},
	"map_additional_aws_accounts":                      {kind: awsauth.Account},
	"aws_auth_node_iam_role_arns_non_windows":          {kind: awsauth.Role, user: nodeUsername, node: nodeGroups()},
	"aws_auth_node_iam_role_arns_windows":              {kind: awsauth.Role, user: nodeUsername, node: append([]string{windowsGroup}, nodeGroups()...)},
	"aws_auth_fargate_profile_pod_execution_role_arns": {kind: awsauth.Role, user: "system:node:{{SessionName}}", node: append(nodeGroups(), "system:node-proxier")},
}

// input takes over the value of one of them, as a tree of YAML.
func (t *terraform) input(in input, v value) {
	t.found = true
	if in.node == nil {
		t.items = append(t.items, t.mappings(in.kind, v, encode(v.node))...)
		return
	}
	for _, arn := range t.list(v, exampleRole) {
		t.items = append(t.items, item{value: arn, kind: in.kind, arn: t.text(arn, exampleRole), username: in.user, groups: slices.Clone(in.node)})
	}
}

// other tells of settings by which Terraform writes aws-auth, or lets somebody
// in by another way.
func (t *terraform) other(name string, v value, off bool) {
	switch name {
	case "manage_aws_auth_configmap", "create_aws_auth_configmap", "manage_aws_auth", "apply_config_map_aws_auth":
		if off {
			return
		}
		t.found = true
		t.note(v, "as long as it is set, each apply overwrites aws-auth: take the resource out of the state (terraform state rm), then set it to false; docs/from-terraform.md says in which order")
	case "access_entries":
		t.note(v, "access entries are no part of aws-auth: they stay with Terraform. Where an IAM principal has both, EKS takes the access entry")
	}
}

// configMaps are the types of resource that can write aws-auth.
var configMaps = []string{"kubernetes_config_map", "kubernetes_config_map_v1", "kubernetes_config_map_v1_data"}

// json reads the JSON forms.
func (t *terraform) json(data []byte) {
	if !json.Valid(data) {
		t.failAt(1, "the file begins like JSON and is none: %s", terraformFormats)
		return
	}
	docs := t.documents(data)
	if len(docs) == 0 {
		return
	}
	root := docs[0]
	if values := root.field("planned_values"); root.field("format_version").is() && values.is() {
		t.module(values.field("root_module"))
		t.deletions(root)
		t.unknown(root)
		return
	}
	if root.field("format_version").is() {
		t.module(root.field("values").field("root_module"))
		return
	}
	if root.field("lineage").is() && root.field("resources").is() {
		t.state(root)
		return
	}
	t.walk(root)
}

// module reads the resources of "terraform show -json"
// (https://developer.hashicorp.com/terraform/internals/json-format).
func (t *terraform) module(m value) {
	for _, r := range m.field("resources").items() {
		t.shown(r)
	}
	for _, child := range m.field("child_modules").items() {
		t.module(child)
	}
}

// isAWSAuth reports whether a ConfigMap's metadata are those of aws-auth.
func isAWSAuth(v value) bool {
	metadata := v.field("metadata")
	for _, m := range append(metadata.items(), metadata) {
		if m.field("name").scalar() == awsauth.Name {
			return true
		}
	}
	return false
}

// unknown tells of what a plan does not know yet.
func (t *terraform) unknown(root value) {
	for _, c := range root.field("resource_changes").items() {
		change := c.field("change")
		data := change.field("after_unknown").field("data")
		if slices.Contains(configMaps, c.field("type").scalar()) && data.is() && data.scalar() != "false" && isAWSAuth(change.field("after")) {
			t.problem(c, "what %s will hold is not known before the apply: apply, then give terraform show -json of the state", c.field("address").scalar())
		}
	}
}

// walk looks for the inputs anywhere in .tf.json or .tfvars.json.
func (t *terraform) walk(v value) {
	for _, item := range v.items() {
		t.walk(item)
	}
	for _, f := range v.fields() {
		t.other(f.name, f.value, f.scalar() == "false")
		if f.name == "module" {
			t.jsonModules(f.value)
		}
		in, ok := inputs[f.name]
		switch {
		case ok && f.node.Kind == yaml.ScalarNode && strings.Contains(f.node.Value, "${"):
			t.found = true
			t.unread(f.value, f.node.Value)
		case ok && f.node.Kind == yaml.SequenceNode:
			list := &yaml.Node{Kind: yaml.SequenceNode, Line: f.node.Line}
			for _, item := range f.items() {
				if t.literal(item) {
					list.Content = append(list.Content, item.node)
				}
			}
			t.input(in, f.child(list, f.key))
		case ok && f.field("default").is(): // of a variable
			t.walk(value{node: &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.name}, f.field("default").node}}, key: f.key})
		case slices.Contains(configMaps, f.name):
			t.jsonResources(f.name, f.value)
		case slices.Contains(manifestTypes, f.name):
			t.jsonManifests(f.name, f.value)
		default:
			t.walk(f.value)
		}
	}
}

// jsonManifests are resources that hold any object.
func (t *terraform) jsonManifests(kind string, v value) {
	for _, resource := range v.fields() {
		for _, body := range append(resource.items(), resource.value) {
			if doc, ok := manifestOf(body); ok {
				t.overwrites(body, kind+"."+resource.name)
				for _, f := range doc.field("data").fields() {
					if kind, ok := kindOf(f.name); ok && t.literal(f.value) {
						t.items = append(t.items, t.mappings(kind, f.value, f.scalar())...)
					}
				}
			}
		}
	}
}

func (t *terraform) jsonResources(kind string, v value) {
	for _, resource := range v.fields() {
		for _, body := range append(resource.items(), resource.value) {
			if isAWSAuth(body) {
				t.overwrites(body, kind+"."+resource.name)
				for _, f := range body.field("data").fields() {
					if kind, ok := kindOf(f.name); ok && t.literal(f.value) {
						t.items = append(t.items, t.mappings(kind, f.value, f.scalar())...)
					}
				}
			}
		}
	}
}

// literal fills in what is known of the texts in a JSON value, and reports
// whether no expression is left.
func (t *terraform) literal(v value) bool {
	if v.node.Kind == yaml.ScalarNode {
		text := accountData.Replace(v.node.Value)
		if strings.Contains(text, "${") || strings.Contains(text, "%{") {
			t.unread(v, v.node.Value)
			return false
		}
		v.node.Value = text
		return true
	}
	all := true
	for _, item := range v.items() {
		all = t.literal(item) && all
	}
	for _, f := range v.fields() {
		all = t.literal(f.value) && all
	}
	return all
}

// accountData are the data sources of the account and partition, by the name
// that everybody gives them.
var accountData = strings.NewReplacer("${data.aws_caller_identity.current.account_id}", "$ACCOUNTID", "${data.aws_partition.current.partition}", "$PARTITION")

func (t *terraform) unread(v value, expression string) {
	t.unevaluated++
	t.note(v, "left out with all that needs it: the expression %s is not evaluated. Write its value, or give the output of terraform show -json, in which it is", quote(strings.Join(strings.Fields(expression), " ")))
}

// hcl reads Terraform's own language.
func (t *terraform) hcl(data []byte) {
	file, diags := hclsyntax.ParseConfig(data, t.file, hcl.InitialPos)
	for _, diag := range diags {
		if diag.Severity == hcl.DiagError && diag.Subject != nil {
			t.failAt(diag.Subject.Start.Line, "the text is no HCL (%s): %s", diag.Summary, terraformFormats)
		}
	}
	if diags.HasErrors() {
		return
	}
	if body, ok := file.Body.(*hclsyntax.Body); ok {
		t.body(&hclText{terraform: t, text: data}, body, "")
	}
}

// body reads the inputs in a body and the blocks in it, in the order of the
// file.
func (t *terraform) body(h *hclText, body *hclsyntax.Body, key string) {
	for _, a := range ordered(body.Attributes) {
		v := value{node: &yaml.Node{}, line: a.NameRange.Start.Line, key: join(key, a.Name)}
		t.other(a.Name, v, isFalse(a.Expr))
		if in, ok := inputs[a.Name]; ok {
			t.found = true
			if n := h.node(a.Expr, v.key); n != nil {
				t.input(in, value{node: n, key: v.key})
			}
		}
	}
	for _, b := range body.Blocks {
		name := strings.Join(append([]string{b.Type}, b.Labels...), ".")
		switch {
		case b.Type == "resource" && len(b.Labels) == 2 && slices.Contains(configMaps, b.Labels[0]):
			t.resource(h, b, name)
		case b.Type == "resource" && len(b.Labels) == 2 && slices.Contains(manifestTypes, b.Labels[0]):
			t.manifest(h, b, name)
		case b.Type == "variable" && len(b.Labels) == 1:
			if in, ok := inputs[b.Labels[0]]; ok && b.Body.Attributes["default"] != nil {
				t.found = true
				if n := h.node(b.Body.Attributes["default"].Expr, name); n != nil {
					t.input(in, value{node: n, key: name + ".default"})
				}
			}
		default:
			if b.Type == "module" {
				t.hclModule(b, name)
			}
			t.body(h, b.Body, name)
		}
	}
}

func ordered(attributes hclsyntax.Attributes) []*hclsyntax.Attribute {
	var out []*hclsyntax.Attribute
	for _, a := range attributes {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte })
	return out
}

// resource reads a ConfigMap aws-auth that is written out.
func (t *terraform) resource(h *hclText, block *hclsyntax.Block, key string) {
	named, body := false, block.Body
	for _, b := range body.Blocks {
		if a := b.Body.Attributes["name"]; b.Type == "metadata" && a != nil {
			n := h.node(a.Expr, key+".metadata.name")
			named = n != nil && n.Value == awsauth.Name
		}
	}
	a := body.Attributes["data"]
	if !named {
		return
	}
	t.overwrites(value{node: &yaml.Node{}, line: block.TypeRange.Start.Line, key: key}, strings.TrimPrefix(key, "resource."))
	if a == nil {
		return
	}
	object, ok := a.Expr.(*hclsyntax.ObjectConsExpr)
	if !ok {
		t.unread(value{line: a.SrcRange.Start.Line, key: key + ".data"}, h.source(a.Expr))
		return
	}
	for _, e := range object.Items {
		name, ok := h.keyOf(e.KeyExpr)
		kind, known := kindOf(name)
		if !ok || !known {
			continue
		}
		expr := e.ValueExpr
		if call, ok := expr.(*hclsyntax.FunctionCallExpr); ok && (call.Name == "yamlencode" || call.Name == "jsonencode") && len(call.Args) == 1 {
			expr = call.Args[0]
		}
		if n := h.node(expr, key+".data."+name); n != nil {
			v := value{node: n, key: key + ".data." + name}
			text := n.Value
			if n.Kind != yaml.ScalarNode {
				text = encode(n)
			} else {
				v.line = n.Line
			}
			t.items = append(t.items, t.mappings(kind, v, text)...)
		}
	}
}

// manifest tells of a resource that holds the object aws-auth. Its entries are in
// the output of terraform show -json.
func (t *terraform) manifest(h *hclText, block *hclsyntax.Block, key string) {
	for _, name := range []string{"manifest", "yaml_body", "content"} {
		a := block.Body.Attributes[name]
		if a == nil || !strings.Contains(h.source(a.Expr), awsauth.Name) {
			continue
		}
		at := value{node: &yaml.Node{}, line: block.TypeRange.Start.Line, key: key}
		t.overwrites(at, strings.TrimPrefix(key, "resource."))
		t.note(at, "left out: the object in %s is not evaluated: give the output of terraform show -json, in which its entries are", name)
		return
	}
}

// hclText evaluates the literal expressions of a file.
type hclText struct {
	*terraform
	text []byte
}

func (h *hclText) source(e hcl.Expression) string { return string(e.Range().SliceBytes(h.text)) }

func (h *hclText) keyOf(e hclsyntax.Expression) (string, bool) {
	v, diags := e.Value(nil)
	if diags.HasErrors() || !v.IsWhollyKnown() || v.IsNull() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

// node makes a tree of an expression's value. An element of a list that is not
// literal is left out with a note; what is not at all is nil.
func (h *hclText) node(e hclsyntax.Expression, key string) *yaml.Node {
	line := e.Range().Start.Line
	here := value{line: line, key: key}
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return h.node(e.Expression, key)
	case *hclsyntax.TupleConsExpr:
		list := &yaml.Node{Kind: yaml.SequenceNode, Line: line}
		for i, item := range e.Exprs {
			if n := h.node(item, fmt.Sprintf("%s[%d]", key, i)); n != nil {
				list.Content = append(list.Content, n)
			}
		}
		return list
	case *hclsyntax.ObjectConsExpr:
		object := &yaml.Node{Kind: yaml.MappingNode, Line: line}
		whole := true
		for _, item := range e.Items {
			name, ok := h.keyOf(item.KeyExpr)
			if !ok {
				h.unread(here, h.source(item.KeyExpr))
				return nil
			}
			before := h.unevaluated
			n := h.node(item.ValueExpr, join(key, name))
			// Groups of which one is not known are other groups.
			if n == nil || h.unevaluated > before {
				whole = false
				continue
			}
			object.Content = append(object.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Line: item.KeyExpr.Range().Start.Line}, n)
		}
		if !whole {
			return nil
		}
		return object
	}
	v, diags := e.Value(h.accountOf(e))
	if diags.HasErrors() || !v.IsWhollyKnown() || !v.IsNull() && !v.Type().IsPrimitiveType() {
		h.unread(here, h.source(e))
		return nil
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line}
	switch {
	case v.IsNull():
		n.Tag, n.Value = "!!null", "null"
	case v.Type() == cty.String:
		n.Tag, n.Value, n.Style = "!!str", v.AsString(), yaml.DoubleQuotedStyle
	case v.Type() == cty.Bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(v.True())
	default:
		n.Tag, n.Value = "!!int", v.AsBigFloat().Text('f', -1)
	}
	return n
}

// accountOf gives an expression the values of data.aws_caller_identity and
// data.aws_partition, which are the cluster's own as a rule. Nothing else is
// known.
func (h *hclText) accountOf(e hclsyntax.Expression) *hcl.EvalContext {
	accounts, partitions := map[string]cty.Value{}, map[string]cty.Value{}
	for _, traversal := range e.Variables() {
		if traversal.RootName() != "data" || len(traversal) != 4 {
			continue
		}
		var names []string
		for _, step := range traversal[1:] {
			if attr, ok := step.(hcl.TraverseAttr); ok {
				names = append(names, attr.Name)
			}
		}
		switch {
		case len(names) != 3:
		case names[0] == "aws_caller_identity" && names[2] == "account_id":
			accounts[names[1]] = cty.ObjectVal(map[string]cty.Value{"account_id": cty.StringVal("$ACCOUNTID")})
		case names[0] == "aws_partition" && names[2] == "partition":
			partitions[names[1]] = cty.ObjectVal(map[string]cty.Value{"partition": cty.StringVal("$PARTITION")})
		}
	}
	data := map[string]cty.Value{}
	for name, values := range map[string]map[string]cty.Value{"aws_caller_identity": accounts, "aws_partition": partitions} {
		if len(values) > 0 {
			data[name] = cty.ObjectVal(values)
		}
	}
	if len(data) == 0 {
		return nil
	}
	return &hcl.EvalContext{Variables: map[string]cty.Value{"data": cty.ObjectVal(data)}}
}
