package main

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// A machine is what the figures were measured on.
type machine struct {
	CPU       string `json:"cpu"`
	CPUs      int    `json:"cpus"`
	MemoryMiB int    `json:"memoryMiB"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	ClientGo  string `json:"clientGo"`
	Revision  string `json:"revision,omitempty"`
}

func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH, Kernel: strings.TrimSpace(text("/proc/sys/kernel/osrelease"))}
	for line := range strings.Lines(text("/proc/cpuinfo")) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	m.MemoryMiB = memory("MemTotal")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "k8s.io/client-go" {
				m.ClientGo = dep.Version
			}
		}
	}
	return m
}

// memory is a figure of /proc/meminfo in MiB; 0 where there is none.
func memory(name string) int { return kib("/proc/meminfo", name) >> 10 }

// kib is a figure of a file like /proc/meminfo, in KiB; 0 where there is none.
func kib(path, name string) int {
	for line := range strings.Lines(text(path)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// load is the load average of the last minute: how much else the machine did.
func load() string {
	first, _, _ := strings.Cut(text("/proc/loadavg"), " ")
	return first
}

// text is a file's, or empty where it cannot be read.
func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(bytes.TrimRight(b, "\x00"))
}
