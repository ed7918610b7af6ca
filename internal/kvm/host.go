//go:build linux

package kvm

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// component is what errors of this package name as the part that failed.
const component = "kvm"

// capability is a KVM extension with its kernel name.
type capability struct {
	cap  kvmsys.Cap
	name string
}

// required are the extensions without which no machine can be made. All are in
// Linux since 4.12 at the latest (KVM_CAP_IMMEDIATE_EXIT).
var required = []capability{
	{kvmsys.CapIRQChip, "KVM_CAP_IRQCHIP"},
	{kvmsys.CapUserMemory, "KVM_CAP_USER_MEMORY"},
	{kvmsys.CapSetTSSAddr, "KVM_CAP_SET_TSS_ADDR"},
	{kvmsys.CapExtCPUID, "KVM_CAP_EXT_CPUID"},
	{kvmsys.CapMPState, "KVM_CAP_MP_STATE"},
	{kvmsys.CapIRQRouting, "KVM_CAP_IRQ_ROUTING"},
	{kvmsys.CapIOEventFD, "KVM_CAP_IOEVENTFD"},
	{kvmsys.CapImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"},
}

// optional are the extensions that machines make use of where they are there.
var optional = []capability{
	{kvmsys.CapClockSource, "KVM_CAP_CLOCKSOURCE"},
	{kvmsys.CapTSCDeadlineTimer, "KVM_CAP_TSC_DEADLINE_TIMER"},
	{kvmsys.CapGetTSCKHz, "KVM_CAP_GET_TSC_KHZ"},
	{kvmsys.CapSetIdentityMapAddr, "KVM_CAP_SET_IDENTITY_MAP_ADDR"},
	{kvmsys.CapKVMClockCtrl, "KVM_CAP_KVMCLOCK_CTRL"},
	{kvmsys.CapHaltPoll, "KVM_CAP_HALT_POLL"},
	{kvmsys.CapPIT2, "KVM_CAP_PIT2"},
	{kvmsys.CapNrVCPUs, "KVM_CAP_NR_VCPUS"},
	{kvmsys.CapMaxVCPUs, "KVM_CAP_MAX_VCPUS"},
	{kvmsys.CapMaxVCPUID, "KVM_CAP_MAX_VCPU_ID"},
	{kvmsys.CapNrMemSlots, "KVM_CAP_NR_MEMSLOTS"},
}

// Hints for people whose /dev/kvm does not work.
const (
	hintMissing = "the kernel offers no KVM: load kvm_intel or kvm_amd, turn virtualisation on in the firmware; inside of a virtual machine " +
		"its host must allow nested virtualisation, inside of a container pass the device (docker run --device /dev/kvm)"
	hintAccess  = "add the user to the device's group and log in again: sudo usermod -aG kvm \"$USER\""
	hintBusy    = "another hypervisor (VirtualBox, VMware) holds the processor's virtualisation; stop its machines or unload its modules"
	hintNotKVM  = "the device is not KVM; check it with ls -l /dev/kvm: it should be a character device 10, 232"
	hintVersion = "the kernel is older than Linux 2.6.22 or is not Linux"
	hintCaps    = "use Linux 4.12 or newer on x86-64, with CONFIG_KVM"
	hintFDs     = "raise the limit of open files: ulimit -n"
)

// openErrors says what an errno of opening the device means.
var openErrors = []struct {
	errno error
	kind  vm.Kind
	hint  string
}{
	{unix.ENOENT, vm.KindUnavailable, hintMissing},
	{unix.ENODEV, vm.KindUnavailable, hintMissing},
	{unix.ENXIO, vm.KindUnavailable, hintMissing},
	{unix.EACCES, vm.KindUnavailable, hintAccess},
	{unix.EPERM, vm.KindUnavailable, hintAccess},
	{unix.EBUSY, vm.KindUnavailable, hintBusy},
	{unix.ENOTTY, vm.KindUnavailable, hintNotKVM},
	{unix.EISDIR, vm.KindUnavailable, hintNotKVM},
	{unix.EMFILE, vm.KindLimit, hintFDs},
	{unix.ENFILE, vm.KindLimit, hintFDs},
	{unix.ENOMEM, vm.KindNoMemory, ""},
}

// hostError makes the typed error of a call to KVM that concerns the host as a
// whole: opening the device, creating a VM.
func hostError(op, path string, err error) error {
	var v *kvmsys.VersionError
	if errors.As(err, &v) {
		return vm.Errorf(vm.KindUnsupported, op, "%w", err).WithComponent(component).WithPath(path).WithHint(hintVersion)
	}
	for _, e := range openErrors {
		if errors.Is(err, e.errno) {
			return vm.Errorf(e.kind, op, "%w", err).WithComponent(component).WithPath(path).WithHint(e.hint)
		}
	}
	return vm.Errorf(vm.KindIO, op, "%w", err).WithComponent(component).WithPath(path)
}

// checkRequired names everything that a KVM lacks and machines need.
func checkRequired(sys *kvmsys.System, path string) error {
	var missing []string
	for _, c := range required {
		if sys.Extension(c.cap) == 0 {
			missing = append(missing, c.name)
		}
	}
	if len(missing) > 0 {
		return vm.Errorf(vm.KindUnsupported, "open KVM", "KVM lacks %s", strings.Join(missing, ", ")).
			WithComponent(component).WithPath(path).WithHint(hintCaps)
	}
	return nil
}

// detail is what doctor prints about the host.
func detail(sys *kvmsys.System) map[string]string {
	d := map[string]string{"api_version": fmt.Sprint(kvmsys.APIVersion)}
	for _, c := range slices.Concat(required, optional) {
		d[c.name] = fmt.Sprint(sys.Extension(c.cap))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		d["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	return d
}

// maxVCPUs is how many vCPUs a machine may have.
func maxVCPUs(sys *kvmsys.System) int {
	n := sys.Extension(kvmsys.CapMaxVCPUs)
	if n == 0 { // api.rst: then KVM_CAP_NR_VCPUS is the limit, then 4
		n = sys.Extension(kvmsys.CapNrVCPUs)
	}
	if n == 0 {
		n = 4
	}
	if ids := sys.Extension(kvmsys.CapMaxVCPUID); ids > 0 {
		n = min(n, ids)
	}
	return min(n, vm.MaxCPUs)
}

// hostMemory is what the host could give one machine, RAM and swap, in bytes;
// 0 when it does not say. More would start, and end with a host out of memory.
func hostMemory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return (s.Totalram + s.Totalswap) * uint64(s.Unit)
}

// fdTableSize is to how many descriptors growFDTable grows: 512 machines of 16
// descriptors each; the table then takes 64 KiB.
const fdTableSize = 8192

// growFDTable makes the kernel grow the process's descriptor table once. It
// grows by doubling, and in a process with threads each step waits for a grace
// period: 7 to 15 ms that would hit some machine's start.
var growFDTable = sync.OnceFunc(func() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil || lim.Cur < 2 {
		return
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		return // only a matter of speed
	}
	defer func() { _ = f.Close() }()
	at := min(fdTableSize, int(min(lim.Cur, fdTableSize))) - 1
	if fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, at); err == nil {
		_ = unix.Close(fd)
	}
})
