//go:build linux

package agent

import (
	"bufio"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// info is what the guest says of itself.
func (a *Agent) info() *wire.InfoReply {
	var u unix.Utsname
	_ = unix.Uname(&u)
	var s unix.Sysinfo_t
	_ = unix.Sysinfo(&s)
	a.mu.Lock()
	ready := a.ready
	a.mu.Unlock()
	return &wire.InfoReply{
		AgentVersion: a.cfg.Version, Kernel: unix.ByteSliceToString(u.Release[:]),
		Hostname: unix.ByteSliceToString(u.Nodename[:]), Os: osName(),
		Cpus: uint32(runtime.NumCPU()), Memory: s.Totalram * uint64(s.Unit), UptimeNs: monotonic(),
		Init: a.cfg.Init, Cgroups: a.cgroups != nil && a.cgroups.limits, Addresses: addresses(),
		ReadyNs: ready, StartNs: a.start,
	}
}

// osName is PRETTY_NAME of os-release(5).
func osName() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
				return strings.Trim(v, `"'`)
			}
		}
	}
	return ""
}

// addresses are those of the network, without loopback.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			out = append(out, n.String())
		}
	}
	return out
}

// stats are the kernel's counters.
func (a *Agent) stats() *wire.StatsReply {
	kib := func(name string) uint64 { return field("/proc/meminfo", name) << 10 }
	r := &wire.StatsReply{
		MemoryTotal: kib("MemTotal:"), MemoryFree: kib("MemFree:"), MemoryAvailable: kib("MemAvailable:"), Cached: kib("Cached:"),
		Execs: uint32(a.procs.size()), UptimeNs: monotonic(), OomKills: field("/proc/vmstat", "oom_kill"),
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		r.Processes = uint32(s.Procs)
	}
	var fs unix.Statfs_t
	if unix.Statfs("/", &fs) == nil {
		r.RootSize, r.RootFree = fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
	}
	r.CpuUserNs, r.CpuSystemNs, r.CpuIdleNs = cpuTimes()
	return r
}

// cpuTimes reads the first line of /proc/stat, in ticks of 10 ms (USER_HZ).
func cpuTimes() (user, system, idle uint64) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	f := strings.Fields(line)
	tick := func(i int) uint64 {
		if i >= len(f) {
			return 0
		}
		n, _ := strconv.ParseUint(f[i], 10, 64)
		return n * 10_000_000
	}
	return tick(1) + tick(2), tick(3), tick(4)
}

// SetTime sets the clock, in ns since 1970.
func SetTime(ns int64) error {
	t := unix.NsecToTimespec(ns)
	return os.NewSyscallError("clock_settime", unix.ClockSettime(unix.CLOCK_REALTIME, &t))
}
