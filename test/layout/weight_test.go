package layout_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The library is light: it brings along as many packages as docs/library.md
// says, of these modules and no others.
func TestTheLibraryIsLight(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.Module.Path}}{{end}}", "./awsauth")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	others := slices.DeleteFunc(packages, func(path string) bool { return path == module })
	page, err := os.ReadFile("../../docs/library.md")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`It brings along (\d+) packages`).FindSubmatch(page)
	if said == nil || string(said[1]) != strconv.Itoa(len(others)) {
		t.Errorf("it brings along %d packages, and docs/library.md says %q", len(others), said)
	}
	modules := slices.Clone(others)
	slices.Sort(modules)
	want := []string{
		"github.com/fxamacker/cbor/v2", "github.com/go-logr/logr", "github.com/json-iterator/go", "github.com/modern-go/concurrent",
		"github.com/modern-go/reflect2", "github.com/x448/float16", "go.yaml.in/yaml/v2", "go.yaml.in/yaml/v3", "golang.org/x/net",
		"golang.org/x/text", "gopkg.in/inf.v0", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/klog/v2", "k8s.io/kube-openapi", "k8s.io/utils",
		"sigs.k8s.io/json", "sigs.k8s.io/randfill", "sigs.k8s.io/structured-merge-diff/v6", "sigs.k8s.io/yaml",
	}
	if diff := cmp.Diff(want, slices.Compact(modules)); diff != "" {
		t.Errorf("modules of the packages (-want +got):\n%s", diff)
	}
}
