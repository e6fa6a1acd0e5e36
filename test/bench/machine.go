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

// hostTime is what the CPUs of this machine have been wanted for since it started, and
// what its host kept from it of that (man 5 proc_stat, steal), both in ticks of 10 ms.
// Both are 0 where that is not known.
func hostTime() (wanted, stolen int) { return parseHostTime(text("/proc/stat")) }

func parseHostTime(stat string) (wanted, stolen int) {
	first, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0
	}
	const idle, iowait, steal = 4, 5, 8 // guest and guest_nice, behind them, are in user and nice
	for i, field := range fields[:steal+1] {
		n, err := strconv.Atoi(field)
		switch {
		case err != nil, i == idle, i == iowait:
		default:
			wanted += n
		}
		if i == steal {
			stolen = n
		}
	}
	return wanted, stolen
}

// text is a file's, or empty where it cannot be read.
func text(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(bytes.TrimRight(b, "\x00"))
}
