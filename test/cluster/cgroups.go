package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// groups is the control group below which all nodes have theirs.
const groups = "rolecall-e2e"

// hierarchies are the roots of the control groups: one with cgroup v2, one for
// each controller with v1.
func hierarchies() ([]string, error) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		// "unified" is v2 beside v1, and has no controllers then.
		if e.IsDir() && e.Name() != "unified" {
			all = append(all, filepath.Join(root, e.Name()))
		}
	}
	return all, nil
}

// makeGroup makes a node's control group, which its kubelet wants to find, and
// returns its name.
func makeGroup(node string) (string, error) {
	roots, err := hierarchies()
	if err != nil {
		return "", err
	}
	for _, root := range roots {
		for _, dir := range []string{filepath.Join(root, groups), filepath.Join(root, groups, node)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return "", err
			}
			if err := inherit(filepath.Dir(dir), dir); err != nil {
				return "", err
			}
		}
	}
	return "/" + groups + "/" + node, nil
}

// inherit gives a new group what the kernel leaves empty: with v1 its processors
// and memory nodes, with v2 its controllers.
func inherit(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && len(text) > 1 {
			err = os.WriteFile(filepath.Join(dir, file), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	switched := filepath.Join(parent, "cgroup.subtree_control")
	if _, err := os.Stat(switched); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.WriteFile(switched, []byte("+cpu +cpuset +memory +pids"), 0o600)
}

// removeGroups removes the groups of all nodes, from the leaves on. Processes that
// were in them have ended.
func removeGroups() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	roots = append(roots, "/sys/fs/cgroup/unified") // where there is one, runc makes groups in it too
	var errs []error
	for _, root := range roots {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(root, groups), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
