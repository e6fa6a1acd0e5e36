package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// awsModels reads commands of the AWS CLI, one a line, and says which operation,
// option or path of --query the services' own models do not have, and which
// option is missing. botocore carries the models; the AWS CLI is made of them.
const awsModels = `
import json, shlex, sys
try:
    import botocore.session
    from botocore import xform_name
except ImportError:
    sys.exit(77)
session = botocore.session.get_session()
OWN = {("eks", "update-kubeconfig")}  # the CLI's alone
GLOBAL = {"query", "output", "region", "profile"}
for line in json.load(sys.stdin):
    words = shlex.split(line)[1:]
    service, operation, rest = words[0], words[1], words[2:]
    if (service, operation) in OWN:
        continue
    try:
        model = session.get_service_model(service)
    except Exception as e:
        print(f"{line}: there is no service {service}")
        continue
    names = {xform_name(n, "-"): n for n in model.operation_names}
    if operation not in names:
        print(f"{line}: {service} has no operation {operation}")
        continue
    op = model.operation_model(names[operation])
    members = {xform_name(n, "-"): n for n in op.input_shape.members}
    given, query = set(), ""
    for i, word in enumerate(rest):
        if not word.startswith("--"):
            continue
        name = word[2:].split("=")[0]
        given.add(name)
        if name == "query":
            query = rest[i + 1]
        elif name not in members and name not in GLOBAL:
            print(f"{line}: {operation} has no option --{name}")
        elif name in members:
            enum = getattr(op.input_shape.members[members[name]], "enum", None)
            if enum and rest[i + 1] not in enum:
                print(f"{line}: --{name} is one of {enum}")
    for name in op.input_shape.required_members:
        if xform_name(name, "-") not in given:
            print(f"{line}: {operation} needs --{xform_name(name, '-')}")
    shape = op.output_shape
    for part in query.split(".") if query else []:
        if shape.type_name != "structure" or part not in shape.members:
            print(f"{line}: {operation} answers with no {query}")
            break
        shape = shape.members[part]
`

// Every command of the AWS CLI in docs has an operation and options that the
// services have.
func TestAWSCommands(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("NOT CHECKED: no python3 with botocore here")
	}
	check := func(lines []string) string {
		input, err := json.Marshal(lines)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), python, "-c", awsModels)
		cmd.Stdin = bytes.NewReader(input)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 77 {
			t.Skip("NOT CHECKED: python3 has no botocore here")
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if got := check([]string{
		"aws eks describe-clusters --name x",
		"aws eks describe-cluster --nam x",
		"aws eks describe-cluster --name x --query cluster.accessConfig.mode",
		"aws ec2 create-vpc-endpoint --vpc-endpoint-type Interfaces --vpc-id x",
	}); strings.Count(got, "\n") != 5 {
		t.Fatalf("this test sees too little or too much:\n%s", got)
	}

	var lines []string
	paths, err := os.ReadDir("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range paths {
		if !strings.HasSuffix(entry.Name(), ".md") {
			continue
		}
		text, err := os.ReadFile("../../docs/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		page := regexp.MustCompile(`\\\n *`).ReplaceAllString(string(text), " ")
		for _, m := range regexp.MustCompile("(?m)(?:^ *|`)(aws [a-z0-9-]+ [a-z][^`\n#]*)").FindAllStringSubmatch(page, -1) {
			lines = append(lines, strings.TrimSpace(m[1]))
		}
	}
	if len(lines) < 12 {
		t.Errorf("%d commands only", len(lines))
	}
	if got := check(lines); got != "" {
		t.Error(got)
	}
}
