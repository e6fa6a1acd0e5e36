package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rolecall/rolecall/internal/register/configmap"
	"github.com/rolecall/rolecall/internal/roster"
	"github.com/rolecall/rolecall/test/awsfake"
	"github.com/rolecall/rolecall/test/trial"
)

// An example is a line that is run in a story, and shown with what it prints.
// The texts before it say what it is for.
type example struct {
	before func(*story) // what happens before and is not shown
	text   string
	run    string
	code   int // exit status
}

// The cluster of the examples: what others wrote, and what the config asks for.
const (
	sampleConfig = `apiVersion: rolecall.dev/v1
kind: Config
roles:
  - permissionSet: AdministratorAccess
    username: admin:{{SessionName}}
    groups: [system:masters]
iamGroups:
  - name: Developers
    groups: [developers]
`
	sampleMapRoles = `- rolearn: arn:aws:iam::111122223333:role/break-glass # ask the platform team
  username: break-glass
  groups:
    - system:masters
`
)

// sample makes that cluster; with leads a leader has settled it, else one pass
// was made, as by the agent of a node that has gone.
func sample(leads bool) func(*story) {
	return func(s *story) {
		s.AWS.AddPermissionSet("AdministratorAccess", "0123456789abcdef", "", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
		s.AWS.SetMembers("Developers", "ana", "ben", "cem", "dee", "eva", "fay", "gus", "hal")
		s.Create(map[string]string{"mapRoles": sampleMapRoles})
		s.sh("rolecall agent --once --config=config.yaml", 0)
		if !leads {
			return
		}
		s.StartNode("node-a", "nodes")
		shows := func(what string, status *regexp.Regexp) {
			s.Eventually(what, func(ctx context.Context) error {
				r, err := s.Run(ctx, "status")
				if err == nil && (r.Code != 0 || !status.MatchString(r.Stdout)) {
					err = errors.New(r.Stdout)
				}
				return err
			})
		}
		shows("the node's role is mapped", regexp.MustCompile(`(?s)Last pass: +\S+ ago: (un)?changed\n.*revision \d+: .*\nnode +1 `))
		// Whether one more pass follows that write is by chance: this makes one.
		report := roster.LeaseName(trial.Account + "role/nodes")
		if _, err := s.Client.CoordinationV1().Leases(s.Namespace).Patch(s.T.Context(), report, types.MergePatchType, []byte(`{"metadata":{"annotations":{"seen":"true"}}}`), metav1.PatchOptions{}); err != nil {
			s.T.Fatal(err)
		}
		shows("the leader has nothing more to do", regexp.MustCompile(`(?s)Last pass: +\S+ ago: unchanged\n.*\ngroup/Developers +8 +\d+s ago +good\n.*\npermission-set/AdministratorAccess +\d+ +\d+s ago +good\n`))
	}
}

// held takes most of the Developers away, so that their removal is held back.
func held(s *story) {
	sample(false)(s)
	s.AWS.SetMembers("Developers", "ana", "ben")
	s.sh("rolecall agent --once --config=config.yaml", 0)
}

// doubtful writes an aws-auth with mistakes that people make.
func doubtful(s *story) {
	s.file("aws-auth.yaml", `apiVersion: v1
kind: ConfigMap
metadata:
  name: aws-auth
  namespace: kube-system
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/eks/nodes
      username: system:node:{{EC2PrivateDNSName}}
      groups: [system:bootstrappers, system:nodes]
    - rolearn: arn:aws:iam::111122223333:role/ops
      username: ops
      groups: system:masters
    - rolearn: arn:aws:iam::111122223333:role/break-glass
      username: break-glass
      groups: [system:masters]
  mapAccounts: |
    - 012345678901
`)
}

// theirs are files of other tools.
func theirs(s *story) {
	s.file("cluster.yaml", `apiVersion: eksctl.io/v1alpha5
kind: ClusterConfig
metadata: {name: prod, region: eu-west-3}
iamIdentityMappings:
  - arn: arn:aws:iam::111122223333:role/ops
    username: ops
    groups: [system:masters]
    noDuplicateARNs: true
  - account: "444455556666"
`)
	s.file("values.yaml", `aws: {defaultRegion: eu-west-3}
groupUsersSync: {enabled: true, iamK8sGroups: "Admins->system:masters,Developers->developers"}
refreshIntervalSeconds: 30
`)
	s.file("eks.tf", `module "eks" {
  source = "terraform-aws-modules/eks/aws"

  aws_auth_roles = [
    {
      rolearn  = "arn:aws:iam::111122223333:role/ops"
      username = "ops"
      groups   = ["system:masters"]
    },
    {
      rolearn  = module.ci.iam_role_arn
      username = "ci"
      groups   = ["deployers"]
    },
  ]
}
`)
	s.file("sso.yaml", `apiVersion: v1
kind: ConfigMap
metadata: {name: aws-auth-source, namespace: kube-system}
data:
  mapRoles: |
    - permissionset: AdministratorAccess
      username: admin:{{SessionName}}
      groups: [system:masters]
`)
}

// broken writes a config with two mistakes.
func broken(s *story) {
	s.file("broken.yaml", `apiVersion: rolecall.dev/v1
kind: Config
roles:
  - arn: arn:aws:iam::111122223333:instance-profile/nodes
    username: nodes
iamGroup: []
`)
}

// examples are those of every command, by what a person writes.
var examples = map[string][]example{
	"rolecall agent": {
		{
			before: func(s *story) {
				s.AWS.AddPermissionSet("AdministratorAccess", "0123456789abcdef", "", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))
				s.AWS.SetMembers("Developers", "ana")
				s.Create(map[string]string{"mapRoles": sampleMapRoles})
			},
			text: "One pass from a person's machine, without an election:",
			run:  "rolecall agent --once --config=config.yaml --node-name=laptop --log-format=json",
		},
	},
	"rolecall approve": {
		{before: held, text: "What is held back:", run: "rolecall approve"},
		{text: "Every entry that would go, without approving it:", run: "rolecall approve c64ea6cbddf0 --dry-run"},
	},
	"rolecall completion": {
		{text: "What kubectl needs to complete the plugin:", run: "rolecall completion kubectl"},
	},
	"rolecall export": {
		{before: theirs, text: "Of a file, for eksctl:", run: "rolecall export access-entries --cluster prod --region eu-west-3 -o eksctl -f cluster.yaml"},
	},
	"rolecall export access-entries": {
		{before: func(s *story) {
			sample(false)(s)
			s.Edit(func(data map[string]string) {
				data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/nodes\n  username: system:node:{{EC2PrivateDNSName}}\n  groups: [system:bootstrappers, system:nodes]\n"
				data["mapAccounts"] = "- \"444455556666\"\n"
			})
		}, text: "What aws-auth says, as a script:", run: "rolecall export access-entries --cluster prod"},
	},
	"rolecall get": {
		{before: func(s *story) {
			sample(false)(s)
			s.Edit(func(data map[string]string) {
				data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/break-glass\n  username: break-glass\n"
			})
		}, text: "All of it, with who asks for each entry:", run: "rolecall get"},
		{text: "One, with why it is not in force:", run: "rolecall get arn:aws:iam::111122223333:role/break-glass -o wide"},
	},
	"rolecall handover": {
		{
			before: func(s *story) {
				sample(true)(s)
				s.Change(func(cm *corev1.ConfigMap) {
					metav1.SetMetaDataAnnotation(&cm.ObjectMeta, configmap.InstallationAnnotation, "rolecall-blue")
				})
			},
			text: "Another installation manages aws-auth; what a handover would mean:", run: "rolecall handover --dry-run",
		},
		{text: "From a script, without a question:", run: "rolecall handover --yes"},
		{text: "Again, which writes nothing:", run: "rolecall handover"},
	},
	"rolecall history": {
		{before: held, text: "What was written, when and by whom:", run: "rolecall history"},
	},
	"rolecall history diff": {
		{
			before: func(s *story) {
				sample(false)(s)
				s.Edit(func(data map[string]string) {
					data["mapRoles"] += "- rolearn: arn:aws:iam::111122223333:role/ci\n  username: ci\n"
				})
			},
			text: "What has changed since a revision:", run: "rolecall history diff 2", code: 1,
		},
	},
	"rolecall import": {
		{before: theirs, text: "Into a file, checked by the agent's own reader:", run: "rolecall import eksctl cluster.yaml --out imported.yaml"},
		{text: "", run: "rolecall validate imported.yaml"},
	},
	"rolecall import eksctl": {
		{before: theirs, text: "A ClusterConfig:", run: "rolecall import eksctl cluster.yaml"},
	},
	"rolecall import iam-eks-user-mapper": {
		{before: theirs, text: "The values of its Helm chart:", run: "rolecall import iam-eks-user-mapper values.yaml"},
	},
	"rolecall import sso-wrapper": {
		{before: theirs, text: "Its source ConfigMap:", run: "rolecall import sso-wrapper sso.yaml"},
	},
	"rolecall import terraform": {
		{before: theirs, text: "A literal list, with an expression in it:", run: "rolecall import terraform eks.tf"},
	},
	"rolecall lint": {
		{before: doubtful, text: "A manifest, without any cluster:", run: "rolecall lint -f aws-auth.yaml", code: 1},
		{text: "What can be mended without a guess:", run: "rolecall lint -f aws-auth.yaml --fix --dry-run", code: 1},
	},
	"rolecall plan": {
		{before: func(s *story) {
			sample(false)(s)
			s.AWS.SetMembers("Developers", "ana", "ben", "cem", "dee", "eva", "fay", "gus", "ivy")
		}, text: "A user has left the group and one has joined it:", run: "rolecall plan --config config.yaml", code: 1},
		{text: "What a new leader would do of it until its config has settled:", run: "rolecall plan --config config.yaml --add-only", code: 1},
	},
	"rolecall recipe": {
		{
			text: "Into a folder:",
			run:  "rolecall recipe group-role --iam-group rnd --role eks-dev --groups viewers --cluster prod --region eu-west-3 --account 111122223333 --out recipe",
		},
		{text: "The entry in it for rolecall's config:", run: "cat recipe/config-entry.yaml"},
	},
	"rolecall recipe group-role": {
		{text: "All of it:", run: "rolecall recipe group-role --iam-group rnd --role eks-dev --groups viewers --cluster prod --region eu-west-3 --account 111122223333"},
	},
	"rolecall remove": {
		{before: sample(false), text: "What would go:", run: "rolecall remove arn:aws:iam::111122223333:user/hal --dry-run --diff --yes"},
		{text: "An entry that the agent would put back is asked about:", run: "rolecall remove arn:aws:iam::111122223333:user/hal", code: 1},
	},
	"rolecall remove-by-username": {
		{before: sample(false), text: "Whoever has the username:", run: "rolecall remove-by-username break-glass --dry-run --yes"},
	},
	"rolecall resolve": {
		{before: sample(false), text: "Who is the holder of this session?", run: "rolecall resolve arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_AdministratorAccess_0123456789abcdef/ana@example.com"},
		{text: "May this user delete pods?", run: "rolecall resolve arn:aws:iam::111122223333:user/ana --can delete pods", code: 1},
	},
	"rolecall rollback": {
		{
			before: func(s *story) {
				sample(false)(s)
				s.Edit(func(data map[string]string) { data["mapRoles"] = "" })
			},
			text: "Somebody has emptied `mapRoles`; what would bring it back:", run: "rolecall rollback 2 --dry-run",
		},
		{text: "From a script, without a question:", run: "rolecall rollback 2 --yes"},
	},
	"rolecall status": {
		{before: sample(true), text: "All is well:", run: "rolecall status"},
		{before: func(s *story) {
			s.AWS.Fail("GetGroup", awsfake.Deny())
			s.Mount(sampleConfig + "refreshInterval: 50s\n")
			s.Eventually("the source fails", func(ctx context.Context) error {
				r, err := s.Run(ctx, "status")
				if err == nil && !strings.Contains(r.Stdout, "failing for") {
					err = errors.New(r.Stdout)
				}
				return err
			})
		}, text: "IAM refuses to list a group's users:", run: "rolecall status", code: 1},
		{text: "Who may read less sees less:", run: "rolecall status --as=somebody", code: 2},
	},
	"rolecall upsert": {
		{
			before: sample(false), text: "The role of nodes that are about to come:",
			run: "rolecall upsert --role-arn arn:aws:iam::111122223333:role/new-nodes --username 'system:node:{{EC2PrivateDNSName}}' --groups system:bootstrappers,system:nodes --diff",
		},
		{text: "Again, which writes nothing:", run: "rolecall upsert --role-arn arn:aws:iam::111122223333:role/new-nodes --username 'system:node:{{EC2PrivateDNSName}}' --groups system:nodes,system:bootstrappers"},
	},
	"rolecall validate": {
		{text: "A config that the agent would take:", run: "rolecall validate config.yaml"},
		{before: broken, text: "One that it would not:", run: "rolecall validate broken.yaml", code: 1},
	},
	"rolecall version": {
		{text: "Which version this is, and of what it was built:", run: "rolecall version"},
	},
}
