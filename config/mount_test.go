package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIsSubPath(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := func(name string) string {
		path := filepath.Join(top, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, spaced := dir("plain"), dir("with space")
	for _, d := range []string{plain, spaced} {
		if err := os.WriteFile(filepath.Join(d, mainKey), []byte(head), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mounted := newKubelet(t, filepath.Join(top, "mounted"), marked("1")).dir

	const volume = "/var/lib/kubelet/pods/0a1b/volumes/kubernetes.io~configmap/config"
	const generation = volume + "/..2026_01_02_03_04_05.123456789"
	line := func(root, point string) string {
		return fmt.Sprintf("1 2 8:1 / / rw - ext4 /dev/sda1 rw\n742 737 8:1 %s %s ro,relatime shared:1 - ext4 /dev/sda1 rw\n", root, strings.ReplaceAll(point, " ", `\040`))
	}
	for _, tc := range []struct {
		name, mountinfo, path string
		want                  bool
	}{
		{"no mounts", "", plain, false},
		{"a file in the directory", line(generation+"/config.yaml", plain+"/config.yaml"), plain, true},
		{"another key in the directory", line(generation+"/mapRoles", plain+"/mapRoles"), plain, true},
		{"the file itself", line(generation+"/config.yaml", plain+"/config.yaml"), plain + "/config.yaml", true},
		{"a file of the host", line("/etc/rolecall.yaml", plain+"/config.yaml"), plain + "/config.yaml", true},
		{"a directory of a generation", line(generation+"/sub", plain), plain, true},
		{"escaped", line(generation+"/config.yaml", spaced+"/config.yaml"), spaced, true},
		{"a directory of the host", line("/etc/rolecall", plain), plain, false},
		{"the whole volume", line(volume, mounted), mounted, false},
		{"a file of the whole volume", line(volume, mounted), mounted + "/config.yaml", false},
		{"something else", line(generation+"/config.yaml", top+"/elsewhere/config.yaml"), plain, false},
		{"no path", line(generation+"/config.yaml", plain+"/config.yaml"), top + "/missing", false},
		{"garbage", "x\n1 2 3 4\n\\0", plain, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := isSubPath(tc.mountinfo, tc.path); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}

	t.Run("watcher", func(t *testing.T) {
		w := watch(t, plain, Options{mountinfo: func() ([]byte, error) {
			return []byte(line(generation+"/config.yaml", plain+"/config.yaml")), nil
		}})
		w.next()
		if !w.Status().SubPath {
			t.Error("the status does not say so")
		}
		if warnings := w.log.of(t, slog.LevelWarn); len(warnings) != 1 || !strings.Contains(fmt.Sprint(warnings[0]["msg"]), "subPath") {
			t.Errorf("warnings %v, want one", warnings)
		}
	})
}
