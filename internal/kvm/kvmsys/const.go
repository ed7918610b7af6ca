//go:build linux

package kvmsys

// DevicePath is where Linux offers KVM.
const DevicePath = "/dev/kvm"

// APIVersion is the only version of the interface that was ever released
// (KVM_API_VERSION, linux/kvm.h).
const APIVersion = 12

// ioctl numbers, from linux/kvm.h for x86-64. The sizes that _IOR and _IOW
// fold into bits 16..29 are checked against our structures in layout_test.go.
const (
	ioGetAPIVersion      = 0xae00
	ioCreateVM           = 0xae01
	ioGetMSRIndexList    = 0xc004ae02
	ioCheckExtension     = 0xae03
	ioGetVCPUMmapSize    = 0xae04
	ioGetSupportedCPUID  = 0xc008ae05
	ioCreateVCPU         = 0xae41
	ioSetUserMemory      = 0x4020ae46
	ioSetTSSAddr         = 0xae47
	ioSetIdentityMapAddr = 0x4008ae48
	ioCreateIRQChip      = 0xae60
	ioIRQLine            = 0x4008ae61
	ioSetGSIRouting      = 0x4008ae6a
	ioCreatePIT2         = 0x4040ae77
	ioIOEventFD          = 0x4040ae79
	ioRun                = 0xae80
	ioGetRegs            = 0x8090ae81
	ioSetRegs            = 0x4090ae82
	ioGetSregs           = 0x8138ae83
	ioSetSregs           = 0x4138ae84
	ioGetMSRs            = 0xc008ae88
	ioSetMSRs            = 0x4008ae89
	ioSetFPU             = 0x41a0ae8d
	ioGetLAPIC           = 0x8400ae8e
	ioSetLAPIC           = 0x4400ae8f
	ioSetCPUID2          = 0x4008ae90
	ioGetMPState         = 0x8004ae98
	ioSetMPState         = 0x4004ae99
	ioGetTSCKHz          = 0xaea3
	ioEnableCap          = 0x4068aea3
	ioKVMClockCtrl       = 0xaead
)

// Cap is a KVM capability number (KVM_CAP_*, linux/kvm.h).
type Cap uint32

// Capabilities used by package kvm.
const (
	CapIRQChip            Cap = 0
	CapUserMemory         Cap = 3
	CapSetTSSAddr         Cap = 4
	CapExtCPUID           Cap = 7
	CapClockSource        Cap = 8
	CapNrVCPUs            Cap = 9
	CapNrMemSlots         Cap = 10
	CapMPState            Cap = 14
	CapIRQRouting         Cap = 25
	CapPIT2               Cap = 33
	CapIOEventFD          Cap = 36
	CapSetIdentityMapAddr Cap = 37
	CapGetTSCKHz          Cap = 61
	CapMaxVCPUs           Cap = 66
	CapTSCDeadlineTimer   Cap = 72
	CapKVMClockCtrl       Cap = 76
	CapEnableCapVM        Cap = 98
	CapMaxVCPUID          Cap = 128
	CapImmediateExit      Cap = 136
	CapHaltPoll           Cap = 182
)

// ExitReason says why KVM_RUN returned (KVM_EXIT_*, linux/kvm.h).
type ExitReason uint32

// Exit reasons that exist on x86-64.
const (
	ExitUnknown       ExitReason = 0
	ExitException     ExitReason = 1
	ExitIO            ExitReason = 2
	ExitHypercall     ExitReason = 3
	ExitDebug         ExitReason = 4
	ExitHLT           ExitReason = 5
	ExitMMIO          ExitReason = 6
	ExitIRQWindowOpen ExitReason = 7
	ExitShutdown      ExitReason = 8
	ExitFailEntry     ExitReason = 9
	ExitIntr          ExitReason = 10
	ExitSetTPR        ExitReason = 11
	ExitTPRAccess     ExitReason = 12
	ExitNMI           ExitReason = 16
	ExitInternalError ExitReason = 17
	ExitSystemEvent   ExitReason = 24
	ExitIOAPICEOI     ExitReason = 26
	ExitHyperV        ExitReason = 27
	ExitX86RDMSR      ExitReason = 29
	ExitX86WRMSR      ExitReason = 30
	ExitDirtyRingFull ExitReason = 31
	ExitAPResetHold   ExitReason = 32
	ExitX86BusLock    ExitReason = 33
	ExitXen           ExitReason = 34
	ExitNotify        ExitReason = 37
	ExitMemoryFault   ExitReason = 39

	// ExitReasonCount is one more than the largest reason known here.
	ExitReasonCount = 40
)

var exitNames = [ExitReasonCount]string{
	ExitUnknown: "unknown", ExitException: "exception", ExitIO: "io", ExitHypercall: "hypercall",
	ExitDebug: "debug", ExitHLT: "hlt", ExitMMIO: "mmio", ExitIRQWindowOpen: "irq_window_open",
	ExitShutdown: "shutdown", ExitFailEntry: "fail_entry", ExitIntr: "intr", ExitSetTPR: "set_tpr",
	ExitTPRAccess: "tpr_access", ExitNMI: "nmi", ExitInternalError: "internal_error",
	ExitSystemEvent: "system_event", ExitIOAPICEOI: "ioapic_eoi", ExitHyperV: "hyperv",
	ExitX86RDMSR: "rdmsr", ExitX86WRMSR: "wrmsr", ExitDirtyRingFull: "dirty_ring_full",
	ExitAPResetHold: "ap_reset_hold", ExitX86BusLock: "bus_lock", ExitXen: "xen",
	ExitNotify: "notify", ExitMemoryFault: "memory_fault",
}

// String is the kernel's name without its prefix, in lower case; "exit_N" for
// a reason this package does not know.
func (r ExitReason) String() string {
	if r < ExitReasonCount && exitNames[r] != "" {
		return exitNames[r]
	}
	return "exit_" + utoa(uint32(r))
}

func utoa(v uint32) string {
	var b [10]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			return string(b[i:])
		}
	}
}

// SystemEvent is the kind of an ExitSystemEvent (KVM_SYSTEM_EVENT_*).
type SystemEvent uint32

// System events.
const (
	SystemShutdown SystemEvent = 1
	SystemReset    SystemEvent = 2
	SystemCrash    SystemEvent = 3
	SystemWakeup   SystemEvent = 4
	SystemSuspend  SystemEvent = 5
	SystemSEVTerm  SystemEvent = 6
)

// MPState is a vCPU's multiprocessing state (KVM_MP_STATE_*).
type MPState uint32

// Multiprocessing states.
const (
	MPRunnable      MPState = 0
	MPUninitialized MPState = 1
	MPHalted        MPState = 3
)

// Flags of KVM_SET_USER_MEMORY_REGION and KVM_IOEVENTFD.
const (
	MemLogDirty = 1 << 0
	MemReadOnly = 1 << 1

	ioEventDataMatch = 1 << 0
	ioEventPIO       = 1 << 1
	ioEventDeassign  = 1 << 2
)

// IRQ chips of a routing entry (KVM_IRQCHIP_*).
const (
	ChipPICMaster = 0
	ChipPICSlave  = 1
	ChipIOAPIC    = 2
)

// Suberrors of ExitInternalError (KVM_INTERNAL_ERROR_*).
const (
	InternalEmulation            = 1
	InternalSimulEx              = 2
	InternalDeliveryEvent        = 3
	InternalUnexpectedExitReason = 4
)
