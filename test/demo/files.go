package main

// What stands in aws-auth before rolecall comes. Every byte of it must outlive
// the story.
const (
	foreignRoles = `# Break glass: ask #platform before you touch this one.
- rolearn: arn:aws:iam::111122223333:role/break-glass
  username: break-glass   # audited
  groups:
    - system:masters
- {rolearn: "arn:aws:iam::111122223333:role/ci", username: ci, groups: [deployers]}
`
	foreignUsers = `- userarn: arn:aws:iam::111122223333:user/legacy/batch
  username: batch
  groups: [batch]  # until the move is over
`
)

// The config that all nodes mount at first.
const firstConfig = `apiVersion: rolecall.dev/v1
kind: Config
refreshInterval: 10s
roles:
  - permissionSet: Admin          # not AdminReadOnly
    groups: [system:masters]
iamGroups:
  - name: Developers
    groups: [developers]
users:
  - arn: arn:aws:iam::$ACCOUNTID:user/ops
    username: ops
    groups: [viewers]
`

// What a person edits later.
const editedConfig = firstConfig + `nodeRoles:
  extra:
    - arn:$PARTITION:iam::$ACCOUNTID:role/gpu-nodes   # join tomorrow
`

// What a person gets wrong: an instance profile in place of a role.
const brokenConfig = firstConfig + `nodeRoles:
  extra:
    - arn:aws:iam::111122223333:instance-profile/gpu-nodes
`
