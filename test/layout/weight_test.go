package layout_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
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

// The linker leaves out of the program the methods that nobody calls, unless
// something that is in it calls methods by names that come with its data: then
// it keeps all methods of all types, among them every call that EC2 knows. So
// does text/template, and html/template, as soon as one is executed. Imports
// don't tell: many packages import one for its escaping alone.
func TestTheLinkerDropsWhatNobodyCalls(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w -dumpdep", "-o", filepath.Join(t.TempDir(), "rolecall"), "./cmd/rolecall")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var dump bytes.Buffer
	cmd.Stderr = &dump
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, dump.Bytes()[:min(dump.Len(), 10_000)])
	}
	way, callers := byName(dump.String())
	if len(way) == 0 {
		t.Fatalf("the linker's dump of %d bytes names no function: the test sees too little", dump.Len())
	}
	if len(callers) > 0 {
		t.Errorf("methods are called by name, so the linker keeps all of them: 50 MiB more in the program that every node runs. It is reached so:\n\t%s\n"+
			"Those that do it, of which all but the first may be there because of the first only:\n\t%s",
			strings.Join(way, "\n\t→ "), strings.Join(callers, "\n\t"))
	}
}

// byName reads what the linker's -dumpdep prints: a line for each symbol that it
// keeps, with the one that it is kept for, and again for a type of which more is
// needed. It returns the functions that call
// methods by name and the way to the first; if there is none, the way to main.
func byName(dump string) (way, callers []string) {
	flags := regexp.MustCompile(` (<UsedInIface>)?(<ReflectMethod>)?$`)
	keptFor := map[string]string{}
	for line := range strings.Lines(dump) {
		from, to, found := strings.Cut(strings.TrimSuffix(line, "\n"), " -> ")
		if !found {
			continue
		}
		name := flags.ReplaceAllString(to, "")
		if _, again := keptFor[name]; again {
			continue
		}
		keptFor[name] = flags.ReplaceAllString(from, "")
		if strings.HasSuffix(to, "<ReflectMethod>") {
			callers = append(callers, name)
		}
	}
	at := "main.main"
	if len(callers) > 0 {
		at = callers[0]
	}
	for ; keptFor[at] != ""; at = keptFor[at] {
		way = append(way, at)
	}
	slices.Reverse(way)
	return way, callers
}
