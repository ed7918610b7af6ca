package virtq_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// bytesOf turns "01 02 | 03" into bytes.
func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "", "\n", "", "\t", "").Replace(text))
	require.NoError(t, err)
	return b
}

func image(t *testing.T, mem *guestmem.Memory, addr, size uint64) []byte {
	t.Helper()
	p := make([]byte, size)
	require.NoError(t, mem.ReadAt(p, addr))
	return p
}

// The device reads a ring that is given as bytes, so this does not depend on the driver of virtiotest.
func TestGoldenDeviceReads(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	const desc, avail, used = 0x1000, 0x1042, 0x1080 // avail is only 2-byte aligned: its fields lie across words
	require.NoError(t, mem.WriteAt(bytesOf(t, `
		00 00 20 00 00 00 00 00 | 10 00 00 00 | 01 00 | 02 00
		00 00 00 00 00 00 00 00 | 00 00 00 00 | 00 00 | 00 00
		00 01 20 00 00 00 00 00 | 20 00 00 00 | 03 00 | 03 00
		00 02 20 00 00 00 00 00 | 04 00 00 00 | 02 00 | ff ff`), desc))
	require.NoError(t, mem.WriteAt(bytesOf(t, `00 00 | 01 00 | 00 00 00 00 00 00 00 00 | 00 00`), avail))
	q, err := virtq.New(mem, virtq.Config{Size: 4, Desc: desc, Avail: avail, Used: used, EventIdx: true})
	require.NoError(t, err)
	c, err := q.Pop()
	require.NoError(t, err)
	require.Equal(t, uint16(0), c.Head)
	require.Equal(t, []int{16, 36}, []int{c.ReadLen(), c.WriteLen()})
	require.Len(t, c.Write, 2)
	require.Equal(t, 36, c.CopyOut([]byte(strings.Repeat("z", 36)), 0))
	q.Push(c, 33)
	require.Equal(t, []byte("zzzzz"), append(image(t, mem, 0x20_0200, 4), image(t, mem, 0x20_011F, 1)...))
	require.Equal(t, bytesOf(t, `00 00 | 01 00 | 00 00 00 00  21 00 00 00 |
		00 00 00 00 00 00 00 00 | 00 00 00 00 00 00 00 00 | 00 00 00 00 00 00 00 00 | 00 00`), image(t, mem, used, 38))
	require.False(t, q.EnableKick())
	require.Equal(t, bytesOf(t, `01 00`), image(t, mem, used+36, 2), "avail_event")
}

// What driver and device write, byte for byte, in a ring of four.
func TestGoldenImage(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, ringBase, 4)
	q, err := virtq.New(mem, config(raw))
	require.NoError(t, err)
	raw.SetDesc(1, virtiotest.Desc{Addr: 0x0000_0001_0000_0008, Len: 0x0302, Flags: 3, Next: 2})
	raw.SetDesc(2, virtiotest.Desc{Addr: bufferBase, Len: 7, Flags: 2})
	raw.SetDesc(3, virtiotest.Desc{Addr: bufferBase, Len: 9})
	raw.SetAvailFlags(virtiotest.AvailNoInterrupt)
	raw.SetUsedEvent(0x1234)
	raw.Expose(1, 3)
	require.Equal(t, bytesOf(t, `
		00 00 00 00 00 00 00 00 | 00 00 00 00 | 00 00 | 00 00
		08 00 00 00 01 00 00 00 | 02 03 00 00 | 03 00 | 02 00
		00 00 20 00 00 00 00 00 | 07 00 00 00 | 02 00 | 00 00
		00 00 20 00 00 00 00 00 | 09 00 00 00 | 00 00 | 00 00`), image(t, mem, raw.Desc, 64))
	availImage := bytesOf(t, `01 00 | 02 00 | 01 00 03 00 00 00 00 00 | 34 12`)
	require.Equal(t, availImage, image(t, mem, raw.Avail, 14))
	first, err := q.Pop()
	require.NoError(t, err)
	second, err := q.Pop()
	require.NoError(t, err)
	q.DisableKick()
	q.Push(second, 0)
	q.Push(first, 0x0309)
	require.Equal(t, bytesOf(t, `01 00 | 02 00 |
		03 00 00 00  00 00 00 00 | 01 00 00 00  09 03 00 00 | 00 00 00 00 00 00 00 00 | 00 00 00 00 00 00 00 00 | 00 00`),
		image(t, mem, raw.Used, 38))
	require.Equal(t, availImage, image(t, mem, raw.Avail, 14), "the device wrote to the driver's ring")
}

// Several chains at once: two entries, and an index that counts both, in a ring whose index wraps meanwhile.
func TestGoldenPushAll(t *testing.T) {
	mem := virtiotest.NewMemory(t)
	raw := virtiotest.NewRaw(t, mem, ringBase, 4)
	q, err := virtq.New(mem, config(raw))
	require.NoError(t, err)
	for i := range uint16(4) {
		raw.SetDesc(i, virtiotest.Desc{Addr: bufferBase, Len: 0x0304, Flags: virtiotest.DescWrite})
	}
	raw.Expose(2, 0, 3)
	var used []virtq.Used
	for _, written := range []uint32{0x0304, 1, 0xFFFF_FFFF} {
		c, err := q.Pop()
		require.NoError(t, err)
		used = append(used, virtq.Used{Chain: c, Written: written})
	}
	q.PushAll(nil)
	require.Equal(t, make([]byte, 38), image(t, mem, raw.Used, 38), "nothing to push")
	q.PushAll(used)
	require.Equal(t, bytesOf(t, `00 00 | 03 00 |
		02 00 00 00  04 03 00 00 | 00 00 00 00  01 00 00 00 | 03 00 00 00  04 03 00 00 | 00 00 00 00 00 00 00 00 | 00 00`),
		image(t, mem, raw.Used, 38))
	require.Zero(t, q.InFlight())
	raw.Expose(1, 2)
	for i := range 2 {
		c, err := q.Pop()
		require.NoError(t, err)
		used[i] = virtq.Used{Chain: c, Written: 7}
	}
	q.PushAll(used[:2])
	require.Equal(t, bytesOf(t, `00 00 | 05 00 |
		02 00 00 00  07 00 00 00 | 00 00 00 00  01 00 00 00 | 03 00 00 00  04 03 00 00 | 01 00 00 00  07 00 00 00 | 00 00`),
		image(t, mem, raw.Used, 38))
}
