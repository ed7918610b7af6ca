package vm

import (
	"fmt"
	"slices"
)

// Feature names something that a backend may or may not do.
type Feature string

// The features a Config or a call can ask for, or a person may want to know of.
const (
	FeatureBootLinux        Feature = "boot-linux"        // direct boot of a Linux kernel
	FeatureBootEFI          Feature = "boot-efi"          // firmware, which boots from a disk
	FeatureConsole          Feature = "console"           // a console with input and output
	FeatureConsoleResize    Feature = "console-resize"    // ResizeConsole
	FeatureEarlyConsole     Feature = "early-console"     // output before the console driver is up (COM1)
	FeatureEntropy          Feature = "entropy"           // an entropy device
	FeaturePause            Feature = "pause"             // Pause and Resume
	FeaturePowerButton      Feature = "power-button"      // PowerButton
	FeatureSave             Feature = "save"              // Save, and to start from what it has saved
	FeatureRebootEnds       Feature = "reboot-ends"       // a guest that reboots ends its machine
	FeatureInProcess        Feature = "in-process"        // machines in the caller's process
	FeatureExitStats        Feature = "exit-stats"        // exits to user space are counted by reason
	FeatureDisk             Feature = "disk"              // disks
	FeatureDiskQcow2        Feature = "disk-qcow2"        // images in qcow2 format
	FeatureDiskOverlay      Feature = "disk-overlay"      // changes go to a file of their own
	FeatureDiskTemporary    Feature = "disk-temporary"    // changes are thrown away
	FeatureDiskDevice       Feature = "disk-device"       // block devices of the host
	FeatureDiskLimit        Feature = "disk-limit"        // limits of requests and bytes per second
	FeatureDiskQueues       Feature = "disk-queues"       // a number of queues that is chosen
	FeatureShare            Feature = "share"             // shared directories
	FeatureShareOwner       Feature = "share-owner"       // files whose owner in the guest is chosen
	FeatureShareCache       Feature = "share-cache"       // a cache policy that is chosen
	FeatureShareOptions     Feature = "share-options"     // extended attributes, locks, mounts, set-ID bits as chosen
	FeatureShareLimits      Feature = "share-limits"      // limits of files, and a number of queues
	FeatureBalloon          Feature = "balloon"           // SetMemoryTarget
	FeatureBalloonReporting Feature = "balloon-reporting" // memory that is free in the guest goes back by itself
	FeatureVsock            Feature = "vsock"             // sockets between guest and host
	FeatureVsockSeqPacket   Feature = "vsock-seqpacket"   // those of type SOCK_SEQPACKET
	FeatureNetwork          Feature = "network"           // a network in user space: NetworkUser
	FeatureNetworkMTU       Feature = "network-mtu"       // packets of more than 1500 bytes
	FeatureNetworkNAT       Feature = "network-nat"       // the platform's network: NetworkNAT
	FeatureNetworkFD        Feature = "network-fd"        // a descriptor as a network: NetworkFD, NetworkTAP and NetworkShared
	FeatureNetworkLimit     Feature = "network-limit"     // limits of bytes, packets and connections per second
	FeatureNetworkCapture   Feature = "network-capture"   // what passes is written to a file
	FeatureRosetta          Feature = "rosetta"           // programs for x86-64 run in a guest of another processor
)

// ask is what a configuration asks for, and where.
type ask struct {
	feature Feature
	field   string
}

// asking is the table of what a configuration can ask for: each row adds where it
// does.
var asking = []struct {
	feature Feature
	where   func(c Config) []string
}{
	{FeatureBootLinux, func(c Config) []string { return one("boot.kernel", !c.EFI.Enabled()) }},
	{FeatureBootEFI, func(c Config) []string { return one("boot.efi", c.EFI.Enabled()) }},
	{FeatureSave, func(c Config) []string { return one("restore", c.Restore != "") }},
	{FeatureInProcess, func(c Config) []string { return one("isolation", c.Isolation == IsolationNone) }},
	{FeatureRosetta, func(c Config) []string { return one("rosetta", c.Rosetta != "") }},

	{FeatureDisk, func(c Config) []string { return one("disks", len(c.Disks) > 0) }},
	// An image that is not said to be raw is qcow2 or an error.
	{FeatureDiskQcow2, disks("format", func(d Disk) bool { return d.Format != DiskRaw })},
	{FeatureDiskOverlay, disks("overlay", func(d Disk) bool { return d.Overlay != "" })},
	{FeatureDiskTemporary, disks("temporary", func(d Disk) bool { return d.Temporary })},
	{FeatureDiskLimit, disks("limit", func(d Disk) bool { return d.Limit != DiskLimit{} })},
	{FeatureDiskQueues, disks("queues", func(d Disk) bool { return d.Queues > 0 })},

	{FeatureShare, func(c Config) []string { return one("shares", len(c.Shares) > 0) }},
	{FeatureShareOwner, shares("owner", func(s Share) bool {
		return s.Owner == SharePassthrough || s.Owner == ShareRanges || s.GuestUID != 0 || s.GuestGID != 0 ||
			s.HostUID != nil || s.HostGID != nil
	})},
	{FeatureShareCache, shares("cache", func(s Share) bool { return s.Cache != ShareCacheAuto || s.Writeback || s.DirectIO })},
	{FeatureShareOptions, shares("xattr", func(s Share) bool {
		return s.Xattr != ShareXattrUser || s.ACL || s.GuestLocks || s.OneFileSystem || s.AllowSetID
	})},
	{FeatureShareLimits, shares("max_files", func(s Share) bool { return s.MaxFiles > 0 || s.MaxInodes > 0 || s.Queues > 0 })},

	{FeatureVsock, func(c Config) []string { return one("vsock", c.Vsock.Enabled()) }},
	{FeatureVsockSeqPacket, func(c Config) (at []string) {
		for i, v := range c.Vsock.Ports {
			at = append(at, one(fmt.Sprintf("vsock.ports[%d].type", i), v.Type == VsockSeqPacket)...)
		}
		return at
	}},
	{FeatureNetwork, func(c Config) []string { return one("network.mode", c.Network.Mode == NetworkUser) }},
	{FeatureNetworkNAT, func(c Config) []string { return one("network.mode", c.Network.Mode == NetworkNAT) }},
	{FeatureNetworkFD, func(c Config) []string {
		m := c.Network.Mode
		return one("network.mode", m == NetworkFD || m == NetworkTAP || m == NetworkShared)
	}},
	{FeatureNetworkLimit, func(c Config) []string { return one("network.limits", c.Network.Limits != NetworkLimits{}) }},
	{FeatureNetworkCapture, func(c Config) []string { return one("network.capture", c.Network.Capture.Enabled()) }},
	{FeatureNetworkMTU, func(c Config) []string { return one("network.mtu", c.Network.MTU > DefaultMTU) }},
}

// calls are the features that no configuration asks for, but a call, or nobody.
var calls = []Feature{
	FeatureConsole, FeatureConsoleResize, FeatureEarlyConsole, FeatureEntropy, FeaturePause, FeaturePowerButton,
	FeatureRebootEnds, FeatureExitStats, FeatureDiskDevice, FeatureBalloon, FeatureBalloonReporting,
}

// Features returns every feature: a backend's Offers have them all.
func Features() []Feature {
	all := slices.Clone(calls)
	for _, row := range asking {
		all = append(all, row.feature)
	}
	slices.Sort(all)
	return all
}

// asked lists all that a configuration asks for.
func asked(c Config) (list []ask) {
	for _, row := range asking {
		for _, field := range row.where(c) {
			list = append(list, ask{row.feature, field})
		}
	}
	return list
}

func one(field string, yes bool) []string {
	if yes {
		return []string{field}
	}
	return nil
}

func disks(key string, asks func(Disk) bool) func(Config) []string {
	return func(c Config) (at []string) {
		for i, d := range c.Disks {
			at = append(at, one(fmt.Sprintf("disks[%d].%s", i, key), asks(d))...)
		}
		return at
	}
}

func shares(key string, asks func(Share) bool) func(Config) []string {
	return func(c Config) (at []string) {
		for i, s := range c.Shares {
			at = append(at, one(fmt.Sprintf("shares[%d].%s", i, key), asks(s))...)
		}
		return at
	}
}
