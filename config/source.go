package config

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The keys of a mounted ConfigMap that are read.
const (
	mainKey     = "config.yaml"
	mapAccounts = "mapAccounts"
	mapRoles    = "mapRoles"
	mapUsers    = "mapUsers"
)

// sourceKeys returns the keys that are read, in the order in which they are.
func sourceKeys() []string { return []string{mainKey, mapAccounts, mapRoles, mapUsers} }

// generationLink is the link that the kubelet turns over to a new directory
// when a ConfigMap changes
// (https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/volume/util/atomic_writer.go#L68).
const generationLink = "..data"

// A source is one file of a configuration.
type source struct {
	key     string // which key of the ConfigMap it is
	path    string // as a person would open it
	content []byte // at most one byte more than maxSize
	size    int64  // of the whole file
}

// A snapshot is what the files of a configuration said at one moment.
type snapshot struct {
	sources []source // in the order of sourceKeys
	unknown []string // names of other files in the directory, sorted
	// misnamed are those that were meant as a key that is read, with that key.
	misnamed []misnamed
}

type misnamed struct{ name, key string }

// seen tells all that load goes by apart: the hash, and the names that it refuses.
func (s snapshot) seen() string {
	text := s.hash()
	for _, m := range s.misnamed {
		text += " " + m.name
	}
	return text
}

// hash tells snapshots with different content apart. It depends neither on where
// the files are nor on files that are not read.
func (s snapshot) hash() string {
	h := sha256.New()
	for _, f := range s.sources {
		// Lengths keep a text from moving from one file to the next unseen.
		for _, part := range [][]byte{[]byte(f.key), f.content} {
			_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
			h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// maxReads is how many generations of a mount may pass by before a read gives
// up. The kubelet makes at most about one a minute.
const maxReads = 100

// read takes the files of a configuration, all of one generation.
func read(path string) (snapshot, error) {
	dir, readGeneration := filepath.Dir(path), readKey(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		dir, readGeneration = path, readKeys
	}
	snap, err := readStable(dir, readGeneration)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return snapshot{}, fmt.Errorf("read config %q: %w: mount the ConfigMap there, or name the right place", path, fs.ErrNotExist)
	case err != nil:
		return snapshot{}, fmt.Errorf("read config %q: %w", path, err)
	}
	return snap, nil
}

// A reader reads the files of dir, which at the moment are in current.
type reader func(dir, current string) (snapshot, error)

// readStable reads the files of a directory. In one that the kubelet writes, it
// reads through ..data, and again if that was turned over meanwhile: only then
// can the files of the old generation have begun to vanish.
func readStable(dir string, readGeneration reader) (snapshot, error) {
	for range maxReads {
		before, err := generation(dir)
		if err != nil {
			return snapshot{}, err
		}
		snap, err := readGeneration(dir, before)
		after, err2 := generation(dir)
		if err2 != nil {
			return snapshot{}, err2
		}
		if before == after {
			return snap, err
		}
	}
	return snapshot{}, fmt.Errorf("it changed during each of %d readings: let it rest", maxReads)
}

// generation returns the directory that holds the current files of dir: dir
// itself if the kubelet does not write it.
func generation(dir string) (string, error) {
	target, err := os.Readlink(filepath.Join(dir, generationLink))
	if err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			return "", statErr
		}
		return dir, nil
	}
	if filepath.IsAbs(target) {
		return target, nil
	}
	return filepath.Join(dir, target), nil
}

// readKeys reads every file with the name of a key. It is a reader.
func readKeys(dir, current string) (snapshot, error) {
	var snap snapshot
	entries, err := os.ReadDir(current)
	if err != nil {
		return snap, err
	}
	for _, e := range entries {
		name := e.Name()
		file := filepath.Join(current, name)
		if strings.HasPrefix(name, ".") {
			continue
		}
		if !slices.Contains(sourceKeys(), name) {
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				if key := meantKey(name, headOf(file)); key != "" {
					snap.misnamed = append(snap.misnamed, misnamed{name, key})
					continue
				}
				snap.unknown = append(snap.unknown, name)
			}
			continue
		}
		f, err := readFile(file)
		if err != nil {
			return snap, err
		}
		f.key, f.path = name, filepath.Join(dir, name)
		snap.sources = append(snap.sources, f)
	}
	if len(snap.sources) > 0 {
		return snap, nil
	}
	hint := "write one"
	for _, name := range snap.unknown {
		if near := nearest(name, sourceKeys()); near != "" {
			hint = fmt.Sprintf("rename the key %s to %s", quote(name), near)
		}
	}
	for _, m := range snap.misnamed {
		hint = fmt.Sprintf("rename the key %s to %s", quote(m.name), m.key)
	}
	return snap, fmt.Errorf("it has none of the keys %s: %s", strings.Join(sourceKeys(), ", "), hint)
}

// readKey returns a reader of a single file, which may be a key of a mount, as
// config.yaml.
func readKey(path string) reader {
	return func(_, current string) (snapshot, error) {
		f, err := readFile(filepath.Join(current, filepath.Base(path)))
		f.key, f.path = mainKey, path
		return snapshot{sources: []source{f}}, err
	}
}

func readFile(name string) (source, error) {
	// Opening anything else, such as a pipe, could wait forever.
	info, err := os.Stat(name)
	if err != nil {
		return source{}, err
	}
	if !info.Mode().IsRegular() {
		return source{}, fmt.Errorf("%s is no regular file: put a file there", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return source{}, err
	}
	content, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	return source{content: content, size: max(info.Size(), int64(len(content)))}, errors.Join(err, f.Close())
}
