package faults_test

import (
	"github.com/rolecall/rolecall/test/fleet"
	"github.com/rolecall/rolecall/test/trial"
)

// What others wrote into aws-auth, and what must be there at every version,
// byte for byte.
var foreignText = map[string]string{
	"mapRoles": `# Break glass: ask #platform first.
- rolearn: arn:aws:iam::111122223333:role/break-glass
  username: break-glass   # audited
  groups:
      - system:masters
- {rolearn: "arn:aws:iam::111122223333:role/ci", username: ci, groups: [deployers], owner: "team-ci"}
`,
	"mapUsers": `- userarn: arn:aws:iam::111122223333:user/legacy/batch
  username: batch # until the move is over
  groups: [batch]
`,
	"mapAccounts": "- \"444455556666\" # the partner\n",
	"unknown":     "key",
}

// foreign is what it maps.
var foreign = []fleet.Mapping{
	others("role/break-glass", "break-glass", "system:masters"), others("role/ci", "ci", "deployers"),
	others("user/legacy/batch", "batch", "batch"),
	{ARN: "444455556666"},
}

// others is an entry without a mark.
func others(arn, username string, groups ...string) fleet.Mapping {
	return fleet.Mapping{ARN: trial.Account + arn, Username: username, Groups: groups}
}

// with is what others have, and this.
func with(more ...fleet.Mapping) []fleet.Mapping {
	return append(foreign[:len(foreign):len(foreign)], more...)
}

// Configs without IAM: every pass has all that it needs. One user is in all.
const (
	head = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 1h
`
	opsOnly = head + `users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [viewers]}
`
	opsAndAna = opsOnly + `  - {arn: "arn:aws:iam::111122223333:user/ana", username: ana, groups: [developers]}
`
	opsEdits = head + `users:
  - {arn: "arn:aws:iam::111122223333:user/ops", username: ops, groups: [editors]}
`
	withAccount = opsOnly + `accounts: ["555566667777"]
`
)

var (
	ops     = trial.Ours("user/ops", "ops", "viewers")
	editing = trial.Ours("user/ops", "ops", "editors")
	ana     = trial.Ours("user/ana", "ana", "developers")
)
