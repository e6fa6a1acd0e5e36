package migrate

import (
	"strconv"
	"strings"
	"time"

	"github.com/rolecall/rolecall/awsauth"
)

// FromSSOWrapper makes a config of the source ConfigMap of
// aws-iam-authenticator-sso-wrapper, of the values of its Helm chart, or of its
// Deployment; of several of them in one text too. The error is a
// *[config.Error].
func FromSSOWrapper(file string, data []byte) (*Result, error) {
	d := newDraft("aws-iam-authenticator-sso-wrapper", file)
	docs := flatten(d.documents(data))
	if len(docs) == 0 && len(d.problems) == 0 {
		d.failAt(1, "the file is empty: give the source ConfigMap of sso-wrapper, or the values of its Helm chart")
	}
	read := false
	for _, doc := range docs {
		args, values := doc.container("args"), doc.field("sourceConfigmap")
		switch {
		case d.object(doc):
		case isAWSAuthText(doc):
			d.items = append(d.items, d.awsAuth(doc)...)
			if doc.field("kind").scalar() == "ConfigMap" {
				d.note(doc, "the ConfigMap can be mounted as it is, in place of this config or beside it: rolecall reads its keys mapRoles, mapUsers and mapAccounts, permissionset and $ACCOUNTID too")
			}
		case values.is() || doc.field("deployment").field("applicationArguments").is():
			d.items = append(d.items, d.bareKeys(values)...)
			d.wrapperArguments(doc.field("deployment").field("applicationArguments"))
			d.wrapperRole(irsaRole(doc))
		case doc.field("kind").scalar() == "ServiceAccount" && irsaRole(doc).is():
			d.wrapperRole(irsaRole(doc))
		case args.is() || doc.field("kind").scalar() == "Deployment":
			d.wrapperArgs(args)
		case len(docs) > 1:
			d.note(doc, "the document is not read: it is neither a ConfigMap with mapRoles nor a Deployment")
			continue
		default:
			d.problem(doc, "the format is not known: give the source ConfigMap of sso-wrapper (mapRoles with permissionset), or the values of its Helm chart")
		}
		read = true
	}
	if !read && len(docs) > 0 && len(d.problems) == 0 {
		d.failAt(1, "no document is of sso-wrapper: give its source ConfigMap, or the values of its Helm chart")
	}
	for i := range d.items {
		d.wrapperItem(&d.items[i])
	}
	return d.result()
}

// wrapperItem tells where an entry means something else than to sso-wrapper.
func (d *draft) wrapperItem(it *item) {
	if id := it.fold("userid"); id.is() {
		d.note(id, "userid has no effect: neither the authenticator nor rolecall reads it")
	}
	if it.permissionSet == "" {
		return
	}
	if it.username == "" {
		d.note(it.value, "sso-wrapper gives the permission set %s no username; rolecall gives it %s", quote(it.permissionSet), quote(it.permissionSet+":{{SessionName}}"))
	}
	if strings.ContainsAny(it.permissionSet, ".+") {
		d.note(it.value, "to sso-wrapper the name %s is part of a regular expression; rolecall takes it as it stands", quote(it.permissionSet))
	}
}

// wrapperRole tells of the role of the tool's ServiceAccount.
func (d *draft) wrapperRole(role value) {
	if role.scalar() != "" {
		d.note(role, "the role %s is given to rolecall's ServiceAccount, by the annotation eks.amazonaws.com/role-arn (IRSA) or by EKS Pod Identity, and its trust policy must name system:serviceaccount:rolecall-system:rolecall; the leader needs iam:ListRoles (manifests/iam-policy.json)", quote(role.scalar()))
	}
}

// container is a field of the only container of a workload, or of its first.
func (v value) container(name string) value {
	spec := v.field("spec")
	if template := spec.field("template"); template.is() {
		spec = template.field("spec")
	}
	for _, c := range spec.field("containers").items() {
		if f := c.field(name); f.is() {
			return f
		}
	}
	return value{}
}

// wrapperArguments reads the chart's applicationArguments.
func (d *draft) wrapperArguments(v value) {
	names := map[string]string{
		"interval": "interval", "awsRegion": "aws-region", "debug": "debug", "disableAutoWorkerNodeRole": "disable-auto-worker-node-role",
		"srcConfigmap": "src-configmap", "srcNamespace": "src-namespace", "dstConfigmap": "dst-configmap", "dstNamespace": "dst-namespace",
	}
	for _, f := range v.fields() {
		if name, ok := names[f.name]; ok && f.is() {
			d.wrapperFlag(f.value, name, f.scalar())
		} else if !ok {
			d.note(f.value, "sso-wrapper has no such argument: it has no equivalent here")
		}
	}
}

// wrapperArgs reads command-line arguments, as Go's package flag reads them.
func (d *draft) wrapperArgs(v value) {
	args := v.items()
	for i := 0; i < len(args); i++ {
		name, text, has := strings.Cut(strings.TrimLeft(args[i].scalar(), "-"), "=")
		if !strings.HasPrefix(args[i].scalar(), "-") {
			continue
		}
		if boolean := name == "debug" || name == "disable-auto-worker-node-role"; !has && boolean {
			text = "true"
		} else if !has && i+1 < len(args) {
			i++
			text = args[i].scalar()
		}
		d.wrapperFlag(args[i], name, text)
	}
}

func (d *draft) wrapperFlag(v value, name, text string) {
	switch name {
	case "interval":
		seconds, err := strconv.Atoi(text)
		if err != nil {
			d.problem(v, "%s is no number of seconds: write a whole number", quote(text))
			return
		}
		d.setInterval(v, seconds)
	case "aws-region":
		d.region = text
	case "disable-auto-worker-node-role":
		d.noReport, _ = strconv.ParseBool(text)
		if d.noReport {
			d.note(v, "sso-wrapper does not map its own node's role, and so rolecall does not map those that nodes report: remove nodeRoles.report to have it do so, which keeps nodes in the cluster")
		}
	case "dst-configmap":
		if text != awsauth.Name {
			d.note(v, "aws-auth has the name %s: give the agent --aws-auth-name", quote(text))
		}
	case "dst-namespace":
		if text != awsauth.Namespace {
			d.note(v, "aws-auth is in namespace %s: give the agent --aws-auth-namespace", quote(text))
		}
	case "src-configmap", "src-namespace":
		d.note(v, "which ConfigMap is read is said by the volume that is mounted at --config, not by a flag")
	case "debug":
		if is, _ := strconv.ParseBool(text); is {
			d.note(v, "debug logging is a flag of the agent: --log-level=debug")
		}
	default:
		d.note(v, "sso-wrapper has no flag %s: it has no equivalent here", quote(name))
	}
}

// setInterval takes over how often IAM is asked again.
func (d *draft) setInterval(v value, seconds int) {
	const floor, most = 10, 366 * 24 * 60 * 60
	switch {
	case seconds < floor:
		d.note(v, "%d seconds are too short, since IAM limits how often it can be asked: refreshInterval is %ds", seconds, floor)
		seconds = floor
	case seconds > most:
		d.note(v, "%d seconds are more than a year: refreshInterval is left at its default", seconds)
		return
	}
	d.interval = time.Duration(seconds) * time.Second
}
