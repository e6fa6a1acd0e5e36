package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inotifyLimit names, for the test's own child, the kernel's limit to lower.
const inotifyLimit = "ROLECALL_TEST_INOTIFY_LIMIT"

// TestInotifyLimits has the kernel itself refuse: a child in a user namespace of
// its own, where no instance or no watch of inotify is left. TestNoInotify has
// the same with time that takes none.
func TestInotifyLimits(t *testing.T) {
	if limit := os.Getenv(inotifyLimit); limit != "" {
		watchBlindly(t, limit)
		return
	}
	for _, limit := range []string{"max_inotify_instances", "max_inotify_watches"} {
		t.Run(limit, func(t *testing.T) {
			if testing.Short() {
				t.Skip("waits for polls in real time: not with -short")
			}
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInotifyLimits$", "-test.v")
			cmd.Env = append(os.Environ(), inotifyLimit+"="+limit)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			out, err := cmd.CombinedOutput()
			switch {
			case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), strings.Contains(string(out), "cannot be lowered"):
				t.Skipf("NOT TESTED: no user namespace with limits of its own here: %v\n%s", err, out)
			case err != nil || !strings.Contains(string(out), "watched blindly"):
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// watchBlindly is the child's part.
func watchBlindly(t *testing.T, limit string) {
	if err := os.WriteFile("/proc/sys/user/"+limit, []byte("0"), 0); err != nil {
		t.Skipf("%s cannot be lowered: %v", limit, err)
	}
	k := newKubelet(t, filepath.Join(t.TempDir(), "mount"), marked("1"))
	w := watch(t, k.dir, Options{Poll: time.Hour})
	w.want("1")
	for _, mark := range []string{"2", "3"} {
		k.swap(marked(mark))
		begin := time.Now()
		w.want(mark)
		if took := time.Since(begin); took > patience/2 {
			t.Errorf("found after %s, want %s at the most", took, pollBlind)
		}
	}
	warnings := w.log.of(t, slog.LevelWarn)
	if len(warnings) != 1 || !strings.Contains(fmt.Sprint(warnings[0]), "watch") {
		t.Errorf("warnings %v, want one that says that changes are not watched", warnings)
	}
	t.Log("watched blindly: ", warnings)
}
