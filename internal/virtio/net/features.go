package net

import (
	"fmt"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Feature bits, virtio 1.2 section 5.1.3; the two GUEST_USO are of virtio 1.3,
// under the same section. Linux numbers them so in virtio_net.h.
const (
	FeatureCSum        uint64 = 1 << 0  // VIRTIO_NET_F_CSUM: partial checksums from the driver
	FeatureGuestCSum   uint64 = 1 << 1  // VIRTIO_NET_F_GUEST_CSUM: partial checksums to the driver
	FeatureMTU         uint64 = 1 << 3  // VIRTIO_NET_F_MTU: mtu is valid
	FeatureMAC         uint64 = 1 << 5  // VIRTIO_NET_F_MAC: mac is valid
	FeatureGuestTSO4   uint64 = 1 << 7  // VIRTIO_NET_F_GUEST_TSO4: long TCP frames to the driver
	FeatureGuestTSO6   uint64 = 1 << 8  // VIRTIO_NET_F_GUEST_TSO6
	FeatureGuestECN    uint64 = 1 << 9  // VIRTIO_NET_F_GUEST_ECN: with CWR in their first segment
	FeatureHostTSO4    uint64 = 1 << 11 // VIRTIO_NET_F_HOST_TSO4: long TCP frames from the driver
	FeatureHostTSO6    uint64 = 1 << 12 // VIRTIO_NET_F_HOST_TSO6
	FeatureHostECN     uint64 = 1 << 13 // VIRTIO_NET_F_HOST_ECN
	FeatureMrgRxBuf    uint64 = 1 << 15 // VIRTIO_NET_F_MRG_RXBUF: a frame may lie in several receive buffers
	FeatureStatus      uint64 = 1 << 16 // VIRTIO_NET_F_STATUS: status is valid
	FeatureCtrlVQ      uint64 = 1 << 17 // VIRTIO_NET_F_CTRL_VQ: there is a control queue
	FeatureCtrlRx      uint64 = 1 << 18 // VIRTIO_NET_F_CTRL_RX: with commands for filters
	FeatureCtrlVLAN    uint64 = 1 << 19 // VIRTIO_NET_F_CTRL_VLAN: with commands for VLANs
	FeatureCtrlMACAddr uint64 = 1 << 23 // VIRTIO_NET_F_CTRL_MAC_ADDR: with a command for the address
	FeatureGuestUSO4   uint64 = 1 << 54 // VIRTIO_NET_F_GUEST_USO4: long UDP frames to the driver
	FeatureGuestUSO6   uint64 = 1 << 55 // VIRTIO_NET_F_GUEST_USO6
	FeatureHostUSO     uint64 = 1 << 56 // VIRTIO_NET_F_HOST_USO: long UDP frames from the driver
)

// features are all that are offered.
const features = FeatureCSum | FeatureGuestCSum | FeatureMTU | FeatureMAC |
	FeatureGuestTSO4 | FeatureGuestTSO6 | FeatureGuestECN |
	FeatureHostTSO4 | FeatureHostTSO6 | FeatureHostECN |
	FeatureMrgRxBuf | FeatureStatus |
	FeatureCtrlVQ | FeatureCtrlRx | FeatureCtrlVLAN | FeatureCtrlMACAddr |
	FeatureGuestUSO4 | FeatureGuestUSO6 | FeatureHostUSO

// needs is the table of section 5.1.3.1: each feature needs at least one of
// others.
var needs = []struct {
	name    string
	feature uint64
	anyOf   uint64
	names   string // of anyOf
}{
	{"GUEST_TSO4", FeatureGuestTSO4, FeatureGuestCSum, "GUEST_CSUM"},
	{"GUEST_TSO6", FeatureGuestTSO6, FeatureGuestCSum, "GUEST_CSUM"},
	{"GUEST_ECN", FeatureGuestECN, FeatureGuestTSO4 | FeatureGuestTSO6, "GUEST_TSO4 or GUEST_TSO6"},
	{"GUEST_USO4", FeatureGuestUSO4, FeatureGuestCSum, "GUEST_CSUM"},
	{"GUEST_USO6", FeatureGuestUSO6, FeatureGuestCSum, "GUEST_CSUM"},
	{"HOST_TSO4", FeatureHostTSO4, FeatureCSum, "CSUM"},
	{"HOST_TSO6", FeatureHostTSO6, FeatureCSum, "CSUM"},
	{"HOST_ECN", FeatureHostECN, FeatureHostTSO4 | FeatureHostTSO6, "HOST_TSO4 or HOST_TSO6"},
	{"HOST_USO", FeatureHostUSO, FeatureCSum, "CSUM"},
	{"CTRL_RX", FeatureCtrlRx, FeatureCtrlVQ, "CTRL_VQ"},
	{"CTRL_VLAN", FeatureCtrlVLAN, FeatureCtrlVQ, "CTRL_VQ"},
	{"CTRL_MAC_ADDR", FeatureCtrlMACAddr, FeatureCtrlVQ, "CTRL_VQ"},
}

// AcceptFeatures implements [virtio.Negotiating].
func (d *Device) AcceptFeatures(features uint64) error {
	for _, n := range needs {
		if features&n.feature != 0 && features&n.anyOf == 0 {
			return fmt.Errorf("%s needs %s", n.name, n.names)
		}
	}
	return nil
}

// offloads are what a driver with these features takes.
func offloads(features uint64) link.Offloads {
	has := func(f uint64) bool { return features&f != 0 }
	return link.Offloads{
		Checksum: has(FeatureGuestCSum),
		TSO4:     has(FeatureGuestTSO4),
		TSO6:     has(FeatureGuestTSO6),
		ECN:      has(FeatureGuestECN),
		USO4:     has(FeatureGuestUSO4),
		USO6:     has(FeatureGuestUSO6),
	}
}
