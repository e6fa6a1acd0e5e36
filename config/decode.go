package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	minRefresh = 10 * time.Second

	// shortKeep is a keepUnused below which a role could be dropped between two
	// reports of a live node: agents renew theirs about hourly, with jitter.
	shortKeep = 3 * time.Hour

	forever = "forever"
)

// config reads the root of config.yaml.
func (d *decoder) config(c *Config, root value) {
	if d.manifest(root) {
		return
	}
	seen := d.mapping(root, keys{
		"apiVersion": func(v value) { d.exactly(v, APIVersion) },
		"kind":       func(v value) { d.exactly(v, Kind) },
		"refreshInterval": func(v value) {
			interval, ok := d.duration(v, "60s")
			if ok && interval < minRefresh {
				d.problem(v, "%s is too short, since IAM limits how often it can be asked: write 10s or more", v.node.Value)
			}
			c.RefreshInterval = interval
		},
		"aws":       func(v value) { d.aws(&c.AWS, v) },
		"nodeRoles": func(v value) { d.nodeRoles(&c.NodeRoles, v) },
		"karpenter": func(v value) {
			d.mapping(v, keys{
				"nodeRoleARNs": func(v value) { c.Karpenter.NodeRoleARNs = d.texts(v, exampleRole, d.role) },
			})
		},
		"roles": func(v value) {
			d.list(v, "- permissionSet: NAME", func(v value) {
				c.Roles = append(c.Roles, d.roleEntry(v, roleKeys{"permissionSet", "arn"}))
			})
		},
		"iamGroups": func(v value) {
			d.list(v, "- name: GROUP", func(v value) { c.IAMGroups = append(c.IAMGroups, d.iamGroup(v)) })
		},
		"users": func(v value) {
			d.list(v, "- arn: "+exampleUser, func(v value) { c.Users = append(c.Users, d.userEntry(v, "arn")) })
		},
		"accounts": func(v value) { c.Accounts = append(c.Accounts, d.accounts(v)...) },
		"adopt":    func(v value) { c.Adopt = d.texts(v, "iam-eks-user-mapper", d.mark) },
		"safety":   func(v value) { d.safety(&c.Safety, v) },
	})
	if root.node.Kind != yaml.MappingNode {
		return
	}
	for _, head := range [][2]string{{"apiVersion", APIVersion}, {"kind", Kind}} {
		if _, ok := seen[head[0]]; !ok {
			d.problem(value{root.node, head[0]}, "the key is missing: write %s: %s", head[0], head[1])
		}
	}
}

// manifest reports the mistake of giving the ConfigMap's manifest in place of
// what it holds, which otherwise would be a dozen unknown keys.
func (d *decoder) manifest(root value) bool {
	for i := 0; i+1 < len(root.node.Content) && root.node.Kind == yaml.MappingNode; i += 2 {
		kind := at(root.node.Content[i+1], "kind")
		if at(root.node.Content[i], "").node.Value == "kind" && kind.node.Value == "ConfigMap" {
			d.problem(kind, "the file is the manifest of a ConfigMap: give what stands under its key config.yaml, as a file")
			return true
		}
	}
	return false
}

// exactly reads a text that can have one value only.
func (d *decoder) exactly(v value, want string) {
	if v.node.Kind != yaml.ScalarNode || v.node.Value != want {
		d.problem(v, "found %s, which this program does not read: write %s", found(v), want)
	}
}

func (d *decoder) aws(a *AWS, v value) {
	d.mapping(v, keys{
		"region": func(v value) {
			region, ok := d.text(v, "eu-west-3")
			if ok && strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				d.problem(v, "%s is no AWS region: write its code, for example eu-west-3, or leave it empty", quote(region))
			}
			a.Region = region
		},
		"roleARN": func(v value) {
			arn, ok := d.text(v, exampleRole)
			if !ok || arn == "" {
				return
			}
			// Whose account and partition they would stand for is only known
			// after the role has been assumed.
			if strings.Contains(arn, "$") {
				d.problem(v, "a placeholder cannot be filled in here: write the account's 12 digits and the partition")
				return
			}
			if _, _, err := canonicalRole(arn); err != nil {
				d.problem(v, "%v", err)
			}
			a.RoleARN = arn
		},
	})
}

func (d *decoder) nodeRoles(n *NodeRoles, v value) {
	d.mapping(v, keys{
		"report":     func(v value) { n.Report, _ = d.boolean(v) },
		"accounts":   func(v value) { n.Accounts = d.accounts(v) },
		"extra":      func(v value) { n.Extra = d.texts(v, exampleRole, d.role) },
		"windows":    func(v value) { n.Windows = d.texts(v, exampleRole, d.roleOrName) },
		"keepUnused": func(v value) { n.KeepUnused = d.keepUnused(v) },
		"verify":     func(v value) { n.Verify = Verify(d.oneOf(v, string(VerifyNone), string(VerifyEC2))) },
		"vpcs":       func(v value) { n.VPCs = d.texts(v, exampleVPC, d.vpc) },
	})
}

// exampleVPC stands in texts that say what to write.
const exampleVPC = "vpc-0123456789abcdef0"

// vpcID is the id of a VPC, as EC2 makes them
// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html).
var vpcID = regexp.MustCompile(`^vpc-([0-9a-f]{8}|[0-9a-f]{17})$`)

func (d *decoder) vpc(v value, text string) string {
	if !vpcID.MatchString(text) {
		d.problem(v, "%s is no id of a VPC: write vpc- and 8 or 17 hex digits, for example %s", quote(text), exampleVPC)
	}
	return text
}

func (d *decoder) keepUnused(v value) time.Duration {
	if v.node.Kind == yaml.ScalarNode && v.node.Value == forever {
		return 0
	}
	keep, ok := d.duration(v, "720h, or forever")
	if ok && keep < shortKeep {
		d.warn(v, "nodes report about once an hour, so a role in use may be taken for unused: write 3h or more")
	}
	return keep
}

func (d *decoder) safety(s *Safety, v value) {
	d.mapping(v, keys{
		"removalLimit": func(v value) { s.RemovalLimit.Percent = d.percent(v) },
		"onMalformed":  func(v value) { s.OnMalformed = OnMalformed(d.oneOf(v, string(Restore), string(Refuse))) },
		"onConflict":   func(v value) { s.OnConflict = OnConflict(d.oneOf(v, string(Keep), string(Adopt))) },
	})
}

// duration reads a duration longer than nothing, in Go's notation.
func (d *decoder) duration(v value, example string) (time.Duration, bool) {
	// A bare number is not a text to YAML, but quotes would not mend it.
	if text := v.node.Value; v.number() || text != "" && strings.Trim(text, "0123456789.") == "" {
		d.problem(v, "%s has no unit: write it with one, for example %s", quote(text), example)
		return 0, false
	}
	text, ok := d.text(v, example)
	if !ok {
		return 0, false
	}
	t, err := time.ParseDuration(text)
	if err != nil {
		d.problem(v, "%s is no duration: write a number with a unit (s, m or h), for example %s", quote(text), orHours(text, example))
		return 0, false
	}
	if t <= 0 {
		d.problem(v, "%s is not longer than nothing: write for example %s", text, example)
		return 0, false
	}
	return t, true
}

// orHours returns a duration given in days or weeks in hours, the largest unit
// that there is, and the example for any other text.
func orHours(text, example string) string {
	for unit, hours := range map[string]int{"d": 24, "w": 7 * 24} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 {
				return fmt.Sprintf("%dh", int(n)*hours)
			}
		}
	}
	return example
}

// percent reads a whole percentage of 0 to 100.
func (d *decoder) percent(v value) int {
	text := v.node.Value // a bare number, which is not a text to YAML
	if !v.number() {
		var ok bool
		if text, ok = d.text(v, "50%"); !ok {
			return 0
		}
	}
	number, sign := strings.CutSuffix(text, "%")
	n, err := strconv.ParseUint(number, 10, 8)
	switch {
	case err != nil || n > 100:
		d.problem(v, "%s is no percentage: write a whole number of 0 to 100 with a percent sign, for example 50%%", quote(text))
	case !sign:
		d.problem(v, "%s has no percent sign: write %d%%", quote(text), n)
	}
	return int(n)
}

// oneOf reads one of some words.
func (d *decoder) oneOf(v value, words ...string) string {
	if v.node.Kind == yaml.ScalarNode && slices.Contains(words, v.node.Value) && d.untagged(v) {
		return v.node.Value
	}
	d.problem(v, "found %s: write %s", found(v), strings.Join(words, " or "))
	return ""
}

// texts reads a list of texts, each checked by check, which returns it in the
// form that it is kept in.
func (d *decoder) texts(v value, example string, check func(value, string) string) []string {
	var all []string
	shown := example
	if v.node.Kind == yaml.ScalarNode {
		shown = quote(v.node.Value)
	}
	d.list(v, "["+shown+"]", func(v value) {
		if text, ok := d.text(v, example); ok {
			all = append(all, check(v, text))
		}
	})
	return all
}
