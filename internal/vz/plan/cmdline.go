package plan

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/libcapsa/libcapsa/internal/block/partition"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// maxCmdline is COMMAND_LINE_SIZE without the NUL, of x86
// (arch/x86/include/asm/setup.h) and of arm64 (arch/arm64/include/uapi/asm/setup.h).
const maxCmdline = 2047

// machineArgs come before the user's. A kernel that panics stays as it is, because one
// that restarts would do so inside of the framework, unseen: the backend finds the
// panic in the console's output, and ends the machine.
var machineArgs = []string{"console=hvc0", "panic=0"}

// commandLine is the kernel's whole command line. Where the user gives a key that the
// machine gives too, the machine's argument is left out.
func commandLine(cfg vm.Config, arch string) (string, error) {
	line := ""
	if cfg.Boot.Cmdline != nil {
		line = *cfg.Boot.Cmdline
	} else {
		given := keys(cfg.Boot.Args)
		own := slices.Clone(machineArgs)
		if !given["loglevel"] && !given["ignore_loglevel"] && !given["debug"] {
			own = slices.Insert(own, 0, "quiet")
		}
		root, err := rootArgs(cfg, arch, given)
		if err != nil {
			return "", err
		}
		own = append(own, root...)
		own = slices.DeleteFunc(own, func(arg string) bool { return given[key(arg)] })
		line = strings.Join(append(own, cfg.Boot.Args...), " ")
	}
	if len(line) > maxCmdline {
		return "", vm.Errorf(vm.KindLimit, "command line", "has %d bytes, kernels take %d", len(line), maxCmdline).
			WithHint(fmt.Sprintf("shorten it by %d bytes", len(line)-maxCmdline))
	}
	return line, nil
}

// rootArgs name the root file system, if a disk is said to have it.
func rootArgs(cfg vm.Config, arch string, given map[string]bool) ([]string, error) {
	for i, d := range cfg.Disks {
		if !d.Root || given["root"] {
			continue
		}
		n, err := rootPartition(d.Path, arch)
		if err != nil {
			return nil, err
		}
		name := diskName(i)
		if n > 0 {
			name += fmt.Sprint(n)
		}
		args := []string{"root=" + name}
		switch {
		case given["ro"] || given["rw"]:
		case d.ReadOnly:
			args = append(args, "ro")
		default:
			args = append(args, "rw")
		}
		return args, nil
	}
	return nil, nil
}

func rootPartition(path, arch string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, wrapFile(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, wrapFile(path, err)
	}
	n, err := partition.Root(f, uint64(info.Size()), arch)
	if err != nil {
		return 0, fileError(vm.KindIO, path, "", "its partition table: %w", err)
	}
	return n, nil
}

// keys are what the arguments for the kernel set; what follows "--" is for init. One
// argument may hold several; spaces in quotation marks do not part them (lib/cmdline.c,
// next_arg).
func keys(args []string) map[string]bool {
	set := map[string]bool{}
	for _, arg := range args {
		quoted := false
		for _, one := range strings.FieldsFunc(arg, func(r rune) bool {
			if r == '"' {
				quoted = !quoted
			}
			return !quoted && (r == ' ' || r == '\t')
		}) {
			if one == "--" {
				return set
			}
			set[key(one)] = true
		}
	}
	return set
}

// key is what an argument sets. The kernel takes '-' for '_' (kernel/params.c).
func key(arg string) string {
	k, _, _ := strings.Cut(strings.Trim(arg, `"`), "=")
	return strings.ReplaceAll(k, "-", "_")
}
