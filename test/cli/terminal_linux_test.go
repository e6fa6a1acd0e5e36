package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/rolecall/rolecall/test/trial"
)

// terminal opens a pseudo-terminal of that many lines; what is written to tty
// comes out of screen.
func terminal(t *testing.T, lines uint16) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	ioctl := func(request uintptr, arg unsafe.Pointer) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), request, uintptr(arg)); errno != 0 {
			t.Fatal(errno)
		}
	}
	var number, unlock uint32
	ioctl(syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(syscall.TIOCGPTN, unsafe.Pointer(&number))
	size := [4]uint16{lines, 120}
	ioctl(syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return screen, tty
}

// On a terminal the status is drawn anew in place, in colour, and no longer than
// the terminal is high.
func TestStatusOnATerminal(t *testing.T) {
	t.Parallel()
	c := trial.New(t, "", trial.Options{})
	screen, tty := terminal(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, trial.Binary(t), "status", "--watch", "--interval=1s")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(c.Env(), "TERM=xterm"), tty, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const again = "\x1b[H\x1b[2J"
	var drawn []string // one for each time
	lines := bufio.NewScanner(screen)
	for len(drawn) < 3 && lines.Scan() {
		line := lines.Text()
		if rest, begins := strings.CutPrefix(line, again); begins {
			drawn = append(drawn, "")
			line = rest
		}
		if len(drawn) == 0 {
			t.Fatalf("it begins with %q, want it to clear the screen", line)
		}
		drawn[len(drawn)-1] += strings.TrimSuffix(line, "\r") + "\n"
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v, want exit status 0", err)
	}
	if len(drawn) < 2 {
		t.Fatalf("it was drawn %d times", len(drawn))
	}
	if n := strings.Count(drawn[0], "\n"); n > 4 || !strings.Contains(drawn[0], "every 1s\n") || !strings.Contains(drawn[0], "\x1b[31mneeds attention\x1b[0m\n") || !strings.Contains(drawn[0], " more lines\n") {
		t.Errorf("drawn are %d lines on 5, want the time, what needs a person in red, and that there is more:\n%q", n, drawn[0])
	}
}

// Who interrupts a question has answered no.
func TestInterruptedQuestion(t *testing.T) {
	t.Parallel()
	c := trial.New(t, "", trial.Options{})
	before := c.Create(map[string]string{"mapRoles": "- rolearn: arn:aws:iam::111122223333:role/admin\n  username: admin\n  groups: [system:masters]\n"})
	screen, tty := terminal(t, 50)
	ctx, cancel := context.WithTimeout(t.Context(), trial.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, trial.Binary(t), "remove", "arn:aws:iam::111122223333:role/admin")
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = append(c.Env(), "TERM=xterm"), tty, tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	until := func(text string) {
		t.Helper()
		part := make([]byte, 1<<10)
		for !strings.Contains(shown.String(), text) {
			n, err := screen.Read(part)
			shown.Write(part[:n])
			if err != nil {
				t.Fatalf("%v, and no %q:\n%s", err, text, &shown)
			}
		}
	}
	until("? [y/N] ")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	until("rolecall: interrupted: nothing is written\r\n")
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit status 1", err)
	}
	if now := c.Now(); now.ResourceVersion != before.ResourceVersion {
		t.Errorf("aws-auth was written: %q", now.Data)
	}
}
