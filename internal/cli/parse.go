package cli

import (
	"bufio"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// bad is the error for an argument.
func bad(what, hint, format string, args ...any) error {
	return vm.Errorf(vm.KindInvalidArg, what, format, args...).WithHint(hint)
}

// parseSize reads a number of bytes: "512M", "1.5GiB"; a bare number is MiB, as --memory has it.
func parseSize(what, text string) (uint64, error) {
	const hint = "a number with K, M, G or T, of 1024; without one it is MiB"
	number := strings.TrimRight(text, "kKmMgGtTiIbB")
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(text[len(number):]), "b"), "i")
	shift, ok := map[string]uint{"": 20, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	value, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(value >= 0) || value*float64(uint64(1)<<shift) >= 1<<62 {
		return 0, bad(what, hint, "%q is no size", text)
	}
	return uint64(value * float64(uint64(1)<<shift)), nil
}

// parseVolume reads HOST:GUEST[:ro].
func parseVolume(text string) (s capsa.Share, target string, err error) {
	const hint = "/path/on/host:/path/in/guest, and :ro for one that the guest only reads"
	parts := strings.Split(text, ":")
	mode := "rw"
	if len(parts) > 2 {
		mode, parts = parts[len(parts)-1], parts[:len(parts)-1]
	}
	if len(parts) != 2 || parts[0] == "" || !strings.HasPrefix(parts[1], "/") || (mode != "ro" && mode != "rw") {
		return s, "", bad("volume", hint, "%q is no volume", text)
	}
	path, err := filepath.Abs(parts[0])
	if err != nil {
		return s, "", vm.Wrap("volume", err)
	}
	s = capsa.Share{Path: path, ReadOnly: mode == "ro"}
	if os.Geteuid() == 0 {
		s.Owner = capsa.SharePassthrough
	}
	return s, parts[1], nil
}

// parseForward reads [ADDRESS:]HOST:GUEST[/udp], or PATH:GUEST for a unix socket. HOST may be 0: any that is free.
func parseForward(text string) (f capsa.Forward, err error) {
	const hint = "8080:80, 0.0.0.0:8080:80, [::1]:8080:80, 5353:53/udp, or /path/of/socket:80"
	f.Protocol = capsa.ForwardTCP
	rest := text
	if before, ok := strings.CutSuffix(rest, "/udp"); ok {
		f.Protocol, rest = capsa.ForwardUDP, before
	} else {
		rest = strings.TrimSuffix(rest, "/tcp")
	}
	fail := func() (capsa.Forward, error) {
		return capsa.Forward{}, bad("port", hint, "%q is no port to forward", text)
	}
	i := strings.LastIndexByte(rest, ':')
	guest, err := strconv.ParseUint(rest[i+1:], 10, 16)
	if err != nil || guest == 0 {
		return fail()
	}
	f.Guest = uint16(guest)
	host := rest[:max(i, 0)]
	switch {
	case strings.HasPrefix(host, "/"), strings.HasPrefix(host, "./"):
		f.Path, err = filepath.Abs(host)
	case i < 0:
		f.Host = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), f.Guest)
	case strings.Contains(host, ":"):
		f.Host, err = netip.ParseAddrPort(host)
	default:
		var port uint64
		port, err = strconv.ParseUint(host, 10, 16)
		f.Host = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
	}
	if err != nil {
		return fail()
	}
	return f, nil
}

// parseDisk reads PATH[:ro].
func parseDisk(text string) (capsa.Disk, error) {
	path, readOnly := strings.CutSuffix(text, ":ro")
	abs, err := filepath.Abs(path)
	if err != nil || path == "" {
		return capsa.Disk{}, bad("disk", "/path/of/image, and :ro for one that the guest only reads", "%q is no disk", text)
	}
	d := capsa.Disk{Path: abs, ReadOnly: readOnly}
	f, err := os.Open(abs)
	if err != nil {
		return d, vm.Wrap("disk", err)
	}
	defer f.Close()
	magic := make([]byte, 4)
	if n, _ := f.ReadAt(magic, 0); n < 4 || string(magic) != "QFI\xfb" {
		d.Format = capsa.DiskRaw // the person names the file: what is in it was not the guest's to choose
	}
	return d, nil
}

// environment is what --env and --env-file say: NAME=value, or NAME alone for this process's own value.
func environment(list, files []string) ([]string, error) {
	var out []string
	add := func(line string) error {
		name, _, ok := strings.Cut(line, "=")
		if name == "" {
			return bad("environment", "NAME=value, or NAME alone for your own value", "%q is no variable", line)
		}
		if ok {
			out = append(out, line)
		} else if value, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+value)
		}
		return nil
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, vm.Wrap("environment", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() && err == nil {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				err = add(line)
			}
		}
		f.Close()
		if err == nil {
			err = vm.Wrap("environment", lines.Err())
		}
		if err != nil {
			return nil, err
		}
	}
	for _, line := range list {
		if err := add(line); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// kernelNames are those that a kernel has in the directories of kernelDirs.
var kernelNames = []string{"vmlinux", "vmlinuz", "bzImage"}

// kernelDirs are the directories in which a kernel is looked for.
func kernelDirs() []string {
	var out []string
	if home := os.Getenv("XDG_DATA_HOME"); home != "" {
		out = append(out, filepath.Join(home, "capsa"))
	} else if home, err := os.UserHomeDir(); err == nil {
		out = append(out, filepath.Join(home, ".local/share/capsa"))
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		out = append(out, filepath.Join(filepath.Dir(exe), "../share/capsa"), filepath.Join(filepath.Dir(exe), "guest")) // installed, and as built
	}
	dirs := os.Getenv("XDG_DATA_DIRS")
	if dirs == "" {
		dirs = "/usr/local/share:/usr/share" // the default of the XDG base directory specification
	}
	for _, dir := range filepath.SplitList(dirs) {
		out = append(out, filepath.Join(dir, "capsa"))
	}
	return out
}

// findKernel is the kernel for machines that are not told one.
func findKernel() (string, error) {
	if path := os.Getenv("CAPSA_KERNEL"); path != "" {
		abs, err := filepath.Abs(path)
		return abs, vm.Wrap("find a kernel", err)
	}
	dirs := kernelDirs()
	for _, dir := range dirs {
		for _, name := range kernelNames {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", vm.Errorf(vm.KindNotFound, "find a kernel", "there is none in %s", strings.Join(dirs, ", ")).
		WithHint("give one with --kernel or CAPSA_KERNEL; make guest builds one, and make install puts it where it is found")
}
