//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/libcapsa/libcapsa/tests/lab/wire"
)

// machine is a running QEMU and the host's ends of its ports.
type machine struct {
	config
	dir   string // private directory: sockets, QEMU's messages, kernel log
	qemu  *exec.Cmd
	ended chan struct{} // closed when QEMU has ended
	ports map[int]*port
}

// port is a listening socket to which QEMU connects once.
type port struct {
	listener *net.UnixListener
	conn     net.Conn
}

var portNames = map[int]string{wire.Ctl: "ctl", wire.Input: "in", wire.Output: "out", wire.Error: "err"}

// boot starts the machine and connects its ports; it does not wait for the
// kernel in it.
func (c config) boot() (*machine, error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return nil, err
	}
	m := &machine{config: c, dir: dir, ended: make(chan struct{}), ports: map[int]*port{}}
	if err := m.start(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *machine) start() error {
	for n, name := range portNames {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(m.dir, name), Net: "unix"})
		if err != nil {
			return err
		}
		m.ports[n] = &port{listener: l}
	}
	messages, err := os.Create(filepath.Join(m.dir, "qemu"))
	if err != nil {
		return err
	}
	defer messages.Close()
	m.qemu = exec.Command(m.config.qemu, m.arguments()...)
	m.qemu.Stdout, m.qemu.Stderr = messages, messages
	// A group of its own: Ctrl-C in a terminal goes to lab-run alone, which passes
	// it on to the command.
	m.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := m.qemu.Start(); err != nil {
		m.qemu = nil
		return err
	}
	go func() { // joined by close through m.ended
		// The status says nothing that the ports do not say better.
		_ = m.qemu.Wait()
		close(m.ended)
		for _, p := range m.ports {
			p.listener.Close()
		}
	}()
	for n, p := range m.ports {
		if p.conn, err = p.listener.Accept(); err != nil {
			<-m.ended
			return fmt.Errorf("QEMU ended before it opened the port %s:\n%s", portNames[n], m.log())
		}
	}
	return nil
}

// close ends QEMU, which keeps nothing worth saving, and removes the
// directory.
func (m *machine) close() {
	if m.qemu != nil {
		// It may have ended by itself.
		_ = m.qemu.Process.Kill()
		<-m.ended
	}
	for _, p := range m.ports {
		p.listener.Close()
		if p.conn != nil {
			p.conn.Close()
		}
	}
	os.RemoveAll(m.dir)
}

// arguments is QEMU's command line.
func (m *machine) arguments() []string {
	suffix, machine := "pci", m.machine
	if strings.HasPrefix(machine, "microvm") {
		// ACPI announces the virtio-mmio devices: Debian's kernel has no other way.
		suffix, machine = "device", machine+",acpi=on,rtc=on,pit=on,pic=on"
	}
	args := []string{
		"-M", machine, "-accel", "tcg,thread=" + m.thread, "-cpu", m.cpu,
		"-smp", strconv.Itoa(m.cpus), "-m", strconv.Itoa(m.memory),
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
		"-kernel", m.kernel, "-initrd", m.initrd, "-append", m.commandLine(),
		"-chardev", "file,id=console,path=" + m.consoleFile(), "-serial", "chardev:console",
		"-device", "virtio-rng-" + suffix, "-device", "virtio-serial-" + suffix,
	}
	for n, name := range portNames {
		args = append(args,
			"-chardev", fmt.Sprintf("socket,id=%s,path=%s,server=off", name, filepath.Join(m.dir, name)),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,nr=%d,name=capsa.%s", name, n, name))
	}
	share := func(tag, path, options string) {
		args = append(args,
			"-fsdev", fmt.Sprintf("local,id=%s,path=%s,security_model=none,multidevs=remap%s", tag, escape(path), options),
			"-device", fmt.Sprintf("virtio-9p-%s,fsdev=%s,mount_tag=%s", suffix, tag, tag))
	}
	share(wire.TagRoot, "/", ",readonly=on")
	for i, d := range m.writable {
		share(wire.TagWritable+strconv.Itoa(i), d, "")
	}
	return args
}

// escape writes a value for QEMU's option syntax, where a comma ends it.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// commandLine is the machine's kernel command line. Each entry makes the kernel
// lighter or keeps it from rewriting its code while two processors run.
func (m *machine) commandLine() string {
	args := []string{
		"console=ttyS0", "loglevel=4", "oops=panic", "panic=-1", "reboot=t",
		// Emulation: no timer calibration, no measured loop, no watchdogs.
		"tsc=reliable", "no_timer_check", "lpj=10000000", "nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1",
		// One processor until init has switched what is switched at run time.
		"maxcpus=1", "kfence.sample_interval=0", "jump_label=0",
		// Work that a throw-away machine has no use for.
		"mitigations=off", "nokaslr", "audit=0", "lsm=landlock", "init_on_alloc=0", "random.trust_cpu=on", "cgroup_disable=memory",
	}
	if khz := env("LAB_TSC_KHZ", tscKHz()); khz != "" {
		args = append(args, "tsc_early_khz="+khz)
	}
	return strings.Join(append(args, m.append), " ")
}

func (m *machine) consoleFile() string {
	if m.console != "" {
		return m.console
	}
	return filepath.Join(m.dir, "console")
}

// log is the end of what QEMU and the machine's kernel said, for a person.
func (m *machine) log() string {
	var b strings.Builder
	for _, f := range []string{filepath.Join(m.dir, "qemu"), m.consoleFile()} {
		b.WriteString(tail(f, 4096))
	}
	return b.String()
}

// tail returns a file's last n bytes at most, "" when there is none.
func tail(name string, n int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil && size > n {
		_, err = f.Seek(-n, io.SeekEnd)
		if err != nil {
			return ""
		}
	} else if _, err := f.Seek(0, io.SeekStart); err != nil {
		return ""
	}
	b, err := io.ReadAll(f)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	return string(b)
}
