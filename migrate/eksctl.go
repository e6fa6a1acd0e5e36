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
