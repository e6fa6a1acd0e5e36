package config

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A file beside those that are read is left alone with a warning. One that was meant
// as one of them is an error, since all that stands in it would have no effect.

// backups are the ends of names of which a copy is kept beside the file that is read.
var backups = []string{
	"~", ".bak", ".backup", ".orig", ".old", ".save", ".swp", ".tmp", ".rej", ".dist", ".example", ".sample", ".disabled", ".off", ".md",
	"___jb_tmp___", "___jb_old___",
}

// copyName is a name that no key of a ConfigMap can have, as that of an editor's copy
// (#config.yaml#), or that ends with a number or a date.
var copyName = regexp.MustCompile(`[^-._a-zA-Z0-9]|\.[0-9][-0-9]*$`)

// dataEnds are the ends of files that can hold a configuration.
var dataEnds = []string{"", ".yaml", ".yml", ".json", ".txt", ".text", ".conf", ".cfg", ".toml"}

// ownHead is the beginning of a configuration of ours, in YAML or JSON.
var ownHead = regexp.MustCompile(`(?m)^[\s{]*["']?apiVersion["']?\s*:\s*["']?rolecall\.dev/`)

// meantKey is the key that a file with another name was meant as; empty where it was
// meant as none. The name alone tells, or the first bytes of the file.
func meantKey(name string, head []byte) string {
	lower := strings.ToLower(name)
	if copyName.MatchString(name) || slices.ContainsFunc(backups, func(end string) bool { return strings.HasSuffix(lower, end) }) {
		return ""
	}
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
	}
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	ends := slices.Contains(dataEnds, strings.ToLower(filepath.Ext(name)))
	for _, key := range sourceKeys() {
		// config.yml, Config.yaml, map_roles, mapRoles.yaml.
		if plain(name) == plain(key) || ends && plain(stem) == plain(strings.TrimSuffix(key, filepath.Ext(key))) {
			return key
		}
	}
	if ends {
		// mapRole, conifg.yml.
		for _, key := range sourceKeys() {
			want := plain(strings.TrimSuffix(key, filepath.Ext(key)))
			if distance(plain(stem), want, 2) <= min(2, len(want)/4) || swapped(plain(stem), want) {
				return key
			}
		}
	}
	if ownHead.Match(head) {
		return mainKey
	}
	return ""
}

// swapped reports whether two neighbouring letters of b are changed over in a.
func swapped(a, b string) bool {
	for i := range len(b) - 1 {
		if a == b[:i]+string([]byte{b[i+1], b[i]})+b[i+2:] {
			return a != b
		}
	}
	return false
}

// headOf is the beginning of a file; nil where it can't be read.
func headOf(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // it was only read
	head, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return nil
	}
	return head
}
