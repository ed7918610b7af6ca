// Package partition reads the partition table of a disk, as far as it says where the
// root file system is. What is read is a guest's.
package partition

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Partition tables: the MBR (its four entries at 446, signature at 510) and the GPT
// (UEFI 2.10, section 5.3: header in sector 1, entries of at least 128 bytes).
const (
	sectorSize = 512 // of both tables, in bytes

	mbrEntries   = 446
	mbrSignature = 510
	mbrLinux     = 0x83
	mbrGPT       = 0xEE

	gptMaxEntries   = 128
	gptMaxEntrySize = 4096 // bytes
)

// Partition types of the GPT, as they lie on the disk (the first three fields are
// little-endian): the Discoverable Partitions Specification's root for each
// architecture (GOARCH), and Linux file system data.
var (
	gptRoots = map[string][]byte{
		"amd64": {0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09}, // 4f68bce3-e8cd-4db1-96e7-fbcaf984b709
		"arm64": {0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae}, // b921b045-1df0-41c3-af44-4c6f280d3fae
	}
	gptLinuxFS  = []byte{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}
	gptHeadMark = []byte("EFI PART")
)

// Root is the number of the partition that most likely holds the root file system of a
// guest of that architecture: one marked as such, else the first Linux one. 0 when there
// is no partition table or no such partition: then it is the whole disk, of size bytes.
func Root(d io.ReaderAt, size uint64, arch string) (int, error) {
	if size < sectorSize {
		return 0, nil
	}
	var first [2 * sectorSize]byte
	n := min(size, uint64(len(first)))
	if _, err := d.ReadAt(first[:n], 0); err != nil {
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
			return gptRoot(d, size, gptRoots[arch], first[sectorSize:])
		}
	}
	return 0, nil
}

// gptRoot looks through the entries that a GPT header names.
func gptRoot(d io.ReaderAt, size uint64, root, head []byte) (int, error) {
	if !bytes.Equal(head[:8], gptHeadMark) {
		return 0, nil
	}
	le := binary.LittleEndian
	at := le.Uint64(head[72:])
	count, entry := le.Uint32(head[80:]), le.Uint32(head[84:])
	if entry < 128 || entry > gptMaxEntrySize || at > size/sectorSize {
		return 0, nil
	}
	count = min(count, gptMaxEntries)
	table := make([]byte, count*entry)
	at *= sectorSize
	if uint64(len(table)) > size-at {
		return 0, nil
	}
	if _, err := d.ReadAt(table, int64(at)); err != nil {
		return 0, err
	}
	linux := 0
	for i := range int(count) {
		switch kind := table[i*int(entry):][:16]; {
		case bytes.Equal(kind, root):
			return i + 1, nil
		case linux == 0 && bytes.Equal(kind, gptLinuxFS):
			linux = i + 1
		}
	}
	return linux, nil
}
