package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A Mount is a directory with a ConfigMap in it, as the kubelet keeps it on a
// node: every key is a link into ..data, which is a link to a directory of one
// generation, and a new generation comes by one rename of ..data
// (https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/volume/util/atomic_writer.go#L90).
type Mount struct {
	dir string

	mu    sync.Mutex
	count int
}

// NewMount makes the directory and mounts the files, by name, in it.
func NewMount(dir string, files map[string]string) (*Mount, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	m := &Mount{dir: dir}
	return m, m.Swap(files)
}

// Dir is the directory.
func (m *Mount) Dir() string { return m.dir }

// Swap brings a new generation of all files; those that it leaves out go.
func (m *Mount) Swap(files map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data := filepath.Join(m.dir, "..data")
	old, err := os.Readlink(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.count++
	generation := fmt.Sprintf("..2026_01_02_03_04_05.%09d", m.count)
	if err := os.Mkdir(filepath.Join(m.dir, generation), 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(m.dir, generation, name), []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink(generation, data+"_tmp"); err != nil {
		return err
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		return err
	}
	for name := range files {
		err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if old == "" {
		return nil
	}
	return m.drop(old, files)
}

// drop removes a generation, and the links to files that the present one lacks.
func (m *Mount) drop(generation string, files map[string]string) error {
	gone, err := os.ReadDir(filepath.Join(m.dir, generation))
	if err != nil {
		return err
	}
	for _, file := range gone {
		if _, ok := files[file.Name()]; ok {
			continue
		}
		if err := os.Remove(filepath.Join(m.dir, file.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(m.dir, generation))
}
