package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/rolecall/rolecall/awsauth"
	"github.com/rolecall/rolecall/awsauth/authfile"
)

// lintDoc is one aws-auth that is looked at: the live one, one in a file, or
// one whose keys are the files of a directory, as a ConfigMap is mounted.
type lintDoc struct {
	label string
	data  map[string]string

	objects *objects // of the live one
	live    *corev1.ConfigMap

	path   string // of a file; - for standard input
	number int    // among the file's documents
	file   *authfile.Document

	keys   map[string]string // of a directory, the file of each key
	binary map[string][]byte // of a directory, the files that kubectl puts into binaryData
}

// lint says what is wrong with the document, with its place as far as there are files.
func (d *lintDoc) lint() []authfile.Finding {
	if d.file != nil {
		return d.file.Lint()
	}
	list := awsauth.Lint(d.data)
	switch {
	case d.live != nil:
		list = awsauth.LintObject(d.object(), d.objects.awsAuthNamespace, d.objects.awsAuthName)
	case len(d.binary) > 0:
		list = awsauth.LintObject(d.object(), "", "")
	}
	out := make([]authfile.Finding, len(list))
	for i, f := range list {
		out[i].Finding = f
		_, out[i].FileLine, out[i].FileColumn = d.locate(f.Key, f.Line, f.Column)
		if f.OtherLine > 0 {
			_, out[i].OtherFileLine, _ = d.locate(f.OtherKey, f.OtherLine, 0)
		}
	}
	return out
}

// object is the ConfigMap of the live aws-auth, or the one that kubectl makes of a
// directory.
func (d *lintDoc) object() *corev1.ConfigMap {
	cm := &corev1.ConfigMap{BinaryData: d.binary}
	if d.live != nil {
		cm = d.live.DeepCopy()
	}
	cm.Data = d.data
	return cm
}

// locate is where a place in a key's text is, as far as there are files.
func (d *lintDoc) locate(key string, line, column int) (source string, fileLine, fileColumn int) {
	switch {
	case d.keys != nil && d.keys[key] != "":
		return d.keys[key], line, column
	case d.file != nil:
		fileLine, fileColumn = d.file.Line(key, line, column)
		return d.label, fileLine, fileColumn
	}
	return d.label, 0, 0
}

// readLintFiles reads files and directories. What can be read comes back even
// where the error says that others cannot.
func readLintFiles(names []string, stdin io.Reader) ([]*lintDoc, error) {
	var docs []*lintDoc
	var errs []error
	for _, name := range names {
		info, err := os.Stat(name)
		var more []*lintDoc
		switch {
		case name != "-" && err != nil:
		case name != "-" && info.IsDir():
			more, err = readLintDir(name)
		default:
			more, err = readLintFile(name, stdin)
		}
		docs = append(docs, more...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return docs, errors.Join(errs...)
}

func readLintFile(name string, stdin io.Reader) ([]*lintDoc, error) {
	body, err := openFile(name, stdin)
	if err != nil {
		return nil, err
	}
	found, err := authfile.Read(name, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return docsOf(name, found), nil
}

func docsOf(name string, found []*authfile.Document) []*lintDoc {
	label := name
	if name == "-" {
		label = "stdin"
	}
	var docs []*lintDoc
	for i, d := range found {
		docs = append(docs, &lintDoc{label: label, data: d.Data, path: name, number: i, file: d})
	}
	return docs
}

// readLintDir reads the files of a directory: those with the names of keys as
// one aws-auth, else every manifest that holds one.
func readLintDir(dir string) ([]*lintDoc, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	mounted := &lintDoc{label: dir, data: map[string]string{}, keys: map[string]string{}, binary: map[string][]byte{}}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if info, err := os.Stat(name); strings.HasPrefix(e.Name(), ".") || err != nil || info.IsDir() { // ..data, and what a mount's links lead to
			continue
		}
		if slices.ContainsFunc(awsauth.Keys[:], func(k string) bool { return strings.EqualFold(k, e.Name()) }) {
			body, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			mounted.keys[e.Name()] = name
			if !utf8.Valid(body) {
				mounted.binary[e.Name()] = body
				continue
			}
			mounted.data[e.Name()] = string(body)
			continue
		}
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			files = append(files, name)
		}
	}
	var docs []*lintDoc
	if len(mounted.keys) > 0 {
		docs = append(docs, mounted)
	}
	var errs []error
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found, err := authfile.Read(name, body)
		if errors.Is(err, authfile.ErrNone) || err == nil && len(found) == 1 && found[0].Bare() {
			continue // another object's
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		docs = append(docs, docsOf(name, found)...)
	}
	if len(docs) == 0 && len(errs) == 0 {
		return nil, fmt.Errorf("%s: there is no aws-auth in it: no file mapRoles, mapUsers or mapAccounts, and no manifest of a ConfigMap that has them", dir)
	}
	return docs, errors.Join(errs...)
}

// fileEdit is a file with what is to stand in it.
type fileEdit struct {
	path          string
	before, after []byte
	docs          []*lintDoc // that are in it
}

// editFiles works out what files become when each of their documents is mended.
func editFiles(docs []*lintDoc) ([]fileEdit, error) {
	var edits []fileEdit
	seen := map[string]bool{}
	for _, d := range docs {
		if d.keys != nil {
			more, err := editDir(d)
			if err != nil {
				return nil, err
			}
			edits = append(edits, more...)
			continue
		}
		if seen[d.path] {
			continue
		}
		seen[d.path] = true
		e := fileEdit{path: d.path, before: d.file.File()}
		e.after = e.before
		for _, other := range docs {
			if other.path != d.path {
				continue
			}
			e.docs = append(e.docs, other)
			now, err := authfile.Read(d.path, e.after)
			if err == nil && other.number >= len(now) {
				err = errLostDocument
			}
			if err == nil {
				e.after, _, err = now[other.number].Fix()
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", d.path, err)
			}
		}
		edits = append(edits, e)
	}
	return edits, nil
}

func editDir(d *lintDoc) ([]fileEdit, error) {
	fixed, _ := awsauth.FixObject(d.object())
	var edits []fileEdit
	for _, k := range slices.Sorted(maps.Keys(d.keys)) {
		text, kept := fixed.Data[k]
		before, binary := d.binary[k]
		if !binary {
			before = []byte(d.data[k])
		} else if !kept {
			continue // no encoding that can be told
		}
		if !kept {
			return nil, fmt.Errorf("%s has the name of no key: rename it by hand", d.keys[k])
		}
		if text != string(before) {
			edits = append(edits, fileEdit{d.keys[k], before, []byte(text), []*lintDoc{d}})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(fixed.Data)) {
		if _, had := d.keys[k]; !had {
			return nil, fmt.Errorf("the text of %s stands in another file of %s: move it to a file %s by hand", k, d.label, filepath.Join(d.label, k))
		}
	}
	return edits, nil
}

// errLostDocument says that a file has fewer documents than before it was
// mended.
var errLostDocument = errors.New("it has lost a document")

// reread puts into the file's documents what stands in it now.
func (e *fileEdit) reread() error {
	for _, d := range e.docs {
		if d.keys != nil {
			for k, path := range d.keys {
				if path == e.path {
					d.data[k] = string(e.after)
					delete(d.binary, k)
				}
			}
			continue
		}
		now, err := authfile.Read(e.path, e.after)
		if err == nil && d.number >= len(now) {
			err = errLostDocument
		}
		if err != nil {
			return fmt.Errorf("%s cannot be read as it was written: %w", e.path, err)
		}
		d.file, d.data = now[d.number], now[d.number].Data
	}
	return nil
}

// write puts the file in place of the one that was read, as whole as that; it
// keeps its mode. It is not written if somebody else has written it meanwhile.
func (e *fileEdit) write() error {
	path, err := filepath.EvalSymlinks(e.path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	now, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(now) != string(e.before) {
		return fmt.Errorf("%s: somebody else has written it meanwhile: nothing is written, run it again", e.path)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".rolecall-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(e.after)
	err = errors.Join(err, temp.Chmod(info.Mode()&fs.ModePerm), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
