package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A kubelet writes a mounted ConfigMap as the real one does, step by step
// (https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/volume/util/atomic_writer.go#L90).
type kubelet struct {
	t     testing.TB
	dir   string
	count int
}

// newKubelet mounts a ConfigMap at dir, which it makes.
func newKubelet(t testing.TB, dir string, data map[string]string) *kubelet {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	k := &kubelet{t: t, dir: dir}
	k.swap(data)
	return k
}

// swap brings a new content of the ConfigMap. It belongs in the test's goroutine.
func (k *kubelet) swap(data map[string]string) {
	k.t.Helper()
	if err := k.write(data); err != nil {
		k.t.Fatal(err)
	}
}

// write is swap for other goroutines.
func (k *kubelet) write(data map[string]string) error {
	k.count++
	name := fmt.Sprintf("..2026_01_02_03_04_05.%09d", k.count)
	next, link := filepath.Join(k.dir, name), filepath.Join(k.dir, "..data")
	old, _ := os.Readlink(link)
	if err := os.Mkdir(next, 0o755); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if err := os.WriteFile(filepath.Join(next, key), []byte(data[key]), 0o644); err != nil {
			return err
		}
	}
	if err := errors.Join(
		os.Chmod(next, 0o755),
		os.Symlink(name, filepath.Join(k.dir, "..data_tmp")),
		os.Rename(filepath.Join(k.dir, "..data_tmp"), link),
	); err != nil {
		return err
	}
	for key := range data {
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(k.dir, key)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if old == "" {
		return nil
	}
	gone, err := os.ReadDir(filepath.Join(k.dir, old))
	if err != nil {
		return err
	}
	for _, e := range gone {
		if _, ok := data[e.Name()]; !ok {
			if err := os.Remove(filepath.Join(k.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(filepath.Join(k.dir, old))
}
