package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden part of testdata")

// head is what every config.yaml begins with.
const head = "apiVersion: rolecall.dev/v1\nkind: Config\n"

// writeFiles makes a directory of files and goes into it, so that problems
// name the files by their keys alone.
func writeFiles(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGolden loads every configuration in testdata and compares the problems of
// the bad ones and the warnings of the good ones with what is written there.
func TestGolden(t *testing.T) {
	for _, kind := range []string{"bad", "warn"} {
		archives, err := filepath.Glob(filepath.Join("testdata", kind, "*.txtar"))
		if err != nil || len(archives) == 0 {
			t.Fatalf("testdata/%s: no archives (%v)", kind, err)
		}
		for _, path := range archives {
			t.Run(kind+"/"+strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
				archive, err := txtar.ParseFile(path)
				if err != nil {
					t.Fatal(err)
				}
				golden, err := filepath.Abs(path)
				if err != nil {
					t.Fatal(err)
				}
				files := map[string]string{}
				want := ""
				for _, f := range archive.Files {
					if f.Name == "golden" {
						want = string(f.Data)
						continue
					}
					files[f.Name] = string(f.Data)
				}
				writeFiles(t, files)

				file, err := Load(".")
				var said []Problem
				var list *Error
				switch {
				case kind == "warn" && err != nil:
					t.Fatalf("Load: %v", err)
				case kind == "warn":
					said = file.Warnings
				case !errors.As(err, &list):
					t.Fatalf("Load: got %v, want an *Error", err)
				default:
					said = list.Problems
				}
				var got strings.Builder
				for _, p := range said {
					got.WriteString(p.String() + "\n")
					if p.Line < 1 || p.File == "" {
						t.Errorf("problem without file or line: %+v", p)
					}
				}
				if *update {
					archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "golden" })
					archive.Files = append(archive.Files, txtar.File{Name: "golden", Data: []byte(got.String())})
					if err := os.WriteFile(golden, txtar.Format(archive), 0o600); err != nil {
						t.Fatal(err)
					}
					return
				}
				if diff := cmp.Diff(want, got.String()); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestGoldenNotEmpty guards the golden files themselves: none of the
// bad ones may be without a problem, nor any of the others without a warning.
func TestGoldenNotEmpty(t *testing.T) {
	archives, err := filepath.Glob(filepath.Join("testdata", "*", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		last := archive.Files[len(archive.Files)-1]
		if last.Name != "golden" || len(last.Data) == 0 {
			t.Errorf("%s: ends with %q of %d bytes, want a golden part", path, last.Name, len(last.Data))
		}
	}
}

// TestBytes has what a text archive cannot hold.
func TestBytes(t *testing.T) {
	for _, tc := range []struct {
		name, content, want string
	}{
		{"latin 1", head + "adopt: [caf\xe9]\n", `config.yaml:3: the byte 0xe9 (number 53 of the file) is not UTF-8: save the file as UTF-8`},
		{"cut off", head + "adopt: [caf\xc3", `config.yaml:3: the byte 0xc3 (number 53 of the file) is not UTF-8: save the file as UTF-8`},
		{"UTF-16", "\xff\xfea\x00p\x00", `config.yaml:1: the file is in UTF-16: save it as UTF-8`},
		{"NUL", head + "adopt:\n- a\x00b\n", `config.yaml:4: the file holds a NUL byte: remove it`},
		{"bell", head + "adopt: [\"\a\"]\n", `config.yaml:3: the file holds the control character U+0007: remove it`},
		{"delete", head + "adopt: [\x7f]\n", `config.yaml:3: the file holds the control character U+007F: remove it`},
		{"C1", head + "adopt: [\u0090]\n", `config.yaml:3: the file holds the control character U+0090: remove it`},
		{"no character", head + "adopt: [\uffff]\n", `config.yaml:3: the file holds the control character U+FFFF: remove it`},
		{"5 MB", head + strings.Repeat("# five million bytes\n", 5_000_000/21), `config.yaml:1: the file has 5000036 bytes, but a ConfigMap holds at most 1048576: shorten it, or name the right file`},
		{"a byte too many", strings.Repeat("#", 1<<20+1), `config.yaml:1: the file has 1048577 bytes, but a ConfigMap holds at most 1048576: shorten it, or name the right file`},
		{"nothing", "", `config.yaml:1: the file is empty: write apiVersion: rolecall.dev/v1 and kind: Config`},
		{"deep", head + "adopt: " + strings.Repeat("[", 20_000), `config.yaml:3: brackets stand in brackets deeper than any value here needs: remove them`},
		{"CRLF", strings.ReplaceAll(head+"adopt:\n- 1\n", "\n", "\r\n"), `config.yaml:4: adopt[0]: found the number 1 where a text belongs: put it in quotes, "1"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			writeFiles(t, map[string]string{"config.yaml": tc.content})
			_, err := Load(".")
			var list *Error
			if !errors.As(err, &list) {
				t.Fatalf("Load: got %v, want an *Error", err)
			}
			if diff := cmp.Diff(tc.want, list.Error()); diff != "" {
				t.Errorf("problem (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFaultLine has faults that stand far from where the YAML package puts them,
// or behind sound lines that look like them.
func TestFaultLine(t *testing.T) {
	sound := head + "adopt: [a,\n  b,\n  c]\naws: {region: \"x\n  y\",\n  roleARN: ''}\n" // 8 lines
	for _, tc := range []struct {
		name, content, want string
	}{
		{"at the end of many lines", sound + strings.Repeat("# x\n", 10_000) + "users:\n\t- x\n", "config.yaml:10010: the line is indented with a tab"},
		{"a list", sound + "accounts: [a,\n  b\nusers: []\n", "config.yaml:10: a list that is opened"},
		{"a quote", sound + strings.Repeat("\n", 1000) + "kind: \"x\nroles: []\n", "config.yaml:1009: a quote is opened here"},
		{"indentation", sound + "nodeRoles:\n   extra:\n" + strings.Repeat("    - x\n", 1000) + "  report: true\n", "config.yaml:1011: the line is no key"},
		{"in the first line", "a: b: c\n" + sound, "config.yaml:1: a \":\" stands"},
		{"in the last line", sound + "x", "config.yaml:9: a key without \":\""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			writeFiles(t, map[string]string{"config.yaml": tc.content})
			if _, err := Load("."); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s...", err, tc.want)
			}
		})
	}
}

func TestGoodBytes(t *testing.T) {
	for name, content := range map[string]string{
		"BOM":            "\ufeff" + head,
		"CRLF":           strings.ReplaceAll(head, "\n", "\r\n"),
		"no end of line": strings.TrimSuffix(head, "\n"),
		"JSON":           `{"apiVersion": "rolecall.dev/v1", "kind": "Config", "adopt": ["ü", "\u00fc"]}`,
		"just 1 MiB":     head + strings.Repeat("#", 1<<20-len(head)),
		"empty keys":     head + "aws:\nroles:\nadopt:\nsafety: {}\nkarpenter:\n  nodeRoleARNs:\n",
		"document mark":  "---\n" + head + "...\n",
	} {
		t.Run(name, func(t *testing.T) {
			writeFiles(t, map[string]string{"config.yaml": content})
			if _, err := Load("."); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLoad has every key, in config.yaml and in aws-auth's format.
func TestLoad(t *testing.T) {
	writeFiles(t, map[string]string{
		"config.yaml": head + `
refreshInterval: 1m30s
aws: {region: eu-west-3, roleARN: "arn:aws:iam::444455556666:role/path/reader"}
nodeRoles:
  report: false
  accounts: ["111122223333", $ACCOUNTID]
  extra: ["arn:$PARTITION:iam::$ACCOUNTID:role/$ACCOUNTID-new"]
  windows: [win, "arn:aws:iam::111122223333:role/x/win"]
  keepUnused: 720h
karpenter: {nodeRoleARNs: ["arn:aws:iam::111122223333:role/karpenter"]}
roles:
  - permissionSet: Admin+1
    groups: &shared [a, b]
  - {permissionSet: B, username: "b:{{SessionName}}", groups: *shared}
  - {arn: "arn:aws:iam::$ACCOUNTID:role/team/x", username: x}
iamGroups:
  - {name: G, groups: *shared}
  - {name: H, username: "h:{{UserName}}@{{AccountID}}", groups: [h]}
users:
  - {arn: "arn:aws:iam::111122223333:user/team/u", username: u, groups: [u]}
accounts: ["012345670123"]
adopt: [tool]
safety: {removalLimit: 0%, onMalformed: refuse, onConflict: adopt}
`,
		"mapRoles": `- "groups":
  - "system:masters"
  "permissionSet": "FromMap"
  "username": "{{SessionName}}"
- {rolearn: "arn:aws:iam::111122223333:role/x/m", username: m, groups: []}
`,
		"mapUsers":    `[{"userarn": "arn:aws:iam::111122223333:user/m", "username": "m", "groups": ["m"]}]`,
		"mapAccounts": "- '444455556666'\n- 012345670123\n",
	})
	file, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		RefreshInterval: 90 * time.Second,
		AWS:             AWS{Region: "eu-west-3", RoleARN: "arn:aws:iam::444455556666:role/path/reader"},
		NodeRoles: NodeRoles{
			Accounts:   []string{"111122223333", "$ACCOUNTID"},
			Extra:      []string{"arn:$PARTITION:iam::$ACCOUNTID:role/$ACCOUNTID-new"},
			Windows:    []string{"win", "arn:aws:iam::111122223333:role/win"},
			KeepUnused: 720 * time.Hour,
			Verify:     VerifyNone,
		},
		Karpenter: Karpenter{NodeRoleARNs: []string{"arn:aws:iam::111122223333:role/karpenter"}},
		Roles: []Role{
			{PermissionSet: "Admin+1", Username: "Admin+1:{{SessionName}}", Groups: []string{"a", "b"}},
			{PermissionSet: "B", Username: "b:{{SessionName}}", Groups: []string{"a", "b"}},
			{ARN: "arn:aws:iam::$ACCOUNTID:role/x", Username: "x"},
			{PermissionSet: "FromMap", Username: "{{SessionName}}", Groups: []string{"system:masters"}},
			{ARN: "arn:aws:iam::111122223333:role/m", Username: "m"},
		},
		IAMGroups: []IAMGroup{
			{Name: "G", Username: "{{UserName}}", Groups: []string{"a", "b"}},
			{Name: "H", Username: "h:{{UserName}}@{{AccountID}}", Groups: []string{"h"}},
		},
		Users: []User{
			{ARN: "arn:aws:iam::111122223333:user/team/u", Username: "u", Groups: []string{"u"}},
			{ARN: "arn:aws:iam::111122223333:user/m", Username: "m", Groups: []string{"m"}},
		},
		Accounts: []string{"012345670123", "444455556666", "012345670123"},
		Adopt:    []string{"tool"},
		Safety:   Safety{RemovalLimit: RemovalLimit{Percent: 0}, OnMalformed: Refuse, OnConflict: Adopt},
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if file.Path != "." {
		t.Errorf("path: got %q", file.Path)
	}
}

// TestSSOWrapper mounts the source ConfigMap of aws-iam-authenticator-sso-wrapper
// as its README shows it, without a config.yaml.
func TestSSOWrapper(t *testing.T) {
	writeFiles(t, map[string]string{
		"mapAccounts": "[]\n",
		"mapUsers":    "``",
		"mapRoles":    "- \"groups\":\n  - \"system:masters\"\n  \"permissionSet\": AdminRole\n  \"username\": \"AdminRole:{{SessionName}}\"\n",
	})
	file, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Roles = []Role{{PermissionSet: "AdminRole", Username: "AdminRole:{{SessionName}}", Groups: []string{"system:masters"}}}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if len(file.Warnings) > 0 {
		t.Errorf("warnings: %v", file.Warnings)
	}
}

// TestPath has the names under which problems are found again.
func TestPath(t *testing.T) {
	writeFiles(t, map[string]string{"config.yaml": "kind: X\n", "other.yaml": "kind: X\n"})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		".":                              "config.yaml:1: ",
		"other.yaml":                     "other.yaml:1: ",
		dir:                              filepath.Join(dir, "config.yaml") + ":1: ",
		filepath.Join(dir, "other.yaml"): filepath.Join(dir, "other.yaml") + ":1: ",
	} {
		if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Load(%q): got %v, want %s...", path, err, want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"none", "renamed", "dir", "pipe"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"renamed/config.yml", "none/.hidden"} {
		if err := os.WriteFile(name, []byte(head), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir("dir/config.yaml", 0o700), syscall.Mkfifo("pipe/config.yaml", 0o600), os.Symlink("nowhere", "dangling")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"missing":          `read config "missing": file does not exist: mount the ConfigMap there, or name the right place`,
		"dangling":         `read config "dangling": file does not exist: mount the ConfigMap there, or name the right place`,
		"none":             `read config "none": it has none of the keys config.yaml, mapAccounts, mapRoles, mapUsers: write one`,
		"renamed":          `read config "renamed": it has none of the keys config.yaml, mapAccounts, mapRoles, mapUsers: rename the key "config.yml" to config.yaml`,
		"dir":              `read config "dir": dir/config.yaml is no regular file: put a file there`,
		"pipe":             `read config "pipe": pipe/config.yaml is no regular file: put a file there`,
		"pipe/config.yaml": `read config "pipe/config.yaml": pipe/config.yaml is no regular file: put a file there`,
	} {
		_, err := Load(path)
		if err == nil || err.Error() != want {
			t.Errorf("Load(%q): got %v, want %s", path, err, want)
		}
		var list *Error
		if errors.As(err, &list) {
			t.Errorf("Load(%q): got an *Error, want an error of reading", path)
		}
		if missing := path == "missing" || path == "dangling"; errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("Load(%q): errors.Is(%v, fs.ErrNotExist) = %t", path, err, !missing)
		}
	}
}

func TestHash(t *testing.T) {
	hash := func(files map[string]string) string {
		t.Helper()
		writeFiles(t, files)
		file, err := Load(".")
		if err != nil {
			t.Fatal(err)
		}
		return file.Hash
	}
	plain := hash(map[string]string{"config.yaml": head})
	if len(plain) != 64 {
		t.Errorf("hash %q is no sha256 in hex", plain)
	}
	if got := hash(map[string]string{"config.yaml": head, "README": "not read"}); got != plain {
		t.Error("a file that is not read changes the hash")
	}
	writeFiles(t, map[string]string{"any.yaml": head})
	if file, err := Load("any.yaml"); err != nil || file.Hash != plain {
		t.Errorf("the same text as a single file: got %v, %v, want the hash %s", file, err, plain)
	}
	seen := map[string]string{plain: "plain"}
	for name, files := range map[string]map[string]string{
		"comment":    {"config.yaml": head + "#"},
		"empty key":  {"config.yaml": head, "mapRoles": ""},
		"other key":  {"config.yaml": head, "mapUsers": ""},
		"content":    {"config.yaml": head, "mapRoles": "[]"},
		"moved over": {"config.yaml": head, "mapAccounts": "[]", "mapRoles": ""},
		"together":   {"config.yaml": head + "#mapRoles"},
		"apart":      {"config.yaml": head + "#", "mapRoles": ""},
	} {
		got := hash(files)
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[got] = name
	}
}

func TestError(t *testing.T) {
	writeFiles(t, map[string]string{"config.yaml": head + "a: 1\nb: 1\nc: 1\n"})
	_, err := Load(".")
	if err == nil || !strings.HasPrefix(err.Error(), "config.yaml:3: a: ") || !strings.HasSuffix(err.Error(), " (and 2 more)") {
		t.Errorf("got %v, want the first problem and a count", err)
	}
	var list *Error
	if !errors.As(err, &list) || list.Problems[1].Column != 1 || list.Problems[1].Key != "b" {
		t.Errorf("got %+v, want the column and key of each problem", list)
	}
	writeFiles(t, map[string]string{"config.yaml": head + "adopt: [" + strings.Repeat("1,", 2*maxProblems) + "]\n"})
	if _, err := Load("."); !errors.As(err, &list) || len(list.Problems) != maxProblems {
		t.Errorf("got %d problems, want the bound of %d", len(list.Problems), maxProblems)
	}
}

// TestYAMLPanics holds that a panic of the YAML package ends nothing.
func TestYAMLPanics(t *testing.T) {
	if err := decodeNode(yaml.NewDecoder(panicking{}), new(yaml.Node)); err == nil {
		t.Error("got no error")
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("internal error (please report)") }

// TestAliases has those that a person writes; testdata/bad has the others.
func TestAliases(t *testing.T) {
	var text strings.Builder
	text.WriteString(head + "adopt: &g [a, b, c]\nroles:\n")
	for range 3000 {
		text.WriteString("  - {permissionSet: A, groups: *g}\n")
	}
	writeFiles(t, map[string]string{"config.yaml": text.String()})
	file, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(file.Config.Roles); n != 3000 {
		t.Errorf("got %d roles, want 3000", n)
	}
}
