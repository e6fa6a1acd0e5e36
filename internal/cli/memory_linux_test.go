package cli

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the start left of the program's file in memory goes, and the program goes on.
func TestUnmapFile(t *testing.T) {
	resident := func() int {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if rest, found := strings.CutPrefix(line, "RssFile:"); found {
				kib, err := strconv.Atoi(strings.Fields(rest)[0])
				if err != nil {
					t.Fatal(err)
				}
				return kib
			}
		}
		t.Skip("this kernel does not tell what is resident of files")
		return 0
	}
	before := resident()
	if err := unmapFile(); err != nil {
		t.Fatal(err)
	}
	if after := resident(); after > before*3/4 {
		t.Errorf("%d KiB of files were resident, and %d KiB are now", before, after)
	}
}

// What differs from the file, can be written, or is another file's, stays.
func TestReadOnlyMappings(t *testing.T) {
	smaps := strings.ReplaceAll(`00400000-01652000 r-xp 00000000 fe:00 99 /bin/rolecall
Rss: 15112 kB
Anonymous: 0 kB
VmFlags: rd ex mr mw me sd
01652000-027f2000 r--p 01252000 fe:00 99 /bin/rolecall
Anonymous: 0 kB
027f2000-028a6000 rw-p 023f2000 fe:00 99 /bin/rolecall
Anonymous: 0 kB
028a6000-028a7000 r--p 023f2000 fe:00 99 /bin/rolecall
Anonymous: 4 kB
028a7000-028a8000 r--s 023f2000 fe:00 99 /bin/rolecall
Anonymous: 0 kB
028a8000-028a9000 r--p 023f2000 fe:00 99 /not/bin/rolecall
Anonymous: 0 kB
028a9000-028aa000 r--p 00000000 00:00 0
Anonymous: 0 kB
`, "/bin", "/a folder/bin")
	got, err := readOnly(strings.NewReader(smaps), "/a folder/bin/rolecall")
	if err != nil {
		t.Fatal(err)
	}
	want := []mapping{{0x400000, 0x1652000}, {0x1652000, 0x27f2000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
