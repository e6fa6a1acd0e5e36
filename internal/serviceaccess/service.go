package serviceaccess

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rolecall/rolecall/awsauth"
)

// EMRContainers is Amazon EMR on EKS, the one service that eksctl knows
// (eksctl pkg/authconfigmap/service_access.go:19).
const EMRContainers = "emr-containers"

// Services are the names of the services that are known, sorted.
func Services() []string { return []string{EMRContainers} }

// CheckService returns an error that says what to write in place of a service
// that is not known, or nil.
func CheckService(name string) error {
	if !slices.Contains(Services(), name) {
		return fmt.Errorf("%q is no service that is known: write %s, or map the service's role by its ARN", name, strings.Join(Services(), " or "))
	}
	return nil
}

// CheckNamespace returns an error that says what is wrong with the name of a
// namespace, or nil. It does not know whether there is one.
func CheckNamespace(name string) error {
	if errs := validation.IsDNS1123Label(name); len(errs) > 0 {
		return fmt.Errorf("%q is no name of a namespace: write at most 63 of a-z, 0-9 and -, a letter or digit first and last", name)
	}
	return nil
}

// A Grant lets a service into a namespace.
type Grant struct {
	Service   string // one of [Services]
	Namespace string
}

// RoleName is the name of the service's service-linked role in IAM
// (https://docs.aws.amazon.com/emr/latest/EMR-on-EKS-DevelopmentGuide/using-service-linked-roles.html).
func (g Grant) RoleName() string { return "AWSServiceRoleForAmazonEMRContainers" }

// Entry is the service's entry in aws-auth. $PARTITION and $ACCOUNTID stand for
// the cluster's.
func (g Grant) Entry() awsauth.Entry {
	return awsauth.Entry{Kind: awsauth.Role, ARN: "arn:$PARTITION:iam::$ACCOUNTID:role/" + g.RoleName(), Username: g.Service}
}

// Role is the Role that the service needs, as AWS and eksctl have it
// (https://docs.aws.amazon.com/emr/latest/EMR-on-EKS-DevelopmentGuide/setting-up-cluster-access.html,
// eksctl pkg/authconfigmap/assets/emr-containers-rbac.yaml). Some of its verbs
// are none that an API server knows; they do no harm, and a Role without them
// would not be theirs.
func (g Grant) Role() *rbacv1.Role {
	edit := []string{"get", "list", "watch", "describe", "create", "edit", "delete", "annotate", "patch", "label"}
	all := append(slices.Clone(edit), "deletecollection")
	rule := func(group, resources string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: strings.Split(group, " "), Resources: strings.Fields(resources), Verbs: verbs}
	}
	return &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: g.Service},
		Rules: []rbacv1.PolicyRule{
			rule("", "namespaces", "get"),
			rule("", "serviceaccounts services configmaps events pods pods/log", all...),
			rule("", "secrets", "create", "patch", "delete", "watch"),
			rule("apps", "statefulsets deployments", edit...),
			rule("batch", "jobs", edit...),
			rule("extensions networking.k8s.io", "ingresses", edit...),
			rule(rbacv1.GroupName, "roles rolebindings", all...),
			rule("", "persistentvolumeclaims", "create", "list", "delete", "deletecollection"),
			rule("scheduling.volcano.sh", "podgroups", "get", "list", "watch", "create", "delete", "update"),
		},
	}
}

// RoleBinding binds that Role to the username of the entry.
func (g Grant) RoleBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: g.Namespace, Name: g.Service},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: g.Service},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: g.Service}},
	}
}
