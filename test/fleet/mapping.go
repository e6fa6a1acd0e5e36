package fleet

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// A Mapping is an element of aws-auth, read with nothing of rolecall's own. Of
// mapAccounts it has the ARN alone, which is the account's id.
type Mapping struct {
	ARN      string
	Username string
	Groups   []string // sorted
	SyncedBy string   // the mark of the tool that wrote it, if it has one
}

// Mappings reads an aws-auth: roles, users and accounts, sorted by ARN. Several
// elements of one ARN are all returned.
func Mappings(cm *corev1.ConfigMap) ([]Mapping, error) {
	var all []Mapping
	for _, key := range []string{"mapRoles", "mapUsers"} {
		var list []struct {
			RoleARN  string   `json:"rolearn"`
			UserARN  string   `json:"userarn"`
			Username string   `json:"username"`
			Groups   []string `json:"groups"`
			SyncedBy string   `json:"syncedBy"`
		}
		if err := yaml.Unmarshal([]byte(cm.Data[key]), &list); err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		for _, e := range list {
			slices.Sort(e.Groups)
			all = append(all, Mapping{e.RoleARN + e.UserARN, e.Username, e.Groups, e.SyncedBy})
		}
	}
	var accounts []string
	if err := yaml.Unmarshal([]byte(cm.Data["mapAccounts"]), &accounts); err != nil {
		return nil, fmt.Errorf("read mapAccounts: %w", err)
	}
	for _, id := range accounts {
		all = append(all, Mapping{ARN: id})
	}
	slices.SortStableFunc(all, func(a, b Mapping) int { return cmp.Compare(a.ARN, b.ARN) })
	return all, nil
}
