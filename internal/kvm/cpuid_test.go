//go:build linux

package kvm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
)

// supported is a host of a vendor that offers everything that is changed.
func supported(vendor [3]uint32) []kvmsys.CPUIDEntry {
	ones := func(leaf, index uint32) kvmsys.CPUIDEntry {
		return kvmsys.CPUIDEntry{Function: leaf, Index: index, EAX: 1<<32 - 1, EBX: 1<<32 - 1, ECX: 1<<32 - 1, EDX: 1<<32 - 1}
	}
	l3, end := ones(leafCaches, 1), kvmsys.CPUIDEntry{Function: leafCaches, Index: 2}
	l3.EAX = 3<<5 | 1
	l1 := ones(leafCaches, 0)
	l1.EAX = 1<<5 | 1 | 0xfff<<14
	return []kvmsys.CPUIDEntry{
		{Function: leafVendor, EAX: 0x1f, EBX: vendor[0], EDX: vendor[1], ECX: vendor[2]},
		ones(leafFeatures, 0), l1, l3, end, {Function: leafThermal},
		ones(leafExtFeatures, 0), ones(leafPMU, 0), ones(leafTopology, 0), ones(leafSGX, 0),
		{Function: leafTSC}, {Function: leafFrequency},
		{Function: leafKVM, EAX: 0x4000_0001},
		ones(leafAMDFeatures, 0), {Function: leafAMDPower, EDX: edxInvariantTSC},
		{Function: leafAMDSizes, EAX: 0x3030 + 4, ECX: 1<<32 - 1}, ones(leafAMDTopology, 0),
	}
}

func find(t *testing.T, table []kvmsys.CPUIDEntry, leaf, index uint32) kvmsys.CPUIDEntry {
	t.Helper()
	i := slices.IndexFunc(table, func(e kvmsys.CPUIDEntry) bool { return e.Function == leaf && e.Index == index })
	require.GreaterOrEqual(t, i, 0, "leaf %#x.%d", leaf, index)
	return table[i]
}

func TestCPUIDTopology(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cpus     int
		coreBits uint32
	}{{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {64, 6}} {
		m := cpuModel{supported: supported(vendorAMD), cpus: c.cpus, tscDeadline: true}
		id := uint32(c.cpus - 1)
		table := m.entries(id)

		one := find(t, table, leafFeatures, 0)
		require.Equal(t, id, one.EBX>>24, "APIC id")
		require.Equal(t, uint32(c.cpus), one.EBX>>16&0xff)
		require.Equal(t, c.cpus > 1, one.EDX&edxHTT != 0)

		for _, leaf := range []uint32{leafTopology, leafTopologyV2} {
			threads, cores, end := find(t, table, leaf, 0), find(t, table, leaf, 1), find(t, table, leaf, 2)
			require.Equal(t, []uint32{0, 1, 1 << 8, id}, []uint32{threads.EAX, threads.EBX, threads.ECX, threads.EDX})
			require.Equal(t, []uint32{c.coreBits, uint32(c.cpus), 2<<8 | 1, id}, []uint32{cores.EAX, cores.EBX, cores.ECX, cores.EDX})
			require.Equal(t, []uint32{0, 0, 2, id}, []uint32{end.EAX, end.EBX, end.ECX, end.EDX})
		}
		require.Zero(t, find(t, table, leafCaches, 0).EAX>>14&0xfff, "a level 1 cache is the core's own")
		require.Equal(t, uint32(1)<<c.coreBits-1, find(t, table, leafCaches, 1).EAX>>14&0xfff)
		require.Zero(t, find(t, table, leafCaches, 2).EAX, "the end of the list stays")

		sizes := find(t, table, leafAMDSizes, 0)
		require.Equal(t, uint32(c.cpus-1), sizes.ECX&0xff)
		require.Equal(t, c.coreBits, sizes.ECX>>12&0xf)
		require.Equal(t, id, find(t, table, leafAMDTopology, 0).EAX)
		require.Equal(t, c.cpus > 1, find(t, table, leafAMDFeatures, 0).ECX&ecxCmpLegacy != 0)
	}
}

func TestCPUIDHidesAndAnnounces(t *testing.T) {
	t.Parallel()
	m := cpuModel{supported: supported(vendorIntel), cpus: 2, tscKHz: 2_400_000, tscDeadline: true}
	table := m.entries(0)
	one := find(t, table, leafFeatures, 0)
	require.Zero(t, one.ECX&ecxVMX)
	require.NotZero(t, one.ECX&ecxTSCDeadline)
	require.NotZero(t, one.ECX&ecxHypervisor)
	require.NotZero(t, find(t, table, leafThermal, 0).EAX&eaxARAT)
	require.Zero(t, find(t, table, leafExtFeatures, 0).EBX&ebxSGX)
	require.Zero(t, find(t, table, leafPMU, 0).EAX)
	require.Zero(t, find(t, table, leafAMDFeatures, 0).ECX&(ecxSVM|ecxPerfCore|ecxCmpLegacy))
	require.Equal(t, uint32(leafKVMTSC), find(t, table, leafKVM, 0).EAX)
	require.Equal(t, uint32(2_400_000), find(t, table, leafKVMTSC, 0).EAX)
	require.True(t, m.invariantTSC())
	require.Equal(t, uint32(0x34), m.physBits())

	m.tscDeadline, m.tscKHz = false, 0
	table = m.entries(0)
	require.Zero(t, find(t, table, leafFeatures, 0).ECX&ecxTSCDeadline)
	require.Equal(t, uint32(0x4000_0001), find(t, table, leafKVM, 0).EAX)
	require.False(t, slices.ContainsFunc(table, func(e kvmsys.CPUIDEntry) bool { return e.Function == leafKVMTSC }))
}

// Every leaf and subleaf is there once.
func TestCPUIDNoDuplicates(t *testing.T) {
	t.Parallel()
	for _, khz := range []uint32{0, 2_400_000, 2_445_406} {
		m := cpuModel{supported: supported(vendorIntel), cpus: 4, tscKHz: khz}
		seen := map[[2]uint32]bool{}
		for _, e := range m.entries(1) {
			key := [2]uint32{e.Function, e.Index}
			require.False(t, seen[key], "leaf %#x.%d twice", e.Function, e.Index)
			seen[key] = true
		}
	}
}

// The guest computes ECX * EBX / EAX, Linux in 32 bits of kHz.
func TestCPUIDCrystal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		vendor [3]uint32
		khz    uint32
		given  bool
	}{
		{"whole MHz", vendorIntel, 2_400_000, true},
		{"half MHz", vendorIntel, 1_999_500, true},
		{"a prime ratio overflows", vendorIntel, 2_445_406, false},
		{"AMD has none", vendorAMD, 2_400_000, false},
		{"not known", vendorIntel, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := cpuModel{supported: supported(c.vendor), cpus: 1, tscKHz: c.khz}
			e := find(t, m.entries(0), leafTSC, 0)
			if !c.given {
				require.Zero(t, e.EAX)
				return
			}
			crystalKHz := e.ECX / 1000
			require.Equal(t, c.khz, crystalKHz*e.EBX/e.EAX)
		})
	}
}
