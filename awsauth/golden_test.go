package awsauth

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what comes of the archives of testdata anew")

// golden runs what is to be done with the given files of each archive of a
// folder under testdata, and compares what it returns with the files behind
// them: those under after/, and changes.
func golden(t *testing.T, dir string, do func(t *testing.T, given []txtar.File) []txtar.File) {
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
			if *update {
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

// givenKeys are the keys of the document that an archive gives: the files but
// for one, whose text is returned too.
func givenKeys(given []txtar.File, but string) (data map[string]string, text []byte) {
	data = map[string]string{}
	for _, f := range given {
		if f.Name == but {
			text = f.Data
			continue
		}
		name, value := unescape(f.Name, string(f.Data))
		data[name] = value
	}
	return data, text
}

// changedKeys are those of the given files that are otherwise in the end.
func changedKeys(given []txtar.File, before map[string]string, after *Document) []txtar.File {
	var changed []txtar.File
	for _, f := range given {
		name, _ := unescape(f.Name, "")
		if text := after.data[name]; text != before[name] {
			changed = append(changed, txtar.File{Name: "after/" + f.Name, Data: []byte(escape(f.Name, text))})
		}
	}
	return changed
}

// strictly decodes JSON that has no field but those of v.
func strictly(t *testing.T, text []byte, v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		t.Fatal(err)
	}
}
