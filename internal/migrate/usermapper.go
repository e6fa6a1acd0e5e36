package migrate

import (
	"bufio"
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/internal/visible"
)

// UserMapperMark is what iam-eks-user-mapper signs its entries with.
const UserMapperMark = "iam-eks-user-mapper"

// UserMapperSettings are the names of iam-eks-user-mapper's settings, as its
// environment knows them; the flag of one is in lower case with dashes
// (iam-eks-user-mapper src/main.rs:31).
func UserMapperSettings() []string {
	return []string{
		"ADMINS_USERS_ARNS", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_SECRET_ACCESS_KEY", "ENABLE_GROUP_USER_SYNC", "ENABLE_SSO",
		"IAM_K8S_GROUPS", "IAM_SSO_ROLE_ARN", "KARPENTER_ROLE_ARN", "REFRESH_INTERVAL_SECONDS", "SERVICE_ACCOUNT_NAME", "VERBOSE",
	}
}

// A Setting is one of [UserMapperSettings] and where it was given, for notes.
type Setting struct{ Name, Value, From string }

// A setting is one with its place.
type setting struct {
	value
	text string
}

// FromUserMapper makes a config of iam-eks-user-mapper's settings: those of a
// file, which may be nil (the values of its Helm chart, a Deployment, or lines
// of NAME=VALUE), and others, such as flags, which stand over it. The error is a
// *[config.Error].
func FromUserMapper(file string, data []byte, over []Setting) (*Result, error) {
	d := newDraft(UserMapperMark, file)
	settings := map[string]setting{}
	if data != nil {
		d.mapperFile(settings, data)
	}
	for _, s := range over {
		settings[s.Name] = setting{value{node: &yaml.Node{}, line: 1, key: s.Name, file: s.From}, s.Value}
	}
	if len(settings) == 0 && len(d.objects) > 0 {
		return d.result()
	}
	if len(settings) == 0 && len(d.problems) == 0 {
		d.failAt(1, "none of iam-eks-user-mapper's settings is there: give the values of its Helm chart, its Deployment, its environment as lines of NAME=VALUE, or its flags, such as --iam-k8s-groups")
	}
	d.mapperSettings(settings)
	return d.result()
}

// mapperSections are the sections of the Helm chart's values.
var mapperSections = []string{"adminsUsersArns", "groupUsersSync", "sso", "karpenter"}

var envLine = regexp.MustCompile(`^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)$`)

// mapperFile finds the settings in a file.
func (d *draft) mapperFile(settings map[string]setting, data []byte) {
	if len(data) <= maxSize && isEnv(data) {
		d.mapperEnv(settings, data)
		return
	}
	docs := flatten(d.documents(data))
	for _, doc := range docs {
		if kind := doc.field("kind").scalar(); kind == "HelmRelease" {
			doc = doc.field("spec").field("values")
		}
		env, command, args := doc.container("env"), doc.container("command"), doc.container("args")
		switch {
		case env.is() || command.is() || args.is():
			for _, e := range env.items() {
				name := e.field("name").scalar()
				if !slices.Contains(UserMapperSettings(), name) {
					continue
				}
				if e.field("valueFrom").is() {
					settings[name] = setting{e, ""}
					if !strings.HasPrefix(name, "AWS_") {
						d.note(e, "the value of %s stands in another object: give it as a flag, %s", name, mapperFlag(name))
					}
					continue
				}
				settings[name] = setting{e, e.field("value").scalar()}
			}
			d.mapperArgs(settings, append(command.items(), args.items()...))
		case slices.ContainsFunc(doc.fields(), func(f field) bool {
			return slices.Contains(mapperSections, f.name)
		}):
			d.mapperValues(settings, doc)
		case doc.field("kind").scalar() == "ServiceAccount" && irsaRole(doc).is():
			settings["AWS_ROLE_ARN"] = setting{irsaRole(doc), irsaRole(doc).scalar()}
		case d.object(doc):
		case len(docs) > 1:
			d.note(doc, "the document is not read: it has none of iam-eks-user-mapper's settings")
		default:
			d.problem(doc, "the format is not known: give the values of iam-eks-user-mapper's Helm chart, its Deployment, or its environment as lines of NAME=VALUE")
		}
	}
}

// isEnv reports whether the first line that says anything is NAME=VALUE.
func isEnv(data []byte) bool {
	for line := range bytes.Lines(data) {
		text := strings.TrimSpace(string(line))
		if text != "" && !strings.HasPrefix(text, "#") {
			return envLine.MatchString(text)
		}
	}
	return false
}

func (d *draft) mapperEnv(settings map[string]setting, data []byte) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxSize+1)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		m := envLine.FindStringSubmatch(strings.TrimSpace(strings.TrimSuffix(text, `\`)))
		if m == nil {
			d.failAt(n, "the line is no NAME=VALUE: write one a line")
			continue
		}
		if !slices.Contains(UserMapperSettings(), m[1]) {
			continue
		}
		v := value{node: &yaml.Node{}, line: n, key: m[1]}
		settings[m[1]] = setting{v, unquote(m[2])}
	}
}

// unquote takes away the quotes of a shell round a whole text.
func unquote(s string) string {
	for _, q := range []string{`"`, `'`} {
		if len(s) >= 2 && strings.HasPrefix(s, q) && strings.HasSuffix(s, q) {
			return s[1 : len(s)-1]
		}
	}
	return s
}

func mapperFlag(name string) string {
	return "--" + strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

// mapperArgs reads command-line arguments as the tool's own parser (clap) does.
func (d *draft) mapperArgs(settings map[string]setting, args []value) {
	letters := map[string]string{
		"s": "SERVICE_ACCOUNT_NAME", "R": "AWS_ROLE_ARN", "a": "AWS_ACCESS_KEY_ID", "k": "AWS_SECRET_ACCESS_KEY", "r": "AWS_DEFAULT_REGION",
		"i": "REFRESH_INTERVAL_SECONDS", "m": "ADMINS_USERS_ARNS", "g": "IAM_K8S_GROUPS", "v": "VERBOSE",
	}
	for i := 0; i < len(args); i++ {
		flag, text, has := strings.Cut(args[i].scalar(), "=")
		name := strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_"))
		if letter, ok := letters[strings.TrimPrefix(flag, "-")]; ok {
			name = letter
		}
		if !strings.HasPrefix(flag, "-") {
			continue // the program itself
		}
		if !slices.Contains(UserMapperSettings(), name) {
			d.note(args[i], "iam-eks-user-mapper has no flag %s: it has no equivalent here", quote(flag))
			continue
		}
		at := args[i]
		if boolean := name == "VERBOSE" || strings.HasPrefix(name, "ENABLE_"); boolean && !has {
			text = "true"
		} else if !has {
			// One flag takes all values up to the next, as in -g A->a B->b.
			var texts []string
			for i+1 < len(args) && !strings.HasPrefix(args[i+1].scalar(), "-") {
				i++
				texts = append(texts, args[i].scalar())
			}
			text = strings.Join(texts, ",")
		}
		settings[name] = setting{at, text}
	}
}

// mapperValues reads the values of the Helm chart, which says by "enabled"
// whether a part is switched on.
func (d *draft) mapperValues(settings map[string]setting, doc value) {
	put := func(name string, v value) {
		if !v.is() {
			return
		}
		text := v.scalar()
		if v.node.Kind == yaml.SequenceNode {
			var texts []string
			for _, item := range v.items() {
				texts = append(texts, item.scalar())
			}
			text = strings.Join(texts, ",")
		}
		settings[name] = setting{v, text}
	}
	on := func(part value) bool { is, _ := strconv.ParseBool(part.field("enabled").scalar()); return is }
	part := func(section, key, name string) {
		s := doc.field(section)
		if v := s.field(key); v.is() && !on(s) {
			if v.scalar() != "" || len(v.items()) > 0 {
				d.note(v, "left out: %s.enabled is not true, so iam-eks-user-mapper does not use it either", section)
			}
			return
		}
		put(name, s.field(key))
	}
	part("adminsUsersArns", "arns", "ADMINS_USERS_ARNS")
	put("ENABLE_GROUP_USER_SYNC", doc.field("groupUsersSync").field("enabled"))
	part("groupUsersSync", "iamK8sGroups", "IAM_K8S_GROUPS")
	put("ENABLE_SSO", doc.field("sso").field("enabled"))
	part("sso", "iamSSORoleArn", "IAM_SSO_ROLE_ARN")
	part("karpenter", "iamKarpenterRoleArn", "KARPENTER_ROLE_ARN")
	put("REFRESH_INTERVAL_SECONDS", doc.field("refreshIntervalSeconds"))
	aws := doc.field("aws")
	put("AWS_DEFAULT_REGION", aws.field("defaultRegion"))
	put("AWS_ROLE_ARN", irsaRole(doc))
	put("AWS_ROLE_ARN", aws.field("roleArn"))
	put("AWS_ACCESS_KEY_ID", aws.field("accessKeyId"))
	put("AWS_ACCESS_KEY_ID", aws.field("existingSecretName"))
	put("SERVICE_ACCOUNT_NAME", doc.field("serviceAccount").field("name"))
	d.unreadValues(doc, append([]string{"refreshIntervalSeconds", "aws", "serviceAccount"}, mapperSections...))
}

// roleAnnotation names the role of a ServiceAccount's pods, by IRSA
// (https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html).
const roleAnnotation = "eks.amazonaws.com/role-arn"

// irsaRole is the role of a ServiceAccount, or of the one in a chart's values.
func irsaRole(doc value) value {
	if doc.field("kind").scalar() == "ServiceAccount" {
		return doc.field("metadata").field("annotations").field(roleAnnotation)
	}
	return doc.field("serviceAccount").field("annotations").field(roleAnnotation)
}

// unreadValues tells of a chart's values that say something and are not read.
func (d *draft) unreadValues(doc value, read []string) {
	var names []string
	var at value
	for _, f := range doc.fields() {
		empty := !f.is() || f.node.Kind != yaml.ScalarNode && len(f.node.Content) == 0 || f.node.Kind == yaml.ScalarNode && f.scalar() == ""
		if empty || slices.Contains(read, f.name) {
			continue
		}
		if names = append(names, f.name); len(names) == 1 {
			at = f.value
		}
	}
	if len(names) > 0 {
		d.note(at, "no part of the config: %s. rolecall's chart or manifests have values of their own for the pod", visible.Text(strings.Join(names, ", ")))
	}
}

// mapperSettings makes the config of the settings.
func (d *draft) mapperSettings(settings map[string]setting) {
	get := func(name string) (setting, bool) {
		s, ok := settings[name]
		return s, ok && strings.TrimSpace(s.text) != ""
	}
	on := func(name string) bool {
		s, ok := get(name)
		if !ok {
			return false
		}
		is, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(s.text)))
		if err != nil {
			d.problem(s.value, "%s is no truth value: write true or false", quote(s.text))
		}
		return is
	}
	d.adopt = []string{UserMapperMark}
	if s, ok := get("REFRESH_INTERVAL_SECONDS"); ok {
		if seconds, err := strconv.Atoi(strings.TrimSpace(s.text)); err != nil {
			d.problem(s.value, "%s is no number of seconds: write a whole number", quote(s.text))
		} else {
			d.setInterval(s.value, seconds)
		}
	}
	if s, ok := get("AWS_DEFAULT_REGION"); ok && d.accepts(s.value, "aws: {region: "+scalar(s.text)+"}") {
		d.region = s.text
	}
	d.mapperGroups(get, on)
	if s, ok := get("ADMINS_USERS_ARNS"); ok {
		for arn := range strings.SplitSeq(s.text, ",") {
			if arn = strings.TrimSpace(arn); arn != "" {
				name := arn[strings.LastIndexByte(arn, '/')+1:]
				d.items = append(d.items, item{value: s.value, kind: awsauth.User, arn: arn, username: name, groups: []string{awsauth.Masters}})
			}
		}
	}
	d.mapperSSO(get, on)
	if s, ok := get("KARPENTER_ROLE_ARN"); ok {
		it := item{value: s.value, kind: awsauth.Role, arn: strings.TrimSpace(s.text), username: nodeUsername, groups: nodeGroups()}
		if it.pathed() {
			d.note(s.value, "%s carries a path, so in aws-auth it lets no node in; rolecall writes it without", quote(it.arn))
			it.arn, _ = awsauth.RoleARN(it.arn)
		}
		d.karpenter = append(d.karpenter, it)
	}
	const needs = "the leader needs iam:GetGroup and iam:ListRoles (manifests/iam-policy.json)"
	if s, ok := get("AWS_ROLE_ARN"); ok {
		d.note(s.value, "the role is given to rolecall's ServiceAccount, by the annotation eks.amazonaws.com/role-arn (IRSA) or by EKS Pod Identity, and its trust policy must name system:serviceaccount:rolecall-system:rolecall; %s. aws.roleARN of the config is another thing: a role to assume besides", needs)
	}
	if s, ok := settings["AWS_ACCESS_KEY_ID"]; ok && (s.text != "" || s.field("valueFrom").is()) {
		d.note(s.value, "keys belong in no config: give rolecall's ServiceAccount a role by IRSA or EKS Pod Identity, or the agent's container the same environment variables; %s", needs)
	}
	if s, ok := get("SERVICE_ACCOUNT_NAME"); ok {
		d.note(s.value, "the ServiceAccount's name has no equivalent: rolecall's manifests bring their own (rolecall-system/rolecall)")
	}
	if s, ok := get("VERBOSE"); ok && on("VERBOSE") {
		d.note(s.value, "verbose logging is a flag of the agent: --log-level=debug")
	}
}

// mapperGroups reads "IAM_GROUP->K8S_GROUP,…". Of several for one IAM group the
// tool keeps the last (src/main.rs, GroupsMappings).
func (d *draft) mapperGroups(get func(string) (setting, bool), on func(string) bool) {
	s, ok := get("IAM_K8S_GROUPS")
	if !on("ENABLE_GROUP_USER_SYNC") {
		if ok {
			d.note(s.value, "left out: ENABLE_GROUP_USER_SYNC is not true, so iam-eks-user-mapper does not use it either")
		}
		return
	}
	if !ok {
		d.note(value{key: "IAM_K8S_GROUPS"}, "group sync is switched on without any group: write iamGroups")
		return
	}
	for pair := range strings.SplitSeq(s.text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		iam, k8s, found := strings.Cut(pair, "->")
		iam, k8s = strings.TrimSpace(iam), strings.TrimSpace(k8s)
		if !found || iam == "" || k8s == "" || strings.Contains(k8s, "->") {
			d.problem(s.value, "%s is no mapping of a group: write IAM_GROUP->KUBERNETES_GROUP", quote(pair))
			continue
		}
		g := group{value: s.value, name: iam, groups: []string{k8s}}
		if i := slices.IndexFunc(d.groups, func(have group) bool { return have.name == iam }); i >= 0 {
			d.note(s.value, "the IAM group %s is named twice and iam-eks-user-mapper keeps the last, %s, alone; rolecall can give both: groups: %s", quote(iam), quote(k8s), list(append(slices.Clone(d.groups[i].groups), k8s)))
			d.groups[i] = g
			continue
		}
		d.groups = append(d.groups, g)
	}
}

var reservedRole = regexp.MustCompile(`^AWSReservedSSO_([0-9A-Za-z_+=,.@-]{1,32})_[0-9a-f]{16}$`)

// mapperSSO turns the role of Identity Center into its permission set.
func (d *draft) mapperSSO(get func(string) (setting, bool), on func(string) bool) {
	s, ok := get("IAM_SSO_ROLE_ARN")
	switch {
	case !on("ENABLE_SSO") && ok:
		d.note(s.value, "left out: ENABLE_SSO is not true, so iam-eks-user-mapper does not use it either")
		return
	case !on("ENABLE_SSO"):
		return
	case !ok:
		d.failAt(1, "ENABLE_SSO is true and IAM_SSO_ROLE_ARN is missing: write the ARN of the role")
		return
	}
	text := strings.TrimSpace(s.text)
	it := item{value: s.value, kind: awsauth.Role, groups: []string{awsauth.Masters}}
	arn, err := awsauth.RoleARN(text)
	if err != nil {
		d.problem(s.value, "%v", err)
		return
	}
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	m := reservedRole.FindStringSubmatch(name)
	if m == nil {
		it.arn, it.username = arn, name+":{{SessionName}}"
		d.note(s.value, "iam-eks-user-mapper gives the role no username; rolecall gives it %s", quote(it.username))
		d.items = append(d.items, it)
		return
	}
	it.permissionSet = m[1]
	account, _ := awsauth.ARNAccount(arn)
	d.note(s.value, "the role %s becomes the permission set %s, whose role rolecall finds again when the suffix changes; it looks in the account whose IAM it asks, which must be %s", quote(name), quote(m[1]), account)
	d.note(s.value, "iam-eks-user-mapper gives the role no username, so nobody can tell its users apart; rolecall gives it %s", quote(m[1]+":{{SessionName}}"))
	d.items = append(d.items, it)
}
