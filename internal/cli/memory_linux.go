package cli

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A mapping is a part of the program's file in memory.
type mapping struct{ start, end uintptr }

// unmapFile has the kernel forget the pages of the program's own file that nobody
// could have changed. They are read again where they are needed (madvise(2),
// MADV_DONTNEED).
func unmapFile() error {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer func() { _ = smaps.Close() }()
	mappings, err := readOnly(smaps, path)
	if err != nil {
		return err
	}
	for _, m := range mappings {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
	}
	return nil
}

// readOnly lists the mappings of the file at path that cannot be written and have
// no page that differs from the file: those of a position-independent program with
// addresses filled in, or with a debugger's breakpoints, would be lost. The form is
// that of proc_pid_smaps(5).
func readOnly(smaps io.Reader, path string) ([]mapping, error) {
	var out []mapping
	var at mapping
	ours := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if name, isField := strings.CutSuffix(fields[0], ":"); isField {
			if ours && name == "Anonymous" && len(fields) > 1 && fields[1] == "0" {
				out = append(out, at)
			}
			continue
		}
		ours = false
		if len(fields) < 6 || !strings.HasPrefix(fields[1], "r-") || !strings.HasSuffix(fields[1], "p") || !strings.HasSuffix(lines.Text(), " "+path) {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err := strconv.ParseUint(from, 16, strconv.IntSize)
		if err != nil {
			return nil, err
		}
		end, err := strconv.ParseUint(to, 16, strconv.IntSize)
		if err != nil {
			return nil, err
		}
		at, ours = mapping{uintptr(start), uintptr(end)}, true
	}
	return out, lines.Err()
}
