//go:build linux

package block

import (
	"bytes"
	"encoding/binary"
)

// Partition tables: the MBR (its four entries at 446, signature at 510) and the GPT
// (UEFI 2.10, section 5.3: header in sector 1, entries of at least 128 bytes).
const (
	mbrEntries   = 446
	mbrSignature = 510
	mbrLinux     = 0x83
	mbrGPT       = 0xEE

	gptMaxEntries   = 128
	gptMaxEntrySize = 4096 // bytes
)

// Partition types of the GPT, as they lie on the disk (the first three fields are
// little-endian): the Discoverable Partitions Specification's root for x86-64, and
// Linux file system data.
var (
	gptRootX86  = []byte{0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09}
	gptLinuxFS  = []byte{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
	gptHeadMark = []byte("EFI PART")
)

// RootPartition is the number of the partition that most likely holds the root file
// system: one marked as such, else the first Linux one. 0 when there is no partition
// table or no such partition: then it is the whole disk.
func RootPartition(d Disk) (int, error) {
	var first [2 * SectorSize]byte
	n := min(d.Size(), uint64(len(first)))
	if err := d.ReadAt([][]byte{first[:n]}, 0); err != nil {
		return 0, err
	}
	if first[mbrSignature] != 0x55 || first[mbrSignature+1] != 0xAA {
		return 0, nil
	}
	for i := range 4 {
		switch first[mbrEntries+16*i+4] {
		case mbrLinux:
			return i + 1, nil
		case mbrGPT:
			return gptRoot(d, first[SectorSize:])
		}
	}
	return 0, nil
}

// gptRoot looks through the entries that a GPT header names.
func gptRoot(d Disk, head []byte) (int, error) {
	if !bytes.Equal(head[:8], gptHeadMark) {
		return 0, nil
	}
	le := binary.LittleEndian
	at := le.Uint64(head[72:])
	count, size := le.Uint32(head[80:]), le.Uint32(head[84:])
	if size < 128 || size > gptMaxEntrySize || at > d.Size()/SectorSize {
		return 0, nil
	}
	count = min(count, gptMaxEntries)
	table := make([]byte, count*size)
	at *= SectorSize
	if uint64(len(table)) > d.Size()-at {
		return 0, nil
	}
	if err := d.ReadAt([][]byte{table}, at); err != nil {
		return 0, err
	}
	linux := 0
	for i := range int(count) {
		switch kind := table[i*int(size):][:16]; {
		case bytes.Equal(kind, gptRootX86):
			return i + 1, nil
		case linux == 0 && bytes.Equal(kind, gptLinuxFS):
			linux = i + 1
		}
	}
	return linux, nil
}
