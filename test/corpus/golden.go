package corpus

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// Golden runs what is to be done with the given files of each archive of a
// folder under testdata, and compares what it returns with the files behind
// them: those under after/, and changes. With update it writes these anew.
func Golden(t *testing.T, dir string, update bool, do func(t *testing.T, given []txtar.File) []txtar.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			now := &txtar.Archive{Comment: archive.Comment}
			for _, f := range archive.Files {
				if !strings.HasPrefix(f.Name, "after/") && f.Name != "changes" {
					now.Files = append(now.Files, f)
				}
			}
			now.Files = append(now.Files, do(t, now.Files)...)
			got := txtar.Format(now)
			if update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(txtar.Format(archive)), string(got)); diff != "" {
				t.Errorf("-update writes it anew (-want +got):\n%s", diff)
			}
		})
	}
}

// GivenKeys are the keys of the document that an archive gives: the files but
// for one, whose text is returned too.
func GivenKeys(given []txtar.File, but string) (data map[string]string, text []byte) {
	data = map[string]string{}
	for _, f := range given {
		if f.Name == but {
			text = f.Data
			continue
		}
		name, value := Unescape(f.Name, string(f.Data))
		data[name] = value
	}
	return data, text
}

// ChangedKeys are those of the given files that are otherwise in the end.
func ChangedKeys(given []txtar.File, before, after map[string]string) []txtar.File {
	var changed []txtar.File
	for _, f := range given {
		name, _ := Unescape(f.Name, "")
		if text := after[name]; text != before[name] {
			changed = append(changed, txtar.File{Name: "after/" + f.Name, Data: []byte(Escape(f.Name, text))})
		}
	}
	return changed
}

// Strictly decodes JSON that has no field but those of v.
func Strictly(t *testing.T, text []byte, v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatal(err)
	}
}
