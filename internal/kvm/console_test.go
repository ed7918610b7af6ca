//go:build linux

package kvm

import "github.com/libcapsa/libcapsa/internal/kvm/layout"

// Where the bare console driver keeps its rings: queue 0 receives, queue 1
// transmits, one descriptor is used in each.
const (
	ringBase   = 0x20_0000
	ringStride = 0x1_0000
	ringAvail  = 0x1000
	ringUsed   = 0x2000
	ringBuffer = 0x4000
	ringSize   = 8
	bufferSize = 4096
)

// Registers of virtio-mmio that the driver uses (virtio 1.2, table 4.1).
const (
	regFeaturesSel = 0x024
	regFeatures    = 0x020
	regQueueSel    = 0x030
	regQueueNum    = 0x038
	regQueueReady  = 0x044
	regNotify      = 0x050
	regStatus      = 0x070
	regDesc        = 0x080
	regDriver      = 0x090
	regDevice      = 0x0a0
)

func ring(q uint32) uint32 { return ringBase + q*ringStride }

// newConsoleGuest begins a guest with a driver for the virtio console.
func newConsoleGuest() *asm { return newDriver(layout.Console.Addr(), 2, 0) }

// newDriver begins a guest with a driver for a virtio device: rbx is the device,
// r8d and r9d count the chains of queues 0 and 1. features are the low 32 feature
// bits.
func newDriver(addr uint64, queues, features uint32) *asm {
	a := newAsm().cli().movRBX(addr)
	for _, s := range []uint32{0, 1, 1 | 2} { // reset, ACKNOWLEDGE, DRIVER
		a.store32(regStatus, s)
	}
	a.store32(regFeaturesSel, 0).store32(regFeatures, features)
	a.store32(regFeaturesSel, 1).store32(regFeatures, 1) // VERSION_1
	a.store32(regStatus, 1|2|8)                          // FEATURES_OK
	for q := range queues {
		a.store32(regQueueSel, q).store32(regQueueNum, ringSize)
		a.store32(regDesc, ring(q)).store32(regDriver, ring(q)+ringAvail).store32(regDevice, ring(q)+ringUsed)
		a.store32(regQueueReady, 1)
		a.mem32(ring(q), ring(q)+ringBuffer) // descriptor 0: address
	}
	a.store32(regStatus, 1|2|8|4) // DRIVER_OK
	a.emit(0x45, 0x31, 0xc0)      // xor r8d, r8d
	return a.emit(0x45, 0x31, 0xc9)
}

// submit makes descriptor 0 of a queue available and waits until it is used.
// Every entry of the avail ring is 0, as memory is at first.
func (a *asm) submit(q uint32, wait string) *asm {
	counter := byte(q)               // r8 or r9
	a.emit(0x41, 0xff, 0xc0+counter) // inc r8d
	// mov [avail.idx], r8w
	a.emit(0x66, 0x44, 0x89, 0x04+counter<<3, 0x25).imm32(ring(q) + ringAvail + 2)
	a.store32(regNotify, q)
	a.label(wait).pause()
	// cmp [used.idx], r8w
	return a.emit(0x66, 0x44, 0x39, 0x04+counter<<3, 0x25).imm32(ring(q) + ringUsed + 2).jne(wait)
}

// say prints text on the console.
func (a *asm) say(text string) *asm {
	at := ring(1) + ringBuffer
	for i := 0; i < len(text); i += 4 {
		var w uint32
		for j, c := range []byte(text[i:min(i+4, len(text))]) {
			w |= uint32(c) << (8 * j)
		}
		a.mem32(at+uint32(i), w)
	}
	a.mem32(ring(1)+8, uint32(len(text))) // length; flags 0: readable
	return a.submit(1, "said")
}

// echo sends back everything that comes, for ever: what arrives in the buffer of
// queue 0 is transmitted from there.
func (a *asm) echo() *asm {
	a.mem32(ring(1), ring(0)+ringBuffer)
	a.label("again")
	a.mem32(ring(0)+8, bufferSize).mem32(ring(0)+12, 2) // writable
	a.submit(0, "received")
	// The used element is at used.ring[(r8-1) % 8]: its length is at offset 4.
	a.emit(0x44, 0x89, 0xc1)                                   // mov ecx, r8d
	a.emit(0xff, 0xc9)                                         // dec ecx
	a.emit(0x83, 0xe1, ringSize-1)                             // and ecx, 7
	a.emit(0x8b, 0x04, 0xcd).imm32(ring(0) + ringUsed + 4 + 4) // mov eax, [rcx*8+ring+4]
	a.emit(0x89, 0x04, 0x25).imm32(ring(1) + 8)                // mov [desc.len], eax
	return a.submit(1, "sent").jmp("again")
}
