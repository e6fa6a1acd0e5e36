package config

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/rolecall/rolecall/awsauth"
)

// FuzzLoad holds that any files either make a configuration with nothing left
// to check, or problems that a person can find.
func FuzzLoad(f *testing.F) {
	archives, err := filepath.Glob(filepath.Join("testdata", "*", "*.txtar"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		var main, roles string
		for _, file := range archive.Files {
			switch file.Name {
			case mainKey:
				main = string(file.Data)
			case mapRoles, mapUsers, mapAccounts:
				roles = string(file.Data)
			}
		}
		f.Add(main, roles)
	}
	f.Add("a: &a [*a]\n? {{x}}\n", "- *a\n")
	f.Add("\xef\xbb\xbf%YAML 1.1\n---\n", "\x85'")
	for _, text := range []string{
		"\xff\xfea\x00", "\xfe\xff\x00a", "a: \xff", "a: b\x00", "a: \"\x1b[2J\u202e\u2028\"", "a: \u009b",
		strings.Repeat("[", 200), strings.Repeat("a: {", 100), strings.Repeat("- ", 200), strings.Repeat("? ", 100),
		"&a [x, x]", "- &a [x, x]\n- &b [*a, *a]\n- [*b, *b]\n", "a: &a {b: *a}", "<<: [{a: b}]", "a: !!binary aGk=\n", "a: !!python/object:x {}\n",
	} {
		f.Add(text, text)
		f.Add(head+text, text)
	}
	f.Fuzz(func(t *testing.T, main, mapped string) {
		files := map[string]string{mainKey: main, mapRoles: mapped, mapUsers: mapped, mapAccounts: mapped}
		var snap snapshot
		for _, key := range sourceKeys() {
			snap.sources = append(snap.sources, source{key: key, path: key, content: []byte(files[key]), size: int64(len(files[key]))})
		}
		file, err := snap.load("dir")
		if err == nil {
			checkConfig(t, file.Config)
			return
		}
		var list *Error
		if !errors.As(err, &list) || len(list.Problems) == 0 {
			t.Fatalf("got %v, want an *Error with problems", err)
		}
		for _, p := range list.Problems {
			lines := 1 + breaks(files[p.File])
			if p.File == "" || p.Line < 1 || p.Line > lines || p.Message == "" {
				t.Errorf("a problem that nobody can find in %d lines: %+v", lines, p)
			}
			if s := p.String(); strings.ContainsAny(s, "\n\r") || len(s) > 4*maxText {
				t.Errorf("a problem that is no sentence: %q", s)
			}
		}
		if !slices.IsSortedFunc(list.Problems, func(a, b Problem) int {
			if a.File == b.File {
				return a.Line - b.Line
			}
			return strings.Compare(a.File, b.File)
		}) {
			t.Errorf("not sorted: %v", list.Problems)
		}
	})
}

// breaks counts the line breaks of YAML 1.1, which the parser knows.
func breaks(s string) int {
	return strings.Count(strings.ReplaceAll(s, "\r\n", "\n"), "\n") +
		strings.Count(strings.ReplaceAll(s, "\r\n", "\n"), "\r") +
		strings.Count(s, "\u0085") + strings.Count(s, "\u2028") + strings.Count(s, "\u2029")
}

func checkConfig(t *testing.T, c Config) {
	t.Helper()
	canonical := func(arn string, check func(string) (string, error)) {
		t.Helper()
		expanded, err := Expand(arn, "111122223333", "aws")
		if err != nil {
			t.Errorf("ARN %q: %v", arn, err)
			return
		}
		if got, err := check(expanded); err != nil || got != expanded {
			t.Errorf("ARN %q is not canonical: %q, %v", arn, got, err)
		}
	}
	identity := func(username string, groups []string) {
		t.Helper()
		if err := awsauth.CheckUsername(username); err != nil {
			t.Errorf("username: %v", err)
		}
		for _, g := range groups {
			if err := awsauth.CheckGroup(g); err != nil {
				t.Errorf("group: %v", err)
			}
		}
	}
	if c.RefreshInterval < minRefresh || c.NodeRoles.KeepUnused < 0 || c.Safety.RemovalLimit.Percent < 0 || c.Safety.RemovalLimit.Percent > 100 {
		t.Errorf("out of range: %+v", c)
	}
	for _, arn := range slices.Concat(c.NodeRoles.Extra, c.Karpenter.NodeRoleARNs) {
		canonical(arn, awsauth.RoleARN)
	}
	for _, role := range c.NodeRoles.Windows {
		if strings.ContainsAny(role, ":/") {
			canonical(role, awsauth.RoleARN)
		} else {
			canonical("arn:aws:iam::111122223333:role/"+role, awsauth.RoleARN)
		}
	}
	for _, r := range c.Roles {
		identity(r.Username, r.Groups)
		switch {
		case (r.ARN == "") == (r.PermissionSet == ""):
			t.Errorf("not exactly one of ARN and permission set: %+v", r)
		case r.ARN != "":
			canonical(r.ARN, awsauth.RoleARN)
		}
	}
	for _, g := range c.IAMGroups {
		identity(strings.ReplaceAll(g.Username, "{{UserName}}", "user"), g.Groups)
		if g.Name == "" || len(g.Groups) == 0 {
			t.Errorf("group without name or groups: %+v", g)
		}
	}
	for _, u := range c.Users {
		identity(u.Username, u.Groups)
		canonical(u.ARN, awsauth.UserARN)
	}
	for _, id := range slices.Concat(c.Accounts, c.NodeRoles.Accounts) {
		if expanded, err := Expand(id, "111122223333", "aws"); err != nil || awsauth.CheckAccountID(expanded) != nil {
			t.Errorf("account %q: %v", id, err)
		}
	}
}
