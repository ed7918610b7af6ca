// Package arch holds the architecture: who may import whom, and what product
// code never does. It reads the source of the whole module, for every platform
// at once, and has no exceptions besides those in its tables.
package arch

const module = "github.com/libcapsa/libcapsa"

// rule says what the packages of one folder may import, besides the standard
// library and the packages of the same folder. The longest matching folder
// counts.
type rule struct {
	folder string
	// own are folders of this module, each with what is below it; one that
	// ends in "." stands for itself alone.
	own []string
	// third are modules of others, each with all its packages.
	third []string
	// alone: packages of the same folder may not import each other either.
	alone bool
}

// sys is the only way to system calls.
const sys = "golang.org/x/sys"

// rules is the table of ARCHITECTURE.md. Arrows go down only. A package
// without a row is an error: a new folder needs a place in the architecture.
var rules = []rule{
	// The product, from the top.
	{folder: "libcapsa", own: []string{"capsa", "internal/console", "internal/vm", "internal/safe", "internal/self"}, third: []string{sys}},
	{folder: "capsa", own: []string{"internal/vm", "internal/backend", "internal/console", "internal/agent", "internal/net", "internal/safe", "internal/sockpair"}, third: []string{sys}},
	{folder: "cmd/capsa", own: []string{"internal/cli."}},
	{folder: "internal/cli", own: []string{"capsa", "internal/image", "internal/vm", "internal/safe"}, third: []string{
		sys, "golang.org/x/term", "github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/pelletier/go-toml/v2",
	}},
	{folder: "internal/cli/hold", own: []string{"capsa", "internal/console", "internal/sockpair", "internal/vm", "internal/safe"}, third: []string{
		sys, "github.com/gofrs/flock",
	}, alone: true},
	{folder: "internal/cli/terminal", own: []string{"internal/vm", "internal/safe"}, third: []string{sys, "golang.org/x/term"}, alone: true},
	{folder: "examples/go", own: []string{"capsa"}},
	{folder: "tests/polyglot/go", own: []string{"capsa"}},
	{folder: "cmd/capsa-vzd", own: []string{"internal/vzd", "internal/kvm.", "internal/vz.", "internal/vz/framework"}},

	// The contract between product and backends: the standard library alone.
	{folder: "internal/vm"},
	{folder: "internal/safe"},
	{folder: "internal/self"},
	{folder: "internal/sockpair", third: []string{sys}},

	// The only place that knows every backend.
	{folder: "internal/backend", own: []string{"internal/vm", "internal/kvm.", "internal/vzd/client"}},

	// The Linux backend. Its tables and registers know no ioctl; its ioctls know no machine.
	// It joins devices with what serves them on the host.
	{folder: "internal/kvm", own: []string{
		"internal/virtio", "internal/guestmem", "internal/vm", "internal/safe",
		"internal/block", "internal/vsock", "internal/net", "internal/fuse",
	}, third: []string{sys}},
	{folder: "internal/kvm/kvmsys", third: []string{sys}},
	{folder: "internal/kvm/layout", own: []string{"internal/guestmem", "internal/vm"}},
	{folder: "internal/kvm/acpi", own: []string{"internal/kvm/layout", "internal/vm"}},
	{folder: "internal/kvm/mptable", own: []string{"internal/kvm/layout", "internal/vm"}},
	{folder: "internal/kvm/legacy", own: []string{"internal/kvm/layout", "internal/kvm/acpi", "internal/safe"}},
	{folder: "internal/kvm/boot", own: []string{"internal/kvm/layout", "internal/guestmem", "internal/vm"}},

	// Devices: no ioctls, no other devices, no hypervisor.
	{folder: "internal/guestmem", third: []string{sys}},
	{folder: "internal/virtio", own: []string{"internal/guestmem", "internal/safe"}, third: []string{sys}},
	{folder: "internal/virtio/virtq", own: []string{"internal/guestmem"}},
	{folder: "internal/virtio/mmio", own: transport},
	{folder: "internal/virtio/console", own: device, alone: true},
	{folder: "internal/virtio/rng", own: device, alone: true},
	{folder: "internal/virtio/balloon", own: device, alone: true},
	{folder: "internal/virtio/net", own: append([]string{"internal/net/link", "internal/net/shaper"}, device...), alone: true},
	{folder: "internal/virtio/vsock", own: append([]string{"internal/vsock"}, device...), alone: true},
	{folder: "internal/virtio/fs", own: device, alone: true},
	{folder: "internal/virtio/blk", own: append([]string{"internal/block"}, device...), alone: true},

	// The host's side of devices: no queues, no hypervisor.
	{folder: "internal/console", own: []string{"internal/safe", "internal/sockpair"}, third: []string{sys}},
	{folder: "internal/block/partition"},
	{folder: "internal/block", own: []string{"internal/vm", "internal/safe"}, third: []string{sys, "github.com/klauspost/compress"}},
	{folder: "internal/vsock", own: []string{"internal/vm", "internal/safe"}, third: []string{sys}},
	{folder: "internal/fuse", own: []string{"internal/safe"}, third: []string{sys, "github.com/hanwen/go-fuse/v2"}},
	{folder: "internal/net", own: []string{"internal/safe"}, third: []string{
		sys, "gvisor.dev/gvisor",
	}},
	{folder: "internal/net/gateway", own: []string{"internal/net", "internal/vm", "internal/safe"}, third: []string{sys}},
	{folder: "internal/net/lan", own: []string{"internal/net", "internal/vm", "internal/safe"}, third: []string{sys}},
	{folder: "internal/net/ether", alone: true},
	{folder: "internal/net/dns", own: []string{"internal/net/policy.", "internal/safe"}, third: []string{"golang.org/x/net/dns/dnsmessage"}, alone: true},
	{folder: "internal/net/arp", own: []string{"internal/net/ether"}, alone: true},
	{folder: "internal/net/ndp", own: []string{"internal/net/ether"}, alone: true},
	{folder: "internal/net/dhcp", own: []string{"internal/net/ether"}, alone: true},
	{folder: "internal/net/dhcp6", own: []string{"internal/net/ether"}, alone: true},
	{folder: "internal/net/link", alone: true},
	{folder: "internal/net/cable", own: []string{"internal/net/link", "internal/net/frame", "internal/safe"}, third: []string{sys}},
	{folder: "internal/net/pcap", own: []string{"internal/net/link", "internal/safe"}},
	{folder: "internal/net/shaper", alone: true},
	{folder: "internal/net/frame", own: []string{"internal/net/link"}},
	{folder: "internal/net/policy", alone: true},
	{folder: "internal/net/policy/sniff"},
	{folder: "internal/agent", own: []string{"internal/agent/wire", "internal/safe", "internal/vm"}, third: []string{ttrpc, protobuf}},
	{folder: "internal/agent/wire", third: []string{ttrpc, protobuf}},
	{folder: "internal/agent/tree"},
	{folder: "internal/agent/initrd", own: []string{"guest/image", "internal/vm"}},

	// Root file systems, from images: no machine.
	{folder: "internal/image", own: []string{"internal/vm", "internal/safe"}, third: []string{
		sys, "golang.org/x/sync", "github.com/google/go-containerregistry", "github.com/Microsoft/hcsshim/ext4",
		"github.com/gofrs/flock", "github.com/klauspost/compress",
	}},

	// The macOS backend and the daemon. plan runs everywhere.
	{folder: "internal/vz", own: []string{"internal/vm", "internal/safe", "internal/sockpair", "internal/net"}, third: []string{sys}},
	{folder: "internal/vz/framework", own: []string{"internal/vz.", "internal/vz/plan", "internal/vm", "internal/safe"}, third: []string{sys, "github.com/Code-Hex/vz/v3"}},
	{folder: "internal/vz/plan", own: []string{"internal/vm", "internal/block/partition"}},
	{folder: "internal/vzd", own: []string{"internal/vm", "internal/safe", "internal/sockpair"}, third: []string{sys}},
	{folder: "internal/vzd/wire", own: []string{"internal/vm", "internal/safe", "internal/sockpair"}, third: []string{sys}, alone: true},
	{folder: "internal/vzd/client", own: []string{"internal/vzd/wire", "internal/vm", "internal/safe", "internal/self", "internal/sockpair"}, third: []string{sys}},

	// Test kits: importable by tests alone (see kits).
	{folder: "internal/vmtest", own: []string{"internal/vm", "internal/safe"}, third: []string{testify}},
	{folder: "internal/virtio/virtiotest", own: []string{"internal/virtio", "internal/guestmem"}, third: []string{sys, testify}},
	{folder: "internal/vz/vztest", own: []string{"internal/vz", "internal/vm", "internal/vmtest", "internal/safe"}, third: []string{sys, testify}},
	{folder: "internal/kvm/kvmtest", own: []string{"internal/kvm/kvmsys"}, third: []string{sys, testify}},

	// What runs in the guest, and what builds it.
	{folder: "guest", own: []string{"internal/agent/wire"}, third: []string{sys}},
	{folder: "guest/agent", own: []string{"internal/agent/wire", "internal/agent/tree", "internal/safe"}, third: []string{sys, ttrpc}},
	{folder: "guest/setup", own: []string{"internal/agent/wire", "internal/safe"}, third: []string{
		sys, "github.com/vishvananda/netlink", "github.com/insomniacslk/dhcp",
	}},
	{folder: "guest/cmd/agent", own: []string{"guest/agent", "guest/setup", "internal/agent/wire"}, third: []string{sys, "github.com/mdlayher/vsock"}},
	{folder: "guest/cmd/vsockpeer", third: []string{"github.com/mdlayher/vsock"}},
	{folder: "tests", own: []string{"capsa", "guest"}, third: []string{sys, testify}},
	{folder: "tests/bench/share", own: []string{"internal/fuse"}, third: []string{sys, "github.com/hanwen/go-fuse/v2"}},
	{folder: "tests/bench/net", own: []string{"internal/net", "internal/vm"}, third: []string{sys}},
}

// The control protocol of the guest's agent.
const (
	ttrpc    = "github.com/containerd/ttrpc"
	protobuf = "google.golang.org/protobuf"
)

const testify = "github.com/stretchr/testify"

var (
	transport = []string{"internal/virtio.", "internal/virtio/virtq", "internal/guestmem", "internal/safe"}
	device    = transport
)

// kits are folders that production code never imports.
var kits = []string{"internal/vmtest", "internal/virtio/virtiotest", "internal/kvm/kvmtest", "internal/vz/vztest", "tests"}

// program are the folders of a program, whose process, terminal and signals are its own.
var program = []string{"internal/cli.", "internal/cli/terminal"}

// tops are folders that nothing imports.
var tops = []string{"libcapsa", "cmd", "examples"}

// cgo names the only folders with import "C": the product's border, and the empty
// library that benchmarks compare it with.
var cgo = []string{"libcapsa", "tests/bench/noop"}

// generated is how the files end that a protobuf compiler wrote: their unsafe is its.
const generated = ".pb.go"

// platforms are listed one after the other, since imports depend on them.
var platforms = []struct{ os, arch string }{
	{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}, {"darwin", "amd64"},
}
