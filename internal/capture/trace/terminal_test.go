//go:build linux && (amd64 || arm64)

package trace_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stemma-lineage/stemma/internal/capture/trace"
)

// terminal opens a pair of pseudo terminal ends.
func terminal(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here: ", err)
	}
	t.Cleanup(func() { m.Close() })
	if err := unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

// TestTerminal: keys of the terminal reach the command and only the command, as
// without a recorder, and the recorder tells how it ended.
func TestTerminal(t *testing.T) {
	// The inner shell leads a foreground group of which it tells.
	const script = `trap 'echo got-int; exit 7' INT; echo tty $(ps -o stat= -p $$); read x; echo read $x; while :; do sleep 0.01; done`
	each(t, all, func(t *testing.T, name string) {
		ours, theirs := terminal(t)
		cmd, report := recorder(t, t.TempDir(), name, "", "", "sh", "-c", script)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		r := bufio.NewReader(ours)
		expect := func(what string) {
			t.Helper()
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					t.Fatalf("waiting for %q: %v", what, err)
				}
				if strings.Contains(l, what) {
					return
				}
			}
		}
		expect("tty S+")
		fmt.Fprintln(ours, "hello")
		expect("read hello")
		ours.Write([]byte{3}) // ^C
		expect("got-int")
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("%v", cmd.ProcessState)
		}
		if r := report(); name != "snapshot" && !r.Complete {
			t.Errorf("%+v", r)
		}
	})
}

// TestStopAndContinue: ^Z stops the command and the recorder, and SIGCONT to
// their group lets both go on.
func TestStopAndContinue(t *testing.T) {
	each(t, all, func(t *testing.T, name string) {
		dir := real(t, t.TempDir())
		cmd, report := recorder(t, dir, name, "", "", os.Args[0], "program", "slow", dir, "100", "5")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command's 10th file", func() bool { return exists(dir + "/f10") })
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		stopped := func(pid int) bool {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			return strings.Contains(string(b), "\nState:\tT") || strings.Contains(string(b), "\nState:\tt")
		}
		eventually(t, "the stop", func() bool { return stopped(cmd.Process.Pid) })
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !exists(dir+"/done") {
			t.Fatal(err)
		}
		if r := report(); name != "snapshot" && !r.Complete {
			t.Errorf("%+v", r)
		}
	})
}

// TestSignalToTheRecorder: what is sent to the recorder alone reaches the command.
func TestSignalToTheRecorder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			each(t, all, func(t *testing.T, name string) {
				dir := real(t, t.TempDir())
				cmd, report := recorder(t, dir, name, "", "", "sh", "-c", "trap 'exit 9' TERM HUP INT; : > ready; while :; do sleep 0.01; done")
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the command's start", func() bool { return exists(dir + "/ready") })
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				cmd.Wait()
				if cmd.ProcessState.ExitCode() != 9 {
					t.Error(cmd.ProcessState)
				}
				report()
			})
		})
	}
}

// asNobody is a copy of the test binary and a folder that another user can use.
func asNobody(t testing.TB) (binary, dir string, attr *syscall.SysProcAttr) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir, err := os.MkdirTemp("", "st")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/test", b, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir + "/test", dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// TestWithoutRights: every back-end works for an ordinary user, and tells when
// a setuid program cannot get its rights.
func TestWithoutRights(t *testing.T) {
	setuid := ""
	for _, p := range []string{"/usr/bin/su", "/bin/su", "/usr/bin/passwd"} {
		if st, err := os.Stat(p); err == nil && st.Mode()&os.ModeSetuid != 0 {
			setuid = p
		}
	}
	each(t, following, func(t *testing.T, name string) {
		binary, dir, attr := asNobody(t)
		cmd := exec.Command(binary, "program", "record", name, "", "", dir+"/report", "sh", "-c", binary+" program slow "+dir+" 20 0; "+setuid+" --help >/dev/null")
		cmd.Dir, cmd.SysProcAttr, cmd.Env = dir, attr, []string{"PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		r := readReport(t, dir+"/report")
		if r.Backend != name || !r.Complete {
			t.Errorf("%+v", r)
		}
		has(t, r.Lines, "write f19 +create +truncate", "read f19", "write done +create +truncate")
		if setuid != "" && !slices.ContainsFunc(r.Blind, func(b trace.Blind) bool { return b.Class == trace.BlindSetuid }) {
			t.Errorf("nothing is told of %s: %+v", setuid, r.Blind)
		}
	})
}

// TestOtherABI runs a program of 32-bit code that opens a file.
func TestOtherABI(t *testing.T) {
	if unix.AUDIT_ARCH_X86_64 == 0 || !strings.Contains(machine(t), "x86_64") {
		t.Skip("the program is one for x86")
	}
	dir := real(t, t.TempDir())
	if err := os.WriteFile(dir+"/old", elf32(dir+"/in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(dir + "/old").Run(); err != nil {
		t.Skip("this kernel runs no 32-bit programs: ", err)
	}
	each(t, following, func(t *testing.T, name string) {
		if err := os.WriteFile(dir+"/in", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		r := run(t, backend(t, name), dir, dir+"/old")
		if r.err != nil || !r.out.State.Success() || r.out.Complete || len(r.out.Blind) != 1 || r.out.Blind[0].Class != trace.BlindABI {
			t.Fatalf("%v %+v", r.err, r.out)
		}
		has(t, lines(within(r.events, dir)), "read in")
	})
}

func machine(t testing.TB) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// elf32 is a program of a few bytes: open(path, O_RDONLY); exit(0).
func elf32(path string) []byte {
	const base, head = 0x08048000, 52 + 32
	code := []byte{0xb8, 5, 0, 0, 0, 0xbb, 0, 0, 0, 0, 0x31, 0xc9, 0xcd, 0x80, 0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80}
	binary.LittleEndian.PutUint32(code[6:], uint32(base+head+len(code)))
	size := uint32(head + len(code) + len(path) + 1)
	b := []byte{0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	le := binary.LittleEndian
	b = le.AppendUint16(b, 2) // executable
	b = le.AppendUint16(b, 3) // i386
	for _, v := range []uint32{1, base + head, 52, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{52, 32, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint32{1, 0, base, base, size, size, 5, 0x1000} {
		b = le.AppendUint32(b, v)
	}
	return append(append(append(b, code...), path...), 0)
}
