package acpi

import (
	"encoding/binary"
	"math"
)

// Codes of AML (20.2, 20.3).
const (
	opZero         = 0x00
	opOne          = 0x01
	opName         = 0x08
	opByte         = 0x0A
	opWord         = 0x0B
	opDWord        = 0x0C
	opString       = 0x0D
	opQWord        = 0x0E
	opScope        = 0x10
	opBuffer       = 0x11
	opPackage      = 0x12
	opMethod       = 0x14
	prefixDualName = 0x2E
	prefixExt      = 0x5B
	opExtRegion    = 0x80 // after prefixExt
	opExtField     = 0x81 // after prefixExt
	opExtDevice    = 0x82 // after prefixExt
	opLocal0       = 0x60
	opStore        = 0x70
	opAnd          = 0x7B
	opNotify       = 0x86
	opIf           = 0xA0
	nullTarget     = 0x00
	prefixRootName = '\\'
)

const (
	spaceSystemIO = 1 // region space (19.6.100)

	fieldDWordNoLockZeros = 3 | 2<<5 // field flags (20.2.5.2): DWordAcc, NoLock, WriteAsZeros
	methodOneArgSerial    = 1 | 1<<3 // method flags (20.2.5.2): one argument, serialized
)

// A term is encoded AML.
type term []byte

func concat(parts ...term) term {
	var out term
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// pkgLength is PkgLength (20.2.4) for a package with size bytes after it; the length counts itself.
func pkgLength(size int) term {
	if size+1 < 1<<6 {
		return term{byte(size + 1)}
	}
	n := 1 // bytes after the lead byte
	for size+1+n >= 1<<(4+8*n) {
		n++
	}
	total := size + 1 + n
	out := term{byte(n<<6 | total&0xF)}
	for i := range n {
		out = append(out, byte(total>>(4+8*i)))
	}
	return out
}

// pkg is a code, PkgLength and the parts that it spans.
func pkg(code term, parts ...term) term {
	body := concat(parts...)
	return concat(code, pkgLength(len(body)), body)
}

// nameString is a path of one or two segments of four characters (20.2.2), with '\' in front where it is absolute.
func nameString(root bool, segments ...string) term {
	var out term
	if root {
		out = append(out, prefixRootName)
	}
	if len(segments) == 2 {
		out = append(out, prefixDualName)
	}
	for _, s := range segments {
		if len(s) != 4 {
			panic("BUG: acpi: name segment " + s + " does not have four characters")
		}
		out = append(out, s...)
	}
	return out
}

// integer is the shortest constant for v (20.2.3).
func integer(v uint64) term {
	switch {
	case v == 0:
		return term{opZero}
	case v == 1:
		return term{opOne}
	case v <= math.MaxUint8:
		return term{opByte, byte(v)}
	case v <= math.MaxUint16:
		return binary.LittleEndian.AppendUint16(term{opWord}, uint16(v))
	case v <= math.MaxUint32:
		return binary.LittleEndian.AppendUint32(term{opDWord}, uint32(v))
	default:
		return binary.LittleEndian.AppendUint64(term{opQWord}, v)
	}
}

func str(s string) term { return append(append(term{opString}, s...), 0) }

// name is Name(n, value).
func name(n string, value term) term { return concat(term{opName}, nameString(false, n), value) }

func scope(path term, body ...term) term {
	return pkg(term{opScope}, append([]term{path}, body...)...)
}

func device(n string, body ...term) term {
	return pkg(term{prefixExt, opExtDevice}, append([]term{nameString(false, n)}, body...)...)
}

// method is Method(n, 1, Serialized).
func method(n string, body ...term) term {
	return pkg(term{opMethod}, append([]term{nameString(false, n), {methodOneArgSerial}}, body...)...)
}

// buffer is Buffer(){data}.
func buffer(data []byte) term { return pkg(term{opBuffer}, integer(uint64(len(data))), data) }

// pack is Package(){elements}.
func pack(elements ...term) term {
	return pkg(term{opPackage}, append([]term{{byte(len(elements))}}, elements...)...)
}

// ioRegion is OperationRegion(n, SystemIO, base, size).
func ioRegion(n string, base, size uint64) term {
	return concat(term{prefixExt, opExtRegion}, nameString(false, n), term{spaceSystemIO}, integer(base), integer(size))
}

// dwordField is Field(region, DWordAcc, NoLock, WriteAsZeros){n, bits}, for fewer than 63 bits.
func dwordField(region, n string, bits byte) term {
	return pkg(term{prefixExt, opExtField}, nameString(false, region), term{fieldDWordNoLockZeros}, nameString(false, n), term{bits})
}

// store is Store(source, target).
func store(source, target term) term { return concat(term{opStore}, source, target) }

// and is And(a, b).
func and(a, b term) term { return concat(term{opAnd}, a, b, term{nullTarget}) }

func ifTrue(predicate term, body ...term) term {
	return pkg(term{opIf}, append([]term{predicate}, body...)...)
}

// notify is Notify(object, value).
func notify(object term, value uint64) term {
	return concat(term{opNotify}, object, integer(value))
}
