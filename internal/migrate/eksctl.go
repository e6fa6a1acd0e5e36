package migrate

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/serviceaccess"
)

// A grant lets a service into a namespace; value is where that stands.
type grant struct {
	value
	serviceaccess.Grant
}

// isClusterConfig reports whether a document is eksctl's.
func isClusterConfig(v value) bool {
	return strings.HasPrefix(v.field("apiVersion").scalar(), "eksctl.io/") || v.field("iamIdentityMappings").is()
}

// clusterConfig reads the iamIdentityMappings of eksctl's ClusterConfig
// (eksctl pkg/apis/eksctl.io/v1alpha5/identitymapping.go:9).
func (r *reader) clusterConfig(v value) []item {
	mappings := v.field("iamIdentityMappings")
	if !mappings.is() {
		r.problem(v, "the ClusterConfig has no iamIdentityMappings: what eksctl has written without them stands in aws-auth alone, so give that: kubectl -n kube-system get configmap aws-auth -o yaml")
		return nil
	}
	var out []item
	for _, m := range r.list(mappings, "- arn: "+exampleRole) {
		if m.node.Kind != yaml.MappingNode {
			r.problem(m, "found %s where a mapping belongs: write arn: %s", found(m), exampleRole)
			continue
		}
		it := item{value: m, username: r.text(m.field("username"), "admin"), groups: r.texts(m.field("groups"), "viewers")}
		arn, account, service := m.field("arn"), m.field("account"), m.field("serviceName")
		it.unique = r.boolean(m.field("noDuplicateARNs"))
		for _, f := range m.fields() {
			switch f.name {
			case "arn", "username", "groups", "account", "serviceName", "namespace", "noDuplicateARNs":
			default:
				r.problem(f.value, "eksctl does not know the key: write arn, username, groups, account, serviceName, namespace or noDuplicateARNs")
			}
		}
		switch {
		case account.is():
			if arn.is() || service.is() || it.username != "" || len(it.groups) > 0 {
				r.problem(account, "an account is mapped without anything else: write an entry of its own for the account")
				continue
			}
			it.kind, it.arn = awsauth.Account, r.text(account, `"111122223333"`)
			if it.arn == "" {
				continue
			}
		case service.is():
			if arn.is() {
				r.problem(service, "a service is mapped without an arn: write an entry of its own for the role")
				continue
			}
			g, ok := r.grant(m)
			if !ok {
				continue
			}
			if it.username != "" || len(it.groups) > 0 {
				r.note(service, "left out: eksctl takes neither a username nor groups for a service")
			}
			// The role and the username that eksctl maps. A service of several
			// namespaces has one entry.
			e := g.Entry()
			if i := slices.IndexFunc(out, func(other item) bool { return len(other.grants) > 0 && other.arn == e.ARN }); i >= 0 {
				out[i].grants = append(out[i].grants, g)
				continue
			}
			it.kind, it.arn, it.username, it.groups, it.grants = e.Kind, e.ARN, e.Username, nil, []grant{g}
		case m.field("namespace").is():
			r.problem(m.field("namespace"), "a namespace is a service's: write serviceName: %s beside it", serviceaccess.EMRContainers)
			continue
		default:
			it.arn = r.text(arn, exampleRole)
			if it.arn == "" {
				if !arn.is() {
					r.problem(m, "the entry maps nothing: write arn: %s, or account: \"111122223333\"", exampleRole)
				}
				continue
			}
			it.kind = awsauth.Role
			if strings.Contains(it.arn, ":user/") {
				it.kind = awsauth.User
			}
		}
		out = append(out, it)
	}
	return out
}

// grant reads a mapping that lets a service into a namespace.
func (r *reader) grant(m value) (grant, bool) {
	service, namespace := m.field("serviceName"), m.field("namespace")
	g := grant{service, serviceaccess.Grant{Service: r.text(service, serviceaccess.EMRContainers)}}
	if !namespace.is() {
		r.problem(service, "the service has no namespace: write namespace: emr, where it is to run")
		return g, false
	}
	g.Namespace = r.text(namespace, "emr")
	if g.Service == "" || g.Namespace == "" {
		return g, false
	}
	before := len(r.problems)
	if err := serviceaccess.CheckService(g.Service); err != nil {
		r.problem(service, "%v", err)
	}
	if err := serviceaccess.CheckNamespace(g.Namespace); err != nil {
		r.problem(namespace, "%v", err)
	}
	return g, len(r.problems) == before
}

// FromEksctl makes a config of eksctl's ClusterConfig, or of what "eksctl get
// iamidentitymapping -o yaml" prints. The error is a *[config.Error].
func FromEksctl(file string, data []byte) (*Result, error) {
	d := newDraft("eksctl", file)
	docs := flatten(d.documents(data))
	if len(docs) == 0 && len(d.problems) == 0 {
		d.failAt(1, "the file is empty: give a ClusterConfig with iamIdentityMappings")
	}
	read := false
	for _, doc := range docs {
		switch {
		case isClusterConfig(doc):
			d.items = append(d.items, d.clusterConfig(doc)...)
			d.clusterNotes(doc)
		case isAWSAuthText(doc):
			d.items = append(d.items, d.awsAuth(doc)...)
		case d.object(doc):
		case len(docs) > 1:
			d.note(doc, "the document is not read: it is no ClusterConfig")
			continue
		default:
			d.problem(doc, "the file is no ClusterConfig: give eksctl's config file (apiVersion: eksctl.io/v1alpha5), or what \"eksctl get iamidentitymapping -o yaml\" prints")
		}
		read = true
	}
	if !read && len(docs) > 0 && len(d.problems) == 0 {
		d.failAt(1, "no document is a ClusterConfig: give eksctl's config file (apiVersion: eksctl.io/v1alpha5)")
	}
	for _, it := range d.items {
		if it.unique {
			d.note(it.value, "noDuplicateARNs needs no equivalent: rolecall never writes a second entry of an ARN")
		}
		for _, g := range it.grants {
			d.note(g.value, "eksctl also makes a Role and a RoleBinding %s in namespace %s, which no config asks for: those that are there stay; in a new cluster make them by: rolecall upsert --service-name %s --service-namespace %s", g.Service, quote(g.Namespace), g.Service, g.Namespace)
		}
	}
	return d.result()
}

// clusterNotes tells of the parts of a ClusterConfig by which eksctl writes
// aws-auth too.
func (d *draft) clusterNotes(doc value) {
	for _, name := range []string{"nodeGroups", "managedNodeGroups"} {
		for _, ng := range doc.field(name).items() {
			arn := ng.field("iam").field("instanceRoleARN")
			if !arn.is() {
				d.note(ng, "eksctl and EKS map the role of the node group %s by themselves: its nodes report it to rolecall once they have joined; for a role that is to be mapped before, write nodeRoles.extra", quote(ng.field("name").scalar()))
				continue
			}
			it := item{value: arn, kind: awsauth.Role, arn: d.text(arn, exampleRole), username: nodeUsername, groups: nodeGroups()}
			if strings.HasPrefix(ng.field("amiFamily").scalar(), "Windows") {
				it.groups = append(it.groups, windowsGroup)
			}
			d.items = append(d.items, it)
		}
	}
	if entries := doc.field("accessConfig").field("accessEntries"); entries.is() {
		d.note(entries, "access entries are no part of aws-auth: they stay with eksctl. Where an IAM principal has both, EKS takes the access entry")
	}
	for _, profile := range doc.field("fargateProfiles").items() {
		d.note(profile, "the pod execution role of the Fargate profile %s is mapped by EKS itself, and rolecall leaves EKS's entry as it is", quote(profile.field("name").scalar()))
	}
}
