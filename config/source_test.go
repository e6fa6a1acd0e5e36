package config

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestReadOneGeneration reads while the kubelet swaps as fast as it can.
// Whatever is read must be of one generation and whole.
func TestReadOneGeneration(t *testing.T) {
	generation := func(n int) map[string]string {
		text := "# " + strconv.Itoa(n) + "\n"
		return map[string]string{mainKey: text, mapAccounts: text, mapRoles: text, mapUsers: text}
	}
	dir := filepath.Join(t.TempDir(), "mount")
	k := newKubelet(t, dir, generation(0))
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
				if err := k.write(generation(n)); err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	defer func() {
		close(stop)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	}()
	seen := map[string]bool{}
	for len(seen) < 100 {
		snap, err := read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(snap.sources) != 4 {
			t.Fatalf("read %d of 4 files", len(snap.sources))
		}
		for _, f := range snap.sources {
			if got, want := string(f.content), string(snap.sources[0].content); got != want {
				t.Fatalf("%s is of generation %s and %s of %s", f.key, got, snap.sources[0].key, want)
			}
		}
		seen[string(snap.sources[0].content)] = true
		// A single key of the mount is read as a file, through two links.
		single, err := read(filepath.Join(dir, mainKey))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(single.sources[0].content), "# ") {
			t.Fatalf("read %q", single.sources[0].content)
		}
	}
}

// TestReadRestless holds that a read of a directory that never rests ends.
func TestReadRestless(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), map[string]string{mainKey: head})
	reads := 0
	_, err := readStable(k.dir, func(dir, current string) (snapshot, error) {
		reads++
		snap, err := readKeys(dir, current)
		k.swap(map[string]string{mainKey: head + "# " + strconv.Itoa(reads)})
		return snap, err
	})
	if err == nil || reads != maxReads {
		t.Errorf("got %v after %d readings, want an error after %d", err, reads, maxReads)
	}
}

// TestReadVanishing holds that files which vanish with their generation are
// no error, but files which are not there are.
func TestReadVanishing(t *testing.T) {
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), map[string]string{mainKey: head, mapRoles: "[]"})
	reads := 0
	snap, err := readStable(k.dir, func(dir, current string) (snapshot, error) {
		if reads++; reads == 1 {
			k.swap(map[string]string{mainKey: head + "# new"})
			_, err := readKeys(dir, current)
			return snapshot{}, errors.Join(err, errors.New("the old files are gone"))
		}
		return readKeys(dir, current)
	})
	if err != nil || reads != 2 {
		t.Fatalf("got %v after %d readings, want the second to be right", err, reads)
	}
	if len(snap.sources) != 1 || string(snap.sources[0].content) != head+"# new" {
		t.Errorf("read %v, want the new generation", snap.sources)
	}
}
