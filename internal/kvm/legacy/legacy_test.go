package legacy

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/acpi"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
)

// in and out are single-byte accesses.
func in(d Device, offset uint16) byte {
	p := []byte{0xA5}
	d.Read(offset, p)
	return p[0]
}

func out(d Device, offset uint16, v byte) { d.Write(offset, []byte{v}) }

func TestSerialTransmit(t *testing.T) {
	var got bytes.Buffer
	s := NewSerial(&got)
	for _, c := range []byte("Kernel panic") {
		out(s, regData, c)
		require.EqualValues(t, lsrIdle, in(s, regLSR), "ready at once")
		require.EqualValues(t, iirNone, in(s, regIIR)&0xF, "never an interrupt")
	}
	require.Equal(t, "Kernel panic", got.String())

	out(s, regLCR, lcrDLAB|lcrDefault)
	out(s, regData, 1)
	out(s, regIER, 2)
	require.EqualValues(t, 1, in(s, regData))
	require.EqualValues(t, 2, in(s, regIER))
	out(s, regLCR, lcrDefault)
	require.Equal(t, "Kernel panic", got.String(), "the divisor is not output")
	require.Zero(t, in(s, regIER))
}

// TestSerialAutoconfig does what Linux's autoconfig does to find a 16550A (drivers/tty/serial/8250/8250_port.c).
func TestSerialAutoconfig(t *testing.T) {
	var got bytes.Buffer
	s := NewSerial(&got)
	out(s, regIER, 0)
	require.Zero(t, in(s, regIER)&0xF)
	out(s, regIER, 0xF)
	require.EqualValues(t, 0xF, in(s, regIER))
	out(s, regIER, 0)

	mcr := in(s, regMCR)
	out(s, regMCR, mcrLoop|0x0A)
	require.EqualValues(t, 0x90, in(s, regMSR)&0xF0, "loopback")
	out(s, regMCR, mcr)
	require.EqualValues(t, msrCTS|msrDSR|msrDCD, in(s, regMSR))

	out(s, regFCR, fcrEnable)
	require.EqualValues(t, 3, in(s, regIIR)>>6, "16550A")
	out(s, regLCR, 0xBF)
	require.NotZero(t, in(s, regIIR), "no enhanced feature register")
	out(s, regLCR, 0)
	out(s, regScratch, 0x5A)
	require.EqualValues(t, 0x5A, in(s, regScratch))
	out(s, regIER, 0x40)
	require.Zero(t, in(s, regIER), "no bits of other chips")
	require.Empty(t, got.Bytes())
}

func TestSerialLoopback(t *testing.T) {
	var got bytes.Buffer
	s := NewSerial(&got)
	out(s, regMCR, mcrLoop)
	out(s, regData, 'a')
	require.EqualValues(t, lsrIdle|lsrData, in(s, regLSR))
	require.EqualValues(t, 'a', in(s, regData))
	require.EqualValues(t, lsrIdle, in(s, regLSR))
	for range 1000 {
		out(s, regData, 'b')
	}
	require.EqualValues(t, lsrIdle|lsrData|lsrOverrun, in(s, regLSR))
	require.EqualValues(t, lsrIdle|lsrData, in(s, regLSR), "reading clears the overrun")
	out(s, regFCR, fcrClearRX)
	require.EqualValues(t, lsrIdle, in(s, regLSR))
	require.Empty(t, got.Bytes())
	for bit, want := range map[byte]byte{mcrRTS: msrCTS, mcrDTR: msrDSR, mcrOut1: msrRI, mcrOut2: msrDCD} {
		out(s, regMCR, mcrLoop|bit)
		require.Equal(t, want, in(s, regMSR))
	}
}

// TestSerialWriters has many processors print at once; the writer never sees two calls at a time.
func TestSerialWriters(t *testing.T) {
	var got bytes.Buffer // not safe by itself: the race detector watches
	s := NewSerial(&got)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				out(s, regData, 'x')
				in(s, regLSR)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 8*500, got.Len())
}

func TestI8042(t *testing.T) {
	resets := 0
	k := NewI8042(func() { resets++ })
	require.EqualValues(t, i8042Absent, in(k.Command(), 0))
	require.Zero(t, in(k.Command(), 0)&0x02, "input buffer empty: a reset waits for that")
	require.EqualValues(t, floating, in(k.Data(), 0))
	for _, v := range []byte{0x20, 0x60, 0xAA, 0xAD, 0xD1, 0xFF, 0xF1} {
		out(k.Command(), 0, v)
		out(k.Data(), 0, v)
	}
	out(k.Data(), 0, 0xFE)
	require.Zero(t, resets)
	out(k.Command(), 0, 0xFE)
	require.Equal(t, 1, resets)
	out(k.Command(), 0, 0xF0)
	require.Equal(t, 2, resets)
}

// counters counts what a Power calls.
type counters struct{ off, reset, irq int }

func (c *counters) power() *Power {
	return NewPower(PowerConfig{func() { c.off++ }, func() { c.reset++ }, func() { c.irq++ }})
}

func TestPowerButton(t *testing.T) {
	var c counters
	d := c.power()
	event := func(n int) []byte {
		p := bytes.Repeat([]byte{0xA5}, n)
		d.Read(powerEvent, p)
		return p
	}
	require.Equal(t, []byte{0, 0, 0, 0}, event(4))
	d.PressButton()
	d.PressButton()
	require.Equal(t, 2, c.irq)
	require.Equal(t, []byte{0}, event(1), "a part clears nothing")
	require.Equal(t, []byte{acpi.EventPowerButton, 0, 0, 0}, event(4))
	require.Equal(t, []byte{0, 0, 0, 0}, event(4))
	require.Equal(t, counters{irq: 2}, c)
}

func TestPowerRegisters(t *testing.T) {
	for _, tt := range []struct {
		name   string
		offset uint16
		bytes  []byte
		want   counters
	}{
		{"S5", powerSleepControl, []byte{sleepEnable | 5<<sleepTypeShift}, counters{off: 1}},
		{"S5 without enable", powerSleepControl, []byte{5 << sleepTypeShift}, counters{}},
		{"S3", powerSleepControl, []byte{sleepEnable | 3<<sleepTypeShift}, counters{}},
		{"wake status cleared", powerSleepStatus, []byte{0x80}, counters{}},
		{"reset", powerReset, []byte{layout.ResetValue}, counters{reset: 1}},
		{"other value", powerReset, []byte{0x06}, counters{}},
		{"event register", powerEvent, []byte{1, 1, 1, 1}, counters{}},
		{"wide", powerSleepControl, []byte{0, 0, layout.ResetValue, 0}, counters{reset: 1}},
		{"beyond", powerEvent + 4, []byte{1, 1}, counters{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c counters
			d := c.power()
			d.Write(tt.offset, tt.bytes)
			require.Equal(t, tt.want, c)
			require.Zero(t, in(d, tt.offset))
		})
	}
}

// cmos reads and writes registers of the clock.
type cmos struct{ *RTC }

func (c cmos) get(reg byte) byte {
	out(c, rtcIndexPort, reg)
	return in(c, rtcDataPort)
}

func (c cmos) set(reg, v byte) {
	out(c, rtcIndexPort, reg)
	out(c, rtcDataPort, v)
}

func (c cmos) time() []byte {
	var b []byte
	for _, reg := range []byte{rtcCentury, rtcYear, rtcMonth, rtcDay, rtcWeekday, rtcHours, rtcMinutes, rtcSeconds} {
		b = append(b, c.get(reg))
	}
	return b
}

func TestRTC(t *testing.T) {
	now := time.Date(2031, 12, 31, 23, 59, 58, 0, time.UTC)
	c := cmos{NewRTC(func() time.Time { return now })}
	require.Equal(t, []byte{0x20, 0x31, 0x12, 0x31, 0x04, 0x23, 0x59, 0x58}, c.time())
	require.Zero(t, c.get(rtcA)&0x80, "no update in progress")
	require.EqualValues(t, rtcDValid, c.get(rtcD))
	require.Zero(t, c.get(rtcC), "no interrupt")
	require.EqualValues(t, floating, in(c, rtcIndexPort))

	now = now.Add(2 * time.Second)
	require.Equal(t, []byte{0x20, 0x32, 0x01, 0x01, 0x05, 0x00, 0x00, 0x00}, c.time())

	c.set(rtcB, rtcBBinary)
	now = now.Add(13*time.Hour + 45*time.Minute)
	require.Equal(t, []byte{20, 32, 1, 1, 5, 1 | rtcPM, 45, 0}, c.time(), "12-hour, binary")
	now = now.Add(-13 * time.Hour)
	require.Equal(t, []byte{20, 32, 1, 1, 5, 12, 45, 0}, c.time(), "midnight is 12")
}

func TestRTCSet(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	c := cmos{NewRTC(func() time.Time { return now })}
	c.set(rtcB, rtcBSet|rtcB24)
	for reg, v := range map[byte]byte{
		rtcCentury: 0x19, rtcYear: 0x99, rtcMonth: 0x02, rtcDay: 0x28, rtcHours: 0x23, rtcMinutes: 0x59, rtcSeconds: 0x59,
	} {
		c.set(reg, v)
	}
	now = now.Add(time.Hour) // it stands still
	require.Equal(t, byte(0x59), c.get(rtcSeconds))
	c.set(rtcB, rtcB24)
	now = now.Add(time.Second)
	require.Equal(t, []byte{0x19, 0x99, 0x03, 0x01, 0x02, 0x00, 0x00, 0x00}, c.time())
	c.set(rtcMinutes, 0x30) // without stopping the clock
	now = now.Add(time.Minute)
	require.Equal(t, byte(0x31), c.get(rtcMinutes))

	c.set(0x40, 0xAB)
	require.Equal(t, byte(0xAB), c.get(0x40))
	require.Equal(t, byte(0xAB), c.get(0xC0), "bit 7 of the index is not part of it")
	c.set(rtcD, 0)
	require.EqualValues(t, rtcDValid, c.get(rtcD), "read-only")
}

// TestMachine reaches every device through its port.
func TestMachine(t *testing.T) {
	var got bytes.Buffer
	b, c := machine(&got)
	b.write(layout.SerialPort, []byte{'!'})
	require.Equal(t, "!", got.String())
	p := []byte{1, 2, 3, 4}
	b.read(layout.I8042StatusPort, p)
	require.Equal(t, []byte{i8042Absent, 2, 3, 4}, p)
	b.write(layout.PowerPort+layout.PowerPorts-1, p)
	b.write(layout.I8042StatusPort, []byte{0xFE})
	b.write(layout.ResetPort, []byte{layout.ResetValue})
	b.write(layout.SleepControlPort, []byte{0x34})
	require.Equal(t, counters{off: 1, reset: 2}, *c)
}

// TestWide gives accesses that are wider than the registers: every byte is answered, and none goes anywhere else.
func TestWide(t *testing.T) {
	var c counters
	for name, d := range map[string]Device{
		"serial": NewSerial(io.Discard), "clock": NewRTC(time.Now), "power": c.power(),
		"data": NewI8042(func() {}).Data(), "status": NewI8042(func() {}).Command(),
		"panic": NewPanic(PanicConfig{Panicked: func() {}, CrashLoaded: func() {}}),
	} {
		for offset := range uint16(16) {
			for _, n := range []int{0, 1, 2, 3, 4, 8} {
				p := make([]byte, n)
				d.Write(offset, p)
				d.Read(offset, p)
				if offset >= layout.SerialPorts && n > 0 {
					require.Contains(t, []byte{0, floating}, p[0], name)
				}
			}
			d.Read(0xFFFF, make([]byte, 8))
			d.Write(0xFFFF, make([]byte, 8))
		}
	}
	require.Equal(t, counters{}, c)
}

// machine is a bus with all devices where the machine has them.
func machine(out *bytes.Buffer) (bus, *counters) {
	c, b := &counters{}, bus{}
	k := NewI8042(func() { c.reset++ })
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	b.add(layout.SerialPort, layout.SerialPorts, NewSerial(out))
	b.add(layout.RTCPort, layout.RTCPorts, NewRTC(func() time.Time { now = now.Add(time.Hour); return now }))
	b.add(layout.I8042Port, 1, k.Data())
	b.add(layout.I8042StatusPort, 1, k.Command())
	b.add(layout.PowerPort, layout.PowerPorts, c.power())
	return b, c
}

// FuzzPorts plays any sequence of accesses: nothing panics, output is what was sent and no more, and every access inside a
// device's ports answers in all its bytes.
func FuzzPorts(f *testing.F) {
	f.Add([]byte{0, 0xF8, 0x03, 'a', 1, 0xFD, 0x03, 0})              // serial: write, status
	f.Add([]byte{0, 0x70, 0, 0x0B, 0, 0x71, 0, 0x84, 1, 0x71, 0, 0}) // clock: stop, binary
	f.Add([]byte{0, 0x64, 0, 0xFE, 0, 0x00, 0x06, 0x34, 5, 0x04, 0x06, 0})
	f.Add([]byte{4, 0x00, 0x06, 0xFF, 4, 0x70, 0, 0x0A, 4, 0xFC, 0x03, 0x1F, 2, 0xF8, 0x03, 9})
	f.Fuzz(func(t *testing.T, calls []byte) {
		var got bytes.Buffer
		b, c := machine(&got)
		accesses := 0
		for ; len(calls) >= 4; calls = calls[4:] {
			accesses++
			port := uint16(calls[1]) | uint16(calls[2])<<8
			p := bytes.Repeat(calls[3:4], 1<<(calls[0]>>1&3)) // 1, 2, 4 or 8 bytes
			if calls[0]&1 == 0 {
				b.write(port, p)
			} else {
				b.read(port, p)
			}
		}
		require.LessOrEqual(t, got.Len(), accesses)
		require.LessOrEqual(t, c.off+c.reset, 2*accesses)
		require.Zero(t, c.irq)
	})
}
