package config

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// isSubPath reports whether a configuration is mounted with subPath, given the
// text of /proc/self/mountinfo (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
//
// The kubelet resolves a subPath when the container starts and binds what it
// finds, in the directory of that moment's generation
// (https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/volume/util/subpath/subpath_linux.go#L185).
// So a file is a mount of its own, and a directory is one whose root lies in a
// generation, a name that begins with two dots. A file bound in any other way
// is no different: a new file under the old name does not show.
func isSubPath(mountinfo, path string) bool {
	points := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if _, err := os.Lstat(filepath.Join(path, generationLink)); err == nil {
			return false
		}
		for _, key := range sourceKeys() {
			points = append(points, filepath.Join(path, key))
		}
	}
	for i, p := range points {
		// A mount point is listed by its real path.
		if resolved, err := filepath.EvalSymlinks(p); err == nil {
			points[i] = resolved
		}
	}
	lines := bufio.NewScanner(strings.NewReader(mountinfo))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		root, point := unescapeMount(fields[3]), unescapeMount(fields[4])
		if !slices.Contains(points, point) {
			continue
		}
		if info, err := os.Stat(point); err == nil && !info.IsDir() || inGeneration(root) {
			return true
		}
	}
	return false
}

func inGeneration(root string) bool {
	for name := range strings.SplitSeq(root, "/") {
		if strings.HasPrefix(name, "..") {
			return true
		}
	}
	return false
}

// unescapeMount undoes the octal escapes of blanks and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
