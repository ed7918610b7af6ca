package legacy

import (
	"io"
	"sync"
)

// Registers of a 16550A (National Semiconductor PC16550D data sheet, table II).
const (
	regData        = 0 // receive and transmit; divisor low byte while DLAB is set
	regIER         = 1 // interrupt enable; divisor high byte while DLAB is set
	regIIR         = 2 // read: interrupt identification
	regFCR         = 2 // write: FIFO control
	regLCR         = 3 // line control
	regMCR         = 4 // modem control
	regLSR         = 5 // line status
	regMSR         = 6 // modem status
	regScratch     = 7
	ierMask        = 0x0F
	iirNone        = 0x01 // no interrupt pending
	iirFIFO        = 0xC0 // FIFOs are on
	fcrEnable      = 0x01
	fcrClearRX     = 0x02
	lcrDLAB        = 0x80
	lcrDefault     = 0x03 // 8 data bits, no parity, 1 stop bit
	mcrMask        = 0x1F
	mcrDTR         = 0x01
	mcrRTS         = 0x02
	mcrOut1        = 0x04
	mcrOut2        = 0x08
	mcrLoop        = 0x10
	lsrData        = 0x01
	lsrOverrun     = 0x02
	lsrIdle        = 0x60 // transmitter holding register and shift register are empty
	msrCTS         = 0x10
	msrDSR         = 0x20
	msrRI          = 0x40
	msrDCD         = 0x80
	divisor9600Low = 0x0C // 115200 / 9600
)

// Serial is a 16550A that only transmits, at once and without ever raising an interrupt: its identification register says
// that none is pending, so Linux's driver polls. It is at layout.SerialPort. In loopback mode, by which drivers recognise the
// chip, it receives what it sends: one byte, more of them being an overrun.
type Serial struct {
	mu       sync.Mutex // guards the registers
	ier      byte
	lcr      byte
	mcr      byte
	scratch  byte
	fifo     bool
	divisor  [2]byte
	received byte
	lsr      byte // lsrData and lsrOverrun only

	outMu sync.Mutex // serialises out; held while it is called, and nothing else is
	out   io.Writer
}

// NewSerial makes a serial port that writes to out, which must not block and whose errors are ignored: a guest does not stop
// because nobody listens.
func NewSerial(out io.Writer) *Serial {
	return &Serial{out: out, lcr: lcrDefault, divisor: [2]byte{divisor9600Low, 0}}
}

// Read implements Device.
func (s *Serial) Read(offset uint16, p []byte) {
	fill(p, floating)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range p {
		if reg := int(offset) + i; reg <= regScratch {
			p[i] = s.readLocked(reg)
		}
	}
}

// Preconditions: mu held.
func (s *Serial) readLocked(reg int) byte {
	switch reg {
	case regData, regIER:
		if s.lcr&lcrDLAB != 0 {
			return s.divisor[reg]
		}
		if reg == regIER {
			return s.ier
		}
		s.lsr &^= lsrData
		return s.received
	case regIIR:
		if s.fifo {
			return iirNone | iirFIFO
		}
		return iirNone
	case regLCR:
		return s.lcr
	case regMCR:
		return s.mcr
	case regLSR:
		v := s.lsr | lsrIdle
		s.lsr &^= lsrOverrun // reading clears errors
		return v
	case regMSR:
		return s.modemStatusLocked()
	}
	return s.scratch
}

// modemStatusLocked is what the modem says: always ready, and in loopback mode the modem control register, crossed over.
// Preconditions: mu held.
func (s *Serial) modemStatusLocked() byte {
	if s.mcr&mcrLoop == 0 {
		return msrCTS | msrDSR | msrDCD
	}
	var v byte
	for _, w := range [...]struct{ out, in byte }{{mcrRTS, msrCTS}, {mcrDTR, msrDSR}, {mcrOut1, msrRI}, {mcrOut2, msrDCD}} {
		if s.mcr&w.out != 0 {
			v |= w.in
		}
	}
	return v
}

// Write implements Device.
func (s *Serial) Write(offset uint16, p []byte) {
	for i, v := range p {
		if reg := int(offset) + i; reg <= regScratch && s.write(reg, v) {
			s.transmit(v)
		}
	}
}

// write tells whether the byte is to be transmitted.
func (s *Serial) write(reg int, v byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch reg {
	case regData, regIER:
		switch {
		case s.lcr&lcrDLAB != 0:
			s.divisor[reg] = v
		case reg == regIER:
			s.ier = v & ierMask
		case s.mcr&mcrLoop != 0:
			if s.lsr&lsrData != 0 {
				s.lsr |= lsrOverrun
			}
			s.received = v
			s.lsr |= lsrData
		default:
			return true
		}
	case regFCR:
		s.fifo = v&fcrEnable != 0
		if v&fcrClearRX != 0 {
			s.lsr &^= lsrData
		}
	case regLCR:
		s.lcr = v
	case regMCR:
		s.mcr = v & mcrMask
	case regScratch:
		s.scratch = v
	}
	return false
}

func (s *Serial) transmit(v byte) {
	s.outMu.Lock()
	defer s.outMu.Unlock()
	_, _ = s.out.Write([]byte{v}) // documented: nobody to tell
}
