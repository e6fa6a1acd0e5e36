package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every near miss of every key that is read is an error that says what to do, beside
// every other key; what was meant as none, and copies, are warnings.
func TestMisnamedKeys(t *testing.T) {
	t.Parallel()
	texts := map[string]string{
		mainKey: "apiVersion: rolecall.dev/v1\nkind: Config\n", mapRoles: "[]\n", mapUsers: "[]\n", mapAccounts: "[]\n",
	}
	misses := map[string][]string{
		mainKey: {
			"config.yml", "Config.yaml", "CONFIG.YAML", "config.YAML", "config.json", "config", "config.txt", "conifg.yaml", "confg.yaml", "configs.yaml", "config_yaml", "config-yaml", "confiig.yml",
			"rolecall.yaml", "my-cluster.yaml", // by what is in them
		},
		mapRoles:    {"maproles", "MapRoles", "map_roles", "map-roles", "mapRole", "mapRoles.yaml", "mapRoles.yml", "mapRoels", "maproles.json"},
		mapUsers:    {"mapusers", "map_users", "mapUser", "mapUsers.yaml", "mapUesrs"},
		mapAccounts: {"mapaccounts", "map_accounts", "mapAccount", "mapAcounts", "mapAccounts.yaml"},
	}
	for key, names := range misses {
		for _, name := range names {
			for beside, text := range texts {
				dir := t.TempDir()
				write := func(name, text string) {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				write(beside, text)
				write(name, texts[key])
				_, err := Load(dir)
				var list *Error
				if !errors.As(err, &list) || len(list.Problems) != 1 {
					t.Errorf("%s beside %s: %v, want a problem", name, beside, err)
					continue
				}
				want := "rename it to " + key
				if beside == key {
					want = "put what is in it into " + key
				}
				if p := list.Problems[0]; p.File != filepath.Join(dir, name) || !strings.Contains(p.Message, want) {
					t.Errorf("%s beside %s: %v, want %q", name, beside, p, want)
				}
			}
		}
	}
	for _, name := range []string{"README.md", "values.yaml", "notes", "config.yaml.bak", "config.yaml~", "config.yaml.orig", "mapRoles.old", "kustomization.yaml", "ca.crt", "roles.yaml", "config.sh", "configmap-notes.md"} {
		dir := t.TempDir()
		for file, text := range map[string]string{mainKey: texts[mainKey], name: "x: y\n"} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file, err := Load(dir)
		if err != nil || len(file.Warnings) != 1 {
			t.Errorf("%s: %v, want a warning", name, err)
		}
	}
}

// A copy that an editor or a person keeps beside config.yaml is a warning, although
// a whole config stands in it, and so is a page with an example of one.
func TestCopiesBeside(t *testing.T) {
	t.Parallel()
	const text = "apiVersion: rolecall.dev/v1\nkind: Config\n"
	for _, name := range []string{"#config.yaml#", "config (1).yaml", "Copy of config.yaml", "config.yaml___jb_tmp___", "config.yaml___jb_old___", "config.yaml.2026-11-30", "config.yaml.20261130", "config.yaml.1", "README.md"} {
		dir := t.TempDir()
		for _, file := range []string{mainKey, name} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		file, err := Load(dir)
		if err != nil || len(file.Warnings) != 1 {
			t.Errorf("%s: %v, want a warning", name, err)
		}
	}
}

// A key that is renamed to a near miss under a running agent is refused and the last
// good config stays; once it is taken away, or named right, that is seen although
// the files that are read are the same.
func TestMisnamedKeyComesAndGoes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(mapRoles, "[]\n")
	synctest.Test(t, func(t *testing.T) {
		w := NewWatcher(dir, Options{Poll: time.Second})
		w.options.notifier = func() (*notifier, error) { return nil, errors.New("no events") }
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- w.Run(ctx, func(*File) {}) }()
		status := func() Status {
			time.Sleep(3 * time.Second)
			synctest.Wait()
			return w.Status()
		}
		if s := status(); s.Err != nil || s.Current == nil {
			t.Errorf("at first: %+v", s)
		}
		write("config.yml", "apiVersion: rolecall.dev/v1\nkind: Config\n")
		if s := status(); s.Err == nil || s.Current == nil {
			t.Errorf("with config.yml: %+v", s)
		}
		if err := os.Remove(filepath.Join(dir, "config.yml")); err != nil {
			t.Fatal(err)
		}
		if s := status(); s.Err != nil || s.Current == nil {
			t.Errorf("without it again: %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
