package awsauth

import (
	"fmt"
	"slices"
	"strings"
)

// LostAccess lists the entries of one document by which a principal has access that
// it has not by the other: nobody is let in there in its stead, or under another
// username, or without one of the groups. An entry that lets in no principal that can
// exist ([Entry.Unmatched]), or that another one keeps from answering, gives no access
// and loses none. A key that cannot be read is empty, as it is to the authenticator.
// The order is that of the document: roles, users, accounts.
func LostAccess(before, after map[string]string) []Entry {
	was, _ := readAll(before)
	is, _ := readAll(after)
	a, b := was.resolver(), is.resolver()
	var lost []Entry
	for _, list := range [][]mapping{was.roles, was.users} {
		for i := range list {
			m := &list[i]
			answers, ok := a[key(m.ARN)]
			if !m.inForce() || !ok || m.Unmatched() != "" || !sameGrant(answers, m.Entry) || answers.Kind != m.Kind {
				continue
			}
			if now, ok := b[key(m.ARN)]; ok && now.Unmatched() == "" && (m.Username == "" || now.Username == m.Username) && includes(now.Groups, m.Groups) {
				continue
			}
			if !slices.ContainsFunc(lost, func(e Entry) bool { return e.Kind != Account && key(e.ARN) == key(m.ARN) }) {
				lost = append(lost, m.Entry)
			}
		}
	}
	for i := range was.accounts {
		m := &was.accounts[i]
		if m.inForce() && m.Unmatched() == "" && !slices.ContainsFunc(is.accounts, func(o mapping) bool { return o.inForce() && o.ARN == m.ARN }) {
			lost = append(lost, m.Entry)
		}
	}
	return lost
}

// DescribeLost says in one clause who loses access, of what [LostAccess] lists: whether
// nodes and administrators are among them, and the first three names.
func DescribeLost(lost []Entry) string {
	nodes, admins := 0, 0
	var names []string
	for i := range lost {
		e := &lost[i]
		if isNode(&mapping{Entry: *e}) {
			nodes++
		} else if slices.Contains(e.Groups, Masters) {
			admins++
		}
		name := e.ARN
		if e.Kind != Account {
			name = name[strings.LastIndexByte(name, ':')+1:]
		} else {
			name = "account " + name
		}
		if len(names) < 3 {
			names = append(names, name)
		}
	}
	if len(lost) > len(names) {
		names = append(names, fmt.Sprintf("%d more", len(lost)-len(names)))
	}
	who := strings.Join(names, ", ")
	switch {
	case nodes > 0 && admins > 0:
		return "nodes and administrators are locked out: " + who
	case nodes > 0 && nodes == len(lost):
		return "every node of these roles is locked out: " + who
	case nodes > 0:
		return "nodes are locked out, and others lose access: " + who
	case admins > 0:
		return "administrators lose access: " + who
	}
	return "these lose access: " + who
}
