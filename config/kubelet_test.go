package config

import (
	"fmt"
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
	k := &kubelet{t: t, dir: dir}
	k.must(os.Mkdir(dir, 0o755))
	k.swap(data)
	return k
}

// swap brings a new content of the ConfigMap.
func (k *kubelet) swap(data map[string]string) {
	k.t.Helper()
	link := filepath.Join(k.dir, "..data")
	old, _ := os.Readlink(link)
	k.count++
	generation := fmt.Sprintf("..2026_01_02_03_04_05.%09d", k.count)
	k.must(os.Mkdir(filepath.Join(k.dir, generation), 0o755))
	for _, key := range slices.Sorted(maps.Keys(data)) {
		k.must(os.WriteFile(filepath.Join(k.dir, generation, key), []byte(data[key]), 0o644))
	}
	k.must(os.Chmod(filepath.Join(k.dir, generation), 0o755))
	k.must(os.Symlink(generation, filepath.Join(k.dir, "..data_tmp")))
	k.must(os.Rename(filepath.Join(k.dir, "..data_tmp"), link))
	for key := range data {
		if _, err := os.Lstat(filepath.Join(k.dir, key)); err != nil {
			k.must(os.Symlink(filepath.Join("..data", key), filepath.Join(k.dir, key)))
		}
	}
	if old == "" {
		return
	}
	gone, err := os.ReadDir(filepath.Join(k.dir, old))
	k.must(err)
	for _, e := range gone {
		if _, ok := data[e.Name()]; !ok {
			k.must(os.Remove(filepath.Join(k.dir, e.Name())))
		}
	}
	k.must(os.RemoveAll(filepath.Join(k.dir, old)))
}

func (k *kubelet) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}
