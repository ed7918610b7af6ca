package legacy

import (
	"sync"
	"time"
)

// Registers of the clock (Motorola MC146818 data sheet; the century is the PC's).
const (
	rtcSeconds   = 0x00
	rtcMinutes   = 0x02
	rtcHours     = 0x04
	rtcWeekday   = 0x06 // 1 is Sunday
	rtcDay       = 0x07
	rtcMonth     = 0x08
	rtcYear      = 0x09
	rtcA         = 0x0A
	rtcB         = 0x0B
	rtcC         = 0x0C
	rtcD         = 0x0D
	rtcCentury   = 0x32
	rtcSize      = 128
	rtcIndexMask = rtcSize - 1 // bit 7 of the index masks the NMI, which does not exist

	rtcAOn     = 0x26 // oscillator on, 1024 Hz rate; no update is ever in progress
	rtcASet    = 0x7F // bits that the guest sets
	rtcBSet    = 0x80 // the clock stands still while it is set
	rtcBBinary = 0x04 // binary instead of BCD
	rtcB24     = 0x02 // 24-hour instead of 12-hour form
	rtcDValid  = 0x80 // the battery is good
	rtcPM      = 0x80 // of the hour in 12-hour form
)

// Ports from layout.RTCPort on.
const (
	rtcIndexPort = 0
	rtcDataPort  = 1
)

// RTC is the CMOS clock with its 128 bytes. Its time is UTC, comes from a function, and can be set by the guest for itself. It
// raises no interrupts: neither periodic, nor update-ended, nor alarm; guests have KVM's clock and their own timers.
type RTC struct {
	now func() time.Time

	mu     sync.Mutex // guards all below
	index  byte
	cmos   [rtcSize]byte // time registers: what they hold while the clock stands still
	offset time.Duration // of the guest's time from now
}

// NewRTC makes a clock that takes the time from now.
func NewRTC(now func() time.Time) *RTC {
	r := &RTC{now: now}
	r.cmos[rtcA], r.cmos[rtcB], r.cmos[rtcD] = rtcAOn, rtcB24, rtcDValid
	return r
}

// Read implements Device.
func (r *RTC) Read(offset uint16, p []byte) {
	fill(p, floating)
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range p {
		if int(offset)+i == rtcDataPort {
			p[i] = r.readLocked(now)
		}
	}
}

// Preconditions: mu held.
func (r *RTC) readLocked(now time.Time) byte {
	if isTime(r.index) && r.cmos[rtcB]&rtcBSet == 0 {
		r.latchLocked(now)
	}
	return r.cmos[r.index]
}

// Write implements Device.
func (r *RTC) Write(offset uint16, p []byte) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, v := range p {
		switch int(offset) + i {
		case rtcIndexPort:
			r.index = v & rtcIndexMask
		case rtcDataPort:
			r.writeLocked(v, now)
		}
	}
}

// Preconditions: mu held.
func (r *RTC) writeLocked(v byte, now time.Time) {
	switch {
	case r.index == rtcC || r.index == rtcD: // read-only
	case r.index == rtcA:
		r.cmos[rtcA] = v & rtcASet
	case r.index == rtcB:
		was := r.cmos[rtcB]
		if was&rtcBSet == 0 && v&rtcBSet != 0 {
			r.latchLocked(now)
		}
		r.cmos[rtcB] = v
		if was&rtcBSet != 0 && v&rtcBSet == 0 {
			r.offset = r.timeLocked().Sub(now)
		}
	case isTime(r.index) && r.cmos[rtcB]&rtcBSet == 0:
		r.latchLocked(now)
		r.cmos[r.index] = v
		r.offset = r.timeLocked().Sub(now)
	default:
		r.cmos[r.index] = v
	}
}

func isTime(index byte) bool {
	switch index {
	case rtcSeconds, rtcMinutes, rtcHours, rtcWeekday, rtcDay, rtcMonth, rtcYear, rtcCentury:
		return true
	}
	return false
}

// latchLocked puts the guest's time into the registers.
// Preconditions: mu held.
func (r *RTC) latchLocked(now time.Time) {
	t := now.Add(r.offset).UTC()
	hour := t.Hour()
	var pm byte
	if r.cmos[rtcB]&rtcB24 == 0 {
		if hour >= 12 {
			pm = rtcPM
		}
		hour = (hour+11)%12 + 1
	}
	for _, f := range [...]struct {
		reg   byte
		value int
	}{
		{rtcSeconds, t.Second()}, {rtcMinutes, t.Minute()}, {rtcHours, hour},
		{rtcWeekday, int(t.Weekday()) + 1}, {rtcDay, t.Day()}, {rtcMonth, int(t.Month())},
		{rtcYear, t.Year() % 100}, {rtcCentury, t.Year() / 100 % 100},
	} {
		r.cmos[f.reg] = r.encodeLocked(f.value)
	}
	r.cmos[rtcHours] |= pm
}

// timeLocked is the time that the registers hold. Values out of range carry over, as time.Date does.
// Preconditions: mu held.
func (r *RTC) timeLocked() time.Time {
	get := func(reg byte) int { return r.decodeLocked(r.cmos[reg]) }
	hour := get(rtcHours)
	if r.cmos[rtcB]&rtcB24 == 0 {
		raw := r.cmos[rtcHours]
		hour = r.decodeLocked(raw&^rtcPM) % 12
		if raw&rtcPM != 0 {
			hour += 12
		}
	}
	return time.Date(get(rtcCentury)*100+get(rtcYear), time.Month(get(rtcMonth)), get(rtcDay),
		hour, get(rtcMinutes), get(rtcSeconds), 0, time.UTC)
}

// Preconditions: mu held; 0 <= v < 100.
func (r *RTC) encodeLocked(v int) byte {
	if r.cmos[rtcB]&rtcBBinary != 0 {
		return byte(v)
	}
	return byte(v/10<<4 | v%10)
}

// Preconditions: mu held.
func (r *RTC) decodeLocked(v byte) int {
	if r.cmos[rtcB]&rtcBBinary != 0 {
		return int(v)
	}
	return int(v>>4)*10 + int(v&0xF)
}
