package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A File is a configuration that was read and found good. It is shared once
// handed out, so nobody changes it.
type File struct {
	Config   Config
	Hash     string    // sha256 in hex over the names and contents of the files read
	Path     string    // as given to Load
	Warnings []Problem // what was accepted but is worth a word; sorted like an Error's
}

// Load reads the configuration at path: a directory, as a mounted ConfigMap is
// one, or a single file that is read as config.yaml. The error is an [*Error]
// if the files could be read but something in them is wrong.
func Load(path string) (*File, error) {
	snap, err := read(path)
	if err != nil {
		return nil, err
	}
	return snap.load(path)
}

// Parse reads the text of a config.yaml that is in memory. The path is what the
// problems name. The error is an [*Error].
func Parse(path string, content []byte) (*File, error) {
	return snapshot{sources: []source{{key: mainKey, path: path, content: content, size: int64(len(content))}}}.load(path)
}

// load decodes and checks the files of a snapshot.
func (s snapshot) load(path string) (*File, error) {
	file := &File{Config: Default(), Hash: s.hash(), Path: path}
	d := &decoder{claims: make(map[string]claim)}
	for _, f := range s.sources {
		d.source(&file.Config, f)
	}
	for _, m := range s.misnamed {
		d.problems = append(d.problems, misnamedFile(path, m, s.sources))
	}
	if len(d.problems) > 0 {
		sortProblems(d.problems)
		return nil, &Error{Problems: d.problems}
	}
	for _, name := range s.unknown {
		d.warnings = append(d.warnings, unknownFile(path, name))
	}
	sortProblems(d.warnings)
	file.Warnings = d.warnings
	return file, nil
}

// source reads one file into c.
func (d *decoder) source(c *Config, f source) {
	d.file, d.awsAuth = f.path, f.key != mainKey
	if d.awsAuth && authenticatorEmpty(f.content) {
		return
	}
	root, problem := parse(f)
	switch {
	case problem != nil:
		d.problems = append(d.problems, *problem)
	case root == nil && d.awsAuth:
	case root == nil:
		d.problem(value{node: &yaml.Node{Line: 1}}, "the file is empty: write apiVersion: %s and kind: %s", APIVersion, Kind)
	case d.awsAuth:
		d.mapKey(c, f.key, at(root, ""))
	default:
		d.config(c, at(root, ""))
	}
}

// authenticatorEmpty reports whether the authenticator takes a key of aws-auth
// for empty without parsing it (aws-iam-authenticator v0.7.18
// pkg/mapper/configmap/configmap.go).
func authenticatorEmpty(content []byte) bool {
	switch strings.TrimSpace(string(content)) {
	case "", "``", `""`, "''":
		return true
	}
	return false
}

// misnamedFile says that a file was meant as a key, and would have no effect.
func misnamedFile(dir string, m misnamed, sources []source) Problem {
	hint := "rename it to " + m.key
	if slices.ContainsFunc(sources, func(s source) bool { return s.key == m.key }) {
		hint = "put what is in it into " + m.key + ", which is there too, or remove it"
	}
	return Problem{File: filepath.Join(dir, m.name), Line: 1, Message: fmt.Sprintf("the key %s is not read, and all in it would have no effect: %s", quote(m.name), hint)}
}

func unknownFile(dir, name string) Problem {
	hint := "known are " + strings.Join(sourceKeys(), ", ")
	if near := nearest(name, sourceKeys()); near != "" {
		hint = "did you mean " + near + "?"
	}
	return Problem{File: filepath.Join(dir, name), Line: 1, Message: fmt.Sprintf("the mounted ConfigMap has the unknown key %s, which is not read: %s", quote(name), hint)}
}
