package migrate

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// A format is a kind of document of which entries are read. A new one is one line
// in [formatTable], and its reader.
type format struct {
	name Format
	// write says how an object of it is called, for an error that lists them.
	write string
	is    func(doc value) bool
	read  func(r *reader, in *Input, doc value, text []byte) []item
	// object says that a file may hold it beside others, as kubectl prints them.
	object bool
	// writer says who writes aws-auth by it and what becomes of others' entries.
	writer string
}

// The formats of other controllers' objects, beside those in read.go.
const (
	Authenticator   Format = "aws-iam-authenticator"          // the server's own config
	IdentityMapping Format = "IAMIdentityMapping"             // of aws-iam-authenticator
	CAPA            Format = "AWSManagedControlPlane"         // of Cluster API Provider AWS
	Kops            Format = "Cluster of kOps"                //
	SyncConfig      Format = "AwsAuthSyncConfig"              // of gp42/aws-auth-operator
	Mapping         Format = "AwsAuthMapping"                 // of TierMobility/aws-auth-operator
	MapEntry        Format = "MapRole or MapUser"             // of skpr/aws-auth-mapper
	SpecLists       Format = "object with mapRoles, mapUsers" // of maruina/aws-auth-manager and others
)

const stopIt = "stop it before an agent starts, or each undoes what the other writes; what it wrote stays"

// formatTable has them in the order in which they are tried.
func formatTable() []format {
	own := func(r *reader, in *Input, doc value, text []byte) []item {
		r.own(in, doc, text)
		return nil
	}
	plain := func(read func(*reader, value) []item) func(*reader, *Input, value, []byte) []item {
		return func(r *reader, _ *Input, doc value, _ []byte) []item { return read(r, doc) }
	}
	return []format{
		{name: Eksctl, is: isClusterConfig, read: plain((*reader).clusterConfig)},
		{
			name: Authenticator, write: "the config of aws-iam-authenticator's server", is: isAuthenticator, read: plain((*reader).authenticator), object: true,
			writer: "on EKS the authenticator's server reads aws-auth alone; where you run it yourself, it reads its own config as before",
		},
		{name: Own, is: isOwn, read: own},
		{
			name: IdentityMapping, write: "an IAMIdentityMapping of aws-iam-authenticator", is: kindIs("IAMIdentityMapping"), read: plain((*reader).identityMapping), object: true,
			writer: "a controller that copies these objects into aws-auth takes away every entry that it does not know: " + stopIt,
		},
		{
			name: CAPA, write: "an AWSManagedControlPlane of Cluster API with iamAuthenticatorConfig", is: kindIs("AWSManagedControlPlane", "AWSManagedControlPlaneTemplate"), read: plain((*reader).capa), object: true,
			writer: "Cluster API adds these entries, and the roles of its machine pools, at each reconcile: take iamAuthenticatorConfig out once an agent writes them; the roles of nodes come from their reports",
		},
		{
			name: Kops, write: "a Cluster of kOps with identityMappings", is: isKops, read: plain((*reader).kops), object: true,
			writer: "kOps writes them as IAMIdentityMapping objects, and no aws-auth",
		},
		{
			name: SyncConfig, write: "an AwsAuthSyncConfig", is: kindIs("AwsAuthSyncConfig"), read: plain((*reader).syncConfig), object: true,
			writer: "aws-auth-operator writes mapUsers too: " + stopIt,
		},
		{
			name: Mapping, write: "an AwsAuthMapping", is: kindIs("AwsAuthMapping"), read: plain((*reader).arnMappings), object: true,
			writer: "aws-auth-operator writes aws-auth too: " + stopIt,
		},
		{
			name: MapEntry, write: "a MapRole or MapUser", is: kindIs("MapRole", "MapUser"), read: plain((*reader).mapEntry), object: true,
			writer: "aws-auth-mapper makes aws-auth anew of its objects: " + stopIt,
		},
		{name: AWSAuth, is: isAWSAuthText, read: plain((*reader).awsAuth)},
		{
			name: SpecLists, write: "an AWSAuthItem, AwsAuthMapSnippet, AWSIamConfig or another object with mapRoles or mapUsers in its spec", is: hasSpecLists, read: plain((*reader).specLists), object: true,
			writer: "its controller makes aws-auth anew of its objects and takes away what it does not know: " + stopIt,
		},
	}
}

// formatOf is the format of a document; nil where it is not known.
func formatOf(doc value) *format {
	table := formatTable()
	if i := slices.IndexFunc(table, func(f format) bool { return f.is(doc) }); i >= 0 {
		return &table[i]
	}
	return nil
}

// ownFormats are those that a file is written in for rolecall.
const ownFormats = "write a config of rolecall (apiVersion: rolecall.dev/v1), a ClusterConfig of eksctl with iamIdentityMappings, the ConfigMap aws-auth, or its mapRoles, mapUsers and mapAccounts"

// formats says what can be read.
func formats() string {
	var objects []string
	for _, f := range formatTable() {
		if f.object {
			objects = append(objects, f.write)
		}
	}
	last := len(objects) - 1
	return ownFormats + "; or " + strings.Join(objects[:last], ", ") + ", or " + objects[last]
}

// unknown says of a document that its format is not known.
func (r *reader) unknown(doc value, formats string) {
	if kind := doc.field("kind"); kind.is() {
		r.problem(doc, "the format is not known: %s. The document is a %s", formats, quote(kind.scalar()))
		return
	}
	r.problem(doc, "the format is not known: %s", formats)
}

func kindIs(kinds ...string) func(value) bool {
	return func(doc value) bool {
		return doc.field("apiVersion").is() && slices.Contains(kinds, doc.field("kind").scalar())
	}
}

// object reads a document of another controller's, if it is one, and tells of that
// controller once.
func (d *draft) object(doc value) bool {
	f := formatOf(doc)
	if f == nil || !f.object {
		return false
	}
	name := doc.field("kind").scalar()
	if f.name == Authenticator {
		name = string(f.name)
	}
	if !slices.Contains(d.objects, name) {
		d.objects = append(d.objects, name)
		d.note(doc, "%s: %s", describe(doc), f.writer)
	}
	d.perItem = true
	d.items = append(d.items, f.read(d.reader, &Input{}, doc, nil)...)
	d.perItem = false
	return true
}

// describe names a document by its kind and name.
func describe(doc value) string {
	kind, name := doc.field("kind").scalar(), doc.field("metadata").field("name").scalar()
	switch {
	case kind == "":
		return "the config of aws-iam-authenticator"
	case name == "":
		return kind
	}
	return kind + " " + quote(name)
}

// leave says that something can't be read: an import goes on without it, and
// elsewhere it is a problem.
func (r *reader) leave(v value, format string, args ...any) {
	if r.perItem {
		r.note(v, "left out: "+format, args...)
		return
	}
	r.problem(v, format, args...)
}

// inactive says that an object has no effect, and why.
func (r *reader) inactive(doc value) bool {
	why := ""
	switch suspended := doc.field("spec").field("suspend"); {
	case doc.field("metadata").field("deletionTimestamp").is():
		why = "it is being deleted"
	case suspended.is() && suspended.scalar() != "false":
		why = "spec.suspend is set, so its controller does not apply it: take that out if it is meant"
	default:
		return false
	}
	r.note(doc, "%s is left out: %s", describe(doc), why)
	return true
}

// one reads a mapping that is one entry, whose ARN stands under one of these keys.
func (r *reader) one(v value, kind awsauth.Kind, keys ...string) []item {
	if v.node == nil || v.node.Kind != yaml.MappingNode {
		r.leave(v, "it has no entry: write %s: %s", keys[0], example(awsauth.Role)[len("rolearn: "):])
		return nil
	}
	it := item{value: v, kind: kind, username: r.text(v.fold("username"), "admin"), groups: r.texts(v.fold("groups"), "viewers")}
	for _, k := range keys {
		it.arn = cmp.Or(it.arn, r.text(v.fold(k), exampleRole))
	}
	if it.arn == "" {
		r.leave(v, "it has no ARN: write %s: %s", keys[0], exampleRole)
		return nil
	}
	if it.kind == "" {
		it.kind = awsauth.Role
		if strings.Contains(it.arn, ":user/") {
			it.kind = awsauth.User
		}
	}
	return []item{it}
}

// identityMapping reads an object of aws-iam-authenticator's
// (v0.7.18 pkg/mapper/crd/apis/iamauthenticator/v1alpha1/types.go).
func (r *reader) identityMapping(doc value) []item {
	if r.inactive(doc) {
		return nil
	}
	return r.one(r.spec(doc), "", "arn")
}

// spec is the spec of an object, or its place where there is none.
func (r *reader) spec(doc value) value {
	if spec := doc.field("spec"); spec.is() {
		return spec
	}
	return doc
}

// mapEntry reads an object of aws-auth-mapper's (skpr/aws-auth-mapper
// apis/iamauthenticator/v1beta1).
func (r *reader) mapEntry(doc value) []item {
	if r.inactive(doc) {
		return nil
	}
	if doc.field("kind").scalar() == "MapUser" {
		return r.one(r.spec(doc), awsauth.User, "userARN", "arn")
	}
	return r.one(r.spec(doc), awsauth.Role, "roleARN", "arn")
}

// arnMappings reads an object of aws-auth-operator's (TierMobility/aws-auth-operator
// crds.yaml).
func (r *reader) arnMappings(doc value) []item {
	if r.inactive(doc) {
		return nil
	}
	mappings := doc.field("spec").field("mappings")
	if !mappings.is() {
		r.leave(doc, "%s has no spec.mappings: write mappings: [{arn: %s, username: NAME, usertype: Role, groups: [viewers]}]", describe(doc), exampleRole)
		return nil
	}
	var out []item
	for _, m := range r.list(mappings, "- arn: "+exampleRole) {
		kind := awsauth.Kind("")
		switch t := m.fold("usertype"); strings.ToLower(t.scalar()) {
		case "":
		case "role":
			kind = awsauth.Role
		case "user":
			kind = awsauth.User
		default:
			r.leave(t, "%s is no type: write Role or User", quote(t.scalar()))
			continue
		}
		out = append(out, r.one(m, kind, "arn", "rolearn", "userarn")...)
	}
	return out
}

// syncConfig reads the IAM groups whose users are mapped (gp42/aws-auth-operator
// api/v1alpha1).
func (r *reader) syncConfig(doc value) []item {
	if r.inactive(doc) {
		return nil
	}
	groups := doc.field("spec").field("syncIamGroups")
	if !groups.is() {
		r.leave(doc, "%s has no spec.syncIamGroups: write syncIamGroups: [{source: Admins, dest: admins}]", describe(doc))
		return nil
	}
	for _, g := range r.list(groups, "- {source: Admins, dest: admins}") {
		source, dest := r.text(g.field("source"), "Admins"), r.text(g.field("dest"), "admins")
		if source == "" || dest == "" {
			r.leave(g, "the group has no source or no dest: write source: IAM_GROUP and dest: KUBERNETES_GROUP")
			continue
		}
		if i := slices.IndexFunc(r.groups, func(have group) bool { return have.name == source }); i >= 0 {
			if !slices.Contains(r.groups[i].groups, dest) {
				r.groups[i].groups = append(r.groups[i].groups, dest)
			}
			continue
		}
		r.groups = append(r.groups, group{value: g, name: source, groups: []string{dest}})
	}
	return nil
}

// capa reads the control plane of Cluster API Provider AWS, or its template
// (cluster-api-provider-aws controlplane/eks/api/v1beta2/types.go,
// IAMAuthenticatorConfig).
func (r *reader) capa(doc value) []item {
	if r.inactive(doc) {
		return nil
	}
	spec := doc.field("spec")
	if template := spec.field("template"); template.is() {
		spec = template.field("spec")
	}
	if entries := spec.field("accessConfig"); entries.is() {
		r.note(entries, "access entries are no part of aws-auth: they stay with Cluster API. Where an IAM principal has both, EKS takes the access entry")
	}
	mapped := spec.field("iamAuthenticatorConfig")
	if !mapped.is() {
		r.leave(doc, "%s has no spec.iamAuthenticatorConfig: what Cluster API maps without it, such as the roles of nodes, stands in aws-auth alone, so give that: kubectl -n kube-system get configmap aws-auth -o yaml", describe(doc))
		return nil
	}
	return r.bareKeys(mapped)
}

func isKops(doc value) bool {
	return doc.field("kind").scalar() == "Cluster" && strings.HasPrefix(doc.field("apiVersion").scalar(), "kops.k8s.io/")
}

// kops reads the identityMappings of kOps' Cluster
// (kops pkg/apis/kops/v1alpha2/cluster.go, AWSAuthenticationSpec).
func (r *reader) kops(doc value) []item {
	mappings := doc.field("spec").field("authentication").field("aws").field("identityMappings")
	if !mappings.is() {
		r.leave(doc, "%s has no spec.authentication.aws.identityMappings, so it maps nobody", describe(doc))
		return nil
	}
	var out []item
	for _, m := range r.list(mappings, "- arn: "+exampleRole) {
		out = append(out, r.one(m, "", "arn")...)
	}
	return out
}

func hasSpecLists(doc value) bool {
	return doc.field("apiVersion").is() && slices.ContainsFunc(doc.field("spec").fields(), func(f field) bool {
		_, ok := kindOf(f.name)
		return ok
	})
}

// specLists reads an object whose spec has aws-auth's lists, such as AWSAuthItem
// (maruina/aws-auth-manager api/v1alpha1), AwsAuthMapSnippet (crd.awsauth.io) and
// AWSIamConfig (EKS Anywhere).
func (r *reader) specLists(doc value) []item {
	if r.inactive(doc) {
		return nil
	}
	return r.bareKeys(doc.field("spec"))
}

// isAuthenticator reports whether a document is the config of the authenticator's
// server, or the ConfigMap that holds it.
func isAuthenticator(doc value) bool {
	return authenticatorConfig(doc).is()
}

// authenticatorConfig is the root of the authenticator's config, of which clusterID
// or server with one of aws-auth's lists tells (aws-iam-authenticator v0.7.18
// cmd/aws-iam-authenticator/root.go).
func authenticatorConfig(doc value) value {
	root := doc
	if doc.field("kind").scalar() == "ConfigMap" {
		main := doc.field("data").field("config.yaml")
		docs := new(reader).documents([]byte(main.scalar())) // its error is its reader's to tell
		if len(docs) == 0 {
			return value{}
		}
		root = docs[0]
		root.file = doc.file
		if inner, ok := main.inner(); ok {
			root.shift = inner
		} else {
			root.line = main.at()
		}
	}
	server := root.field("server")
	lists := slices.ContainsFunc(server.fields(), func(f field) bool { _, ok := kindOf(f.name); return ok })
	if !root.field("kind").is() && (lists || root.field("clusterID").is()) {
		return root
	}
	return value{}
}

// authenticator reads the config of the authenticator's server. Its role mappings
// can name a permission set in place of an ARN (v0.7.18 pkg/config/types.go,
// RoleMapping.SSO).
func (r *reader) authenticator(doc value) []item {
	root := authenticatorConfig(doc)
	server := root.field("server")
	if !slices.ContainsFunc(server.fields(), func(f field) bool { _, ok := kindOf(f.name); return ok && f.is() }) {
		r.leave(root, "its server has no mapRoles, mapUsers or mapAccounts, so it maps nobody by itself")
		return nil
	}
	r.sso = true
	defer func() { r.sso = false }()
	return r.bareKeys(server)
}
