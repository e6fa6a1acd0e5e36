package migrate

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
)

// emrRole is the name of the service-linked role to which eksctl maps the
// service emr-containers (eksctl pkg/authconfigmap/service_access.go:33).
const (
	emrService = "emr-containers"
	emrRole    = "AWSServiceRoleForAmazonEMRContainers"
)

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
			name := r.text(service, emrService)
			if arn.is() {
				r.problem(service, "a service is mapped without an arn: write an entry of its own for the role")
				continue
			}
			if name == "" {
				continue
			}
			if name != emrService {
				r.problem(service, "eksctl knows no service %s: write %s, or the arn of the service's role", quote(name), emrService)
				continue
			}
			// The role and the username that eksctl maps; the RBAC it makes is
			// no part of aws-auth.
			it.kind, it.arn, it.username = awsauth.Role, "arn:$PARTITION:iam::$ACCOUNTID:role/"+emrRole, emrService
			namespace := r.text(m.field("namespace"), "emr")
			r.note(service, "eksctl also makes a Role and a RoleBinding for the user %s in namespace %s, which rolecall does not: those that are there stay; in a new cluster make them as https://docs.aws.amazon.com/emr/latest/EMR-on-EKS-DevelopmentGuide/setting-up-cluster-access.html says", emrService, quote(namespace))
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
		case formatOf(doc) == AWSAuth:
			d.items = append(d.items, d.awsAuth(doc)...)
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
