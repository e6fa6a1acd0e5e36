package release_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// goreleaserConfig is what the tests look at of .goreleaser.yaml.
type goreleaserConfig struct {
	Builds []struct {
		Binary              string
		Goos, Goarch, Flags []string
		Ldflags             []string
		ModTimestamp        string `yaml:"mod_timestamp"`
	}
	Archives []struct {
		NameTemplate    string `yaml:"name_template"`
		Formats         []string
		FormatOverrides []struct {
			Goos    string
			Formats []string
		} `yaml:"format_overrides"`
		BuildsInfo struct{ MTime string } `yaml:"builds_info"`
		Files      []struct {
			Src  string
			Info struct{ MTime string }
		}
	}
	DockersV2 []struct {
		Dockerfile              string
		Images, Tags, Platforms []string
	} `yaml:"dockers_v2"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func goreleaser(t *testing.T) goreleaserConfig {
	t.Helper()
	var c goreleaserConfig
	if err := yaml.Unmarshal([]byte(read(t, "../.goreleaser.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Builds) != 1 || len(c.Archives) != 1 || len(c.DockersV2) != 1 {
		t.Fatalf("%d builds, %d archives, %d images: these tests know one of each", len(c.Builds), len(c.Archives), len(c.DockersV2))
	}
	return c
}

// GoReleaser itself takes the configuration, and finds nothing deprecated in it.
// "make release-check" builds it.
func TestGoReleaserCheck(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("goreleaser")
	if err != nil {
		if os.Getenv("ROLECALL_REQUIRE_GORELEASER") == "1" {
			t.Fatal(err)
		}
		t.Skip("NOT CHECKED by goreleaser itself, which is not on the PATH: make release-check")
	}
	if out, err := sh(t, "..", program, "check"); err != nil {
		t.Errorf("goreleaser check: %v\n%s", err, out)
	}
}

// The archives by platform, as GoReleaser names them.
func archives(t *testing.T, c goreleaserConfig) map[string]string {
	t.Helper()
	a := c.Archives[0]
	out := map[string]string{}
	for _, goos := range c.Builds[0].Goos {
		formats := a.Formats
		for _, o := range a.FormatOverrides {
			if o.Goos == goos {
				formats = o.Formats
			}
		}
		if len(formats) != 1 {
			t.Fatalf("%s has the formats %q, want one", goos, formats)
		}
		for _, goarch := range c.Builds[0].Goarch {
			name := strings.NewReplacer("{{ .ProjectName }}", "rolecall", "{{ .Os }}", goos, "{{ .Arch }}", goarch).Replace(a.NameTemplate)
			if strings.Contains(name, "{{") {
				t.Fatalf("the archives are named %q, of which this test knows not all", a.NameTemplate)
			}
			out[goos+"/"+goarch] = name + "." + formats[0]
		}
	}
	return out
}

// The manifest for kubectl's plugin manager offers what GoReleaser builds.
func TestKrewManifest(t *testing.T) {
	t.Parallel()
	// As krew-release-bot fills it in.
	archive := regexp.MustCompile(`\{\{addURIAndSha "([^"]+)" \.TagName \}\}`)
	filled := archive.ReplaceAllString(read(t, "../.krew.yaml"), "uri: $1\n    sha256: "+strings.Repeat("0", 64))
	filled = strings.ReplaceAll(filled, "{{ .TagName }}", "v1.2.3")
	if strings.Contains(filled, "{{") {
		t.Fatalf("there is more of a template in it than the tag and the archives:\n%s", filled)
	}
	var manifest struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Version, Homepage, ShortDescription, Description, Caveats string
			Platforms                                                 []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	if err := sigsyaml.UnmarshalStrict([]byte(filled), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || manifest.Kind != "Plugin" || manifest.Metadata.Name != "rolecall" || manifest.Spec.Version != "v1.2.3" {
		t.Errorf("%s %s %q of version %q", manifest.APIVersion, manifest.Kind, manifest.Metadata.Name, manifest.Spec.Version)
	}
	// krew's own limit: docs/naming-guide and the checks of krew-index.
	if n := len(manifest.Spec.ShortDescription); n == 0 || n > 50 {
		t.Errorf("the short description has %d letters, want 1 to 50", n)
	}
	c := goreleaser(t)
	var want, got []string
	for platform, name := range archives(t, c) {
		bin := c.Builds[0].Binary
		if strings.HasPrefix(platform, "windows/") {
			bin += ".exe"
		}
		want = append(want, fmt.Sprintf("%s https://github.com/rolecall/rolecall/releases/download/v1.2.3/%s %s", platform, name, bin))
	}
	for _, p := range manifest.Spec.Platforms {
		got = append(got, fmt.Sprintf("%s/%s %s %s", p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"], p.URI, p.Bin))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("platforms (-.goreleaser.yaml +.krew.yaml):\n%s", diff)
	}
}

// Nothing of the moment or the place gets into what is built.
func TestBuildsCanBeRepeated(t *testing.T) {
	t.Parallel()
	c := goreleaser(t)
	b := c.Builds[0]
	for _, flag := range []string{"-trimpath", "-buildvcs=false"} {
		if !slices.Contains(b.Flags, flag) {
			t.Errorf("built without %s", flag)
		}
	}
	if b.ModTimestamp != "{{ .CommitTimestamp }}" {
		t.Errorf("the binaries are of the time %q", b.ModTimestamp)
	}
	times := []string{c.Archives[0].BuildsInfo.MTime}
	for _, f := range c.Archives[0].Files {
		times = append(times, f.Info.MTime)
	}
	for _, mtime := range times {
		if mtime != "{{ .CommitDate }}" {
			t.Errorf("a file in the archives is of the time %q", mtime)
		}
	}
	text := read(t, "../.goreleaser.yaml")
	for _, moment := range []string{"{{ .Date }}", "{{ .Timestamp }}", "{{ .Now", "{{ time", "{{ .Branch }}"} {
		if strings.Contains(text, moment) {
			t.Errorf(".goreleaser.yaml has %s, which differs from build to build", moment)
		}
	}
}

// All three that build the binary set the same variables of it, and strip it.
func TestBuildsAreAlike(t *testing.T) {
	t.Parallel()
	variable := regexp.MustCompile(`-X (\S+?)=`)
	set := func(text string) (out []string) {
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			out = append(out, strings.Replace(m[1], "$(version_pkg)", "github.com/prometheus/common/version", 1))
		}
		slices.Sort(out)
		return out
	}
	want := set(strings.Join(goreleaser(t).Builds[0].Ldflags, " "))
	if len(want) < 4 {
		t.Fatalf("GoReleaser sets %q", want)
	}
	for _, name := range []string{"../Makefile", "../Dockerfile"} {
		text := read(t, name)
		if diff := cmp.Diff(want, set(text)); diff != "" {
			t.Errorf("variables (-.goreleaser.yaml +%s)\n%s", name, diff)
		}
		for _, flag := range []string{"-s -w", "-trimpath", "CGO_ENABLED=0"} {
			if !strings.Contains(text, flag) {
				t.Errorf("%s builds without %s", name, flag)
			}
		}
	}
}

// The image of a release and the one that is built from source run alike.
func TestImagesAreAlike(t *testing.T) {
	t.Parallel()
	ending := func(name string) string {
		text := read(t, name)
		i := strings.Index(text, "# By number")
		if i < 0 {
			t.Fatalf("%s has no line %q", name, "# By number")
		}
		return text[i:]
	}
	if diff := cmp.Diff(ending("../Dockerfile"), ending("Dockerfile")); diff != "" {
		t.Errorf("(-Dockerfile +release/Dockerfile)\n%s", diff)
	}
	base := regexp.MustCompile(`(?m)^ARG RUNTIME_IMAGE=.*$`)
	if a, b := base.FindString(read(t, "../Dockerfile")), base.FindString(read(t, "Dockerfile")); a == "" || a != b {
		t.Errorf("the bases are %q and %q", a, b)
	}
	d := goreleaser(t).DockersV2[0]
	if d.Dockerfile != "release/Dockerfile" {
		t.Errorf("GoReleaser builds %s", d.Dockerfile)
	}
	// The one that the manifests and the chart run.
	if diff := cmp.Diff([]string{"ghcr.io/rolecall/rolecall"}, d.Images); diff != "" {
		t.Errorf("images (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"v{{ .Version }}"}, d.Tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, d.Platforms); diff != "" {
		t.Errorf("platforms (-want +got)\n%s", diff)
	}
}
