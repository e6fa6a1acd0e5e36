package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/awsauth/authfile"
)

const linted = `kind: ConfigMap
metadata: {name: aws-auth}
data:
  mapRoles: |
    - rolearn: arn:aws:iam::111122223333:role/team/dev
      username: "\e[31mdev"
      groups: [system:master]
    - rolearn: arn:aws:iam::111122223333:role/a
      username: a
    - rolearn: arn:aws:iam::111122223333:role/a
      username: b
`

func TestSARIF(t *testing.T) {
	t.Parallel()
	found, err := authfile.Read("a b/aws-auth.yaml", []byte(linted))
	if err != nil {
		t.Fatal(err)
	}
	docs := append(docsOf("./a b/aws-auth.yaml", found), &lintDoc{label: "kube-system/aws-auth", data: map[string]string{"mapUsers": "a: b"}})
	var b bytes.Buffer
	if err := printSARIF(&b, newLintReport(docs)); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "lint.sarif")
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("run with -update if it is right (-want +got):\n%s", diff)
	}
}

// What GitHub asks of a file that it takes: every rule that a result names is
// there, with help, and every result has a message, a fingerprint of its own and
// a region in a relative path.
func TestSARIFForCodeScanning(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile(filepath.Join("testdata", "lint.sarif"))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var log sarifLog
	if err := dec.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 {
		t.Fatalf("version %q, %d runs", log.Version, len(log.Runs))
	}
	run := &log.Runs[0]
	if got, want := len(run.Tool.Driver.Rules), len(awsauth.Rules()); got != want {
		t.Errorf("%d rules of %d", got, want)
	}
	for _, r := range run.Tool.Driver.Rules {
		if r.ID == "" || r.ShortDescription.Text == "" || r.FullDescription.Text == "" || r.Help.Text == "" || r.Help.Markdown == "" || r.HelpURI == "" || r.DefaultConfiguration.Level == "" {
			t.Errorf("rule %q says too little", r.ID)
		}
	}
	seen := map[string]bool{}
	for _, r := range run.Results {
		if r.RuleIndex < 0 || r.RuleIndex >= len(run.Tool.Driver.Rules) || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("result of %s has index %d", r.RuleID, r.RuleIndex)
		}
		fingerprint := r.PartialFingerprints["rolecall/v1"]
		if r.Message.Text == "" || fingerprint == "" || seen[fingerprint] {
			t.Errorf("result of %s has no message or a fingerprint of another: %q", r.RuleID, fingerprint)
		}
		seen[fingerprint] = true
		for _, at := range append(r.Locations, r.RelatedLocations...) {
			if uri := at.PhysicalLocation.ArtifactLocation.URI; uri == "" || uri[0] == '/' || uri[0] == '.' || at.PhysicalLocation.Region.StartLine < 1 {
				t.Errorf("result of %s is at %+v", r.RuleID, at)
			}
		}
		if len(r.Locations) != 1 {
			t.Errorf("result of %s has %d places", r.RuleID, len(r.Locations))
		}
	}
	if len(run.Results) < 5 {
		t.Errorf("%d results", len(run.Results))
	}
}
