package pcap

import (
	"encoding/binary"
	"fmt"
)

// file is a capture as a reader sees it.
type file struct {
	name             string
	snapLen          int
	packets          []record
	ended            bool
	received, missed uint64 // of the statistics
}

type record struct {
	when     uint64
	data     string
	original int
	dir      Direction
	lost     uint64
}

// parse reads a file by the draft's rules, and finds fault with every other byte.
func parse(b []byte) (f file, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("cut short: %v", v)
		}
	}()
	u16, u32, u64 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	for index := 0; len(b) > 0; index++ {
		kind, n := u32(b), int(u32(b[4:]))
		if n%4 != 0 || n < 12 || int(u32(b[n-4:])) != n {
			return f, fmt.Errorf("block %d: length %d", index, n)
		}
		body := b[8 : n-4]
		b = b[n:]
		var opts map[uint16][]byte
		switch {
		case f.ended:
			return f, fmt.Errorf("block %d after the end", index)
		case index == 0:
			if kind != 0x0A0D0D0A || u32(body) != 0x1A2B3C4D || u16(body[4:]) != 1 || u16(body[6:]) != 0 {
				return f, fmt.Errorf("section header %x", body)
			}
			_, err = options(body[16:])
		case index == 1:
			if kind != 1 || u16(body) != 1 {
				return f, fmt.Errorf("interface %x", body)
			}
			f.snapLen = int(u32(body[4:]))
			opts, err = options(body[8:])
			f.name = string(opts[2])
			if len(opts[9]) != 1 || opts[9][0] != 9 {
				return f, fmt.Errorf("resolution %x", opts[9])
			}
		case kind == 6:
			size := int(u32(body[12:]))
			r := record{when: uint64(u32(body[4:]))<<32 | uint64(u32(body[8:])), original: int(u32(body[16:]))}
			r.data = string(body[20 : 20+size])
			opts, err = options(body[20+(size+3)&^3:])
			r.dir = Direction(u32(opts[2]))
			if d := opts[4]; d != nil {
				r.lost = u64(d)
			}
			f.packets = append(f.packets, r)
		case kind == 5:
			opts, err = options(body[12:])
			f.received, f.missed = u64(opts[4]), u64(opts[5])
			f.ended = true
		default:
			return f, fmt.Errorf("block %d of type %#x", index, kind)
		}
		if err != nil {
			return f, fmt.Errorf("block %d: %w", index, err)
		}
	}
	return f, nil
}

// options reads a list of options to its end, which is the end of b too.
func options(b []byte) (map[uint16][]byte, error) {
	opts := map[uint16][]byte{}
	for {
		code, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if code == 0 {
			if n != 0 || len(b) != 4 {
				return nil, fmt.Errorf("%d bytes after the options", len(b)-4)
			}
			return opts, nil
		}
		opts[code] = b[4 : 4+n]
		b = b[4+(n+3)&^3:]
	}
}
