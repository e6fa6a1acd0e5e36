package stage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNoAssets says that there is no control plane to run on this machine.
var ErrNoAssets = errors.New("no control plane here: run `make control-plane`, or let KUBEBUILDER_ASSETS name a folder with etcd and kube-apiserver")

// Assets finds the folder with etcd, kube-apiserver and, where it was built from
// test/controlplane, kubectl: $KUBEBUILDER_ASSETS if set, else what
// test/controlplane/build has made of the present sources, in the repository
// that the working directory is in. It fails with [ErrNoAssets] when there is
// none.
func Assets() (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return complete(dir)
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	dir, err := built(root)
	if err != nil {
		return "", err
	}
	return complete(dir)
}

// complete makes dir absolute if it holds the programs that a stage runs.
func complete(dir string) (string, error) {
	for _, program := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return "", fmt.Errorf("%w (%w)", ErrNoAssets, err)
		}
	}
	return filepath.Abs(dir)
}

// repository walks up from the working directory to the main module's root. The
// test-only modules below it are passed by.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if bytes.HasPrefix(text, []byte("module github.com/rolecall/rolecall\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w (the working directory is in no checkout of rolecall)", ErrNoAssets)
		}
		dir = parent
	}
}

// built names the folder that test/controlplane/build prints, which depends on
// the sources of the control plane: one built from others is not taken.
func built(root string) (string, error) {
	sum := sha256.New()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		text, err := os.ReadFile(filepath.Join(root, "test", "controlplane", name))
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	return filepath.Join(root, ".cache", "controlplane", hex.EncodeToString(sum.Sum(nil))[:16]), nil
}
