package stage

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startSleep(dir string) (*process, error) {
	path, err := exec.LookPath("sleep")
	if err != nil {
		return nil, err
	}
	return start(path, dir, "300")
}

func TestStopTellsOfACrash(t *testing.T) {
	p, err := startSleep(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.stop(); err == nil || !strings.Contains(err.Error(), "sleep ended by itself: signal: killed") {
		t.Errorf("stop of a process that crashed: %v", err)
	}
}

// parentVariable makes this test binary the parent that TestChildrenDieWithParent kills.
const parentVariable = "ROLECALL_STAGE_TEST_PARENT"

func beParent() {
	p, err := startSleep(os.TempDir())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Pid)
	<-p.Done()
}

func TestChildrenDieWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends children with their parent")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"=1", "TMPDIR="+t.TempDir())
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(output).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("the parent says %q, want the id of a running process", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the child outlives its parent")
		}
	}
}
