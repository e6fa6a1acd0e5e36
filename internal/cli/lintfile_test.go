package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// A file that somebody has written since it was read stays, and so do a link
// and the mode of one that is written.
func TestFileEdit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("theirs"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	e := fileEdit{path: link, before: []byte("read"), after: []byte("mended")}
	if err := e.write(); err == nil {
		t.Error("it is written over what somebody else wrote")
	}
	e.before = []byte("theirs")
	if err := e.write(); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(file)
	if err != nil || string(body) != "mended" {
		t.Errorf("the file holds %q, %v", body, err)
	}
	info, err := os.Lstat(file)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("there are %d files, %v", len(left), err)
	}
}
