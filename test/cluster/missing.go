package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// plugins is where Debian's package containernetworking-plugins puts them, and
// where others do.
var plugins = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

// programs that are needed, each with its Debian package.
var programs = []struct{ name, pkg string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"buildah", "buildah"},
	{"busybox", "busybox-static"},
	{"ip", "iproute2"},
	{"nsenter", "util-linux"},
	{"go", ""}, // how else would this have been built
}

// Missing says what this machine lacks to run a cluster, a sentence each; none if
// it can.
func Missing() []string {
	if runtime.GOOS != "linux" {
		return []string{"nodes run on Linux, and this is " + runtime.GOOS}
	}
	var missing, packages []string
	if os.Geteuid() != 0 {
		missing = append(missing, "it takes root: containers, network namespaces and mounts are made")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p.name); err != nil {
			missing = append(missing, p.name+" is not on the PATH")
			packages = append(packages, p.pkg)
		}
	}
	if _, err := pluginFolder(); err != nil {
		missing = append(missing, err.Error())
		packages = append(packages, "containernetworking-plugins")
	}
	if len(packages) > 0 {
		slices.Sort(packages)
		missing = append(missing, "on Debian: apt-get install --no-install-recommends "+strings.Join(slices.Compact(packages), " "))
	}
	return missing
}

// pluginFolder is where the CNI plugins are.
func pluginFolder() (string, error) {
	for _, dir := range plugins {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("there are no CNI plugins in %s", strings.Join(plugins, ", "))
}
