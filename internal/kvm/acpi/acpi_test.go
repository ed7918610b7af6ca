package acpi

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/vm"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// machines are the configurations that the tests go through.
func machines() map[string]Config {
	full := []layout.Device{layout.Console, layout.Net, layout.Vsock, layout.Entropy, layout.Balloon}
	for i := range layout.MaxSharesAndDisks {
		if i%2 == 0 {
			full = append(full, layout.Share(i/2))
		} else {
			full = append(full, layout.Disk(i/2))
		}
	}
	small := Devices([]layout.Device{layout.Console, layout.Entropy})
	return map[string]Config{
		"bare":     {CPUs: 1},
		"console":  {CPUs: 1, Devices: small},
		"smp":      {CPUs: 4, Devices: small},
		"full":     {CPUs: 255, Devices: Devices(full)},
		"x2apic":   {CPUs: 300, Devices: small},
		"cpus4096": {CPUs: 4096, Devices: Devices(full)},
	}
}

// parsed is what a guest finds when it follows the pointers.
type parsed struct {
	fadt, madt, dsdt []byte
}

// walk follows the tables like an operating system does and checks every signature, length and checksum.
func walk(t *testing.T, tables Tables) parsed {
	t.Helper()
	le := binary.LittleEndian
	at := func(addr uint64, n int) []byte {
		require.GreaterOrEqual(t, addr, tables.Addr)
		require.LessOrEqual(t, addr-tables.Addr+uint64(n), uint64(len(tables.Bytes)))
		return tables.Bytes[addr-tables.Addr:][:n]
	}
	table := func(addr uint64, signature string) []byte {
		n := int(le.Uint32(at(addr, headerSize)[lengthOffset:]))
		b := at(addr, n)
		require.Equal(t, signature, string(b[:4]))
		require.Zero(t, checksum(b), signature)
		require.Equal(t, oemID, string(b[10:16]))
		require.Zero(t, addr%tableAlign, signature)
		return b
	}
	require.Zero(t, tables.RSDP%16)
	root := at(tables.RSDP, rsdpSize)
	require.Equal(t, "RSD PTR ", string(root[:8]))
	require.Zero(t, checksum(root[:rsdpV1Size]))
	require.Zero(t, checksum(root))
	xsdt := table(le.Uint64(root[24:]), "XSDT")
	require.Len(t, xsdt, headerSize+2*8)
	p := parsed{
		fadt: table(le.Uint64(xsdt[headerSize:]), "FACP"),
		madt: table(le.Uint64(xsdt[headerSize+8:]), "APIC"),
	}
	require.Len(t, p.fadt, fadtSize)
	require.EqualValues(t, le.Uint64(p.fadt[fadtXDSDT:]), le.Uint32(p.fadt[fadtDSDT:]))
	p.dsdt = table(le.Uint64(p.fadt[fadtXDSDT:]), "DSDT")
	return p
}

func TestWalk(t *testing.T) {
	for name, c := range machines() {
		t.Run(name, func(t *testing.T) {
			tables, err := Build(c)
			require.NoError(t, err)
			require.LessOrEqual(t, len(tables.Bytes), layout.ACPISize)
			p := walk(t, tables)
			require.Equal(t, c.CPUs, countProcessors(t, p.madt))
			require.Equal(t, len(c.Devices), strings.Count(string(p.dsdt), "LNRO0005"))
			require.Equal(t, 1, strings.Count(string(p.dsdt), "QEMU0001"))
			require.Equal(t, 1, strings.Count(string(p.dsdt), "\x47\x01\x05\x05\x05\x05\x01\x01\x79"), "port 0x505")
			for i, d := range c.Devices {
				crs := string(concat(memory32Fixed(uint32(d.Base), uint32(d.Size)), interrupt(d.GSI)))
				require.Equal(t, 1, strings.Count(string(p.dsdt), crs), "device %d", i)
			}
		})
	}
}

// countProcessors walks the MADT; every identifier must come once, in order.
func countProcessors(t *testing.T, madt []byte) int {
	t.Helper()
	le := binary.LittleEndian
	n, ioapics := 0, 0
	for b := madt[headerSize+8:]; len(b) > 0; b = b[b[1]:] {
		require.LessOrEqual(t, int(b[1]), len(b))
		switch b[0] {
		case madtLocalAPIC:
			require.EqualValues(t, 8, b[1])
			require.EqualValues(t, n, b[3])
			require.EqualValues(t, processorEnabled, le.Uint32(b[4:]))
			n++
		case madtLocalX2APIC:
			require.EqualValues(t, 16, b[1])
			require.EqualValues(t, n, le.Uint32(b[4:]))
			require.EqualValues(t, processorEnabled, le.Uint32(b[8:]))
			require.EqualValues(t, n, le.Uint32(b[12:]))
			n++
		case madtIOAPIC:
			require.EqualValues(t, layout.IOAPICAddr, le.Uint32(b[4:]))
			ioapics++
		}
	}
	require.Equal(t, 1, ioapics)
	return n
}

func TestFADT(t *testing.T) {
	tables, err := Build(Config{CPUs: 1})
	require.NoError(t, err)
	b := walk(t, tables).fadt
	flags := binary.LittleEndian.Uint32(b[fadtFlags:])
	require.NotZero(t, flags&fadtHWReduced)
	require.NotZero(t, flags&fadtResetSupported)
	for _, r := range []struct {
		offset int
		port   uint64
	}{{fadtResetReg, 0x602}, {fadtSleepControl, 0x600}, {fadtSleepStatus, 0x601}} {
		require.Equal(t, []byte{1, 8, 0, 1}, b[r.offset:][:4])
		require.Equal(t, r.port, binary.LittleEndian.Uint64(b[r.offset+4:]))
	}
}

func TestGolden(t *testing.T) {
	for _, name := range []string{"bare", "console", "smp", "full", "x2apic"} {
		t.Run(name, func(t *testing.T) {
			tables, err := Build(machines()[name])
			require.NoError(t, err)
			file := filepath.Join("testdata", name+".acpi")
			if *update {
				require.NoError(t, os.WriteFile(file, tables.Bytes, 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, want, tables.Bytes, "go test ./internal/kvm/acpi -update rewrites the file; read what iasl -d makes of it")
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		kind vm.Kind
		text string
	}{
		{"no processor", Config{}, vm.KindInvalidArg, "0 processors"},
		{"too many processors", Config{CPUs: 9000}, vm.KindLimit, "9000 processors"},
		{"device above 4 GiB", Config{CPUs: 1, Devices: []VirtioDevice{{Base: 1 << 32, Size: 4096}}}, vm.KindInvalidArg, "0x100000000"},
		{"device across 4 GiB", Config{CPUs: 1, Devices: []VirtioDevice{{Base: 0xFFFF_F000, Size: 8192}}}, vm.KindInvalidArg, "8192 bytes"},
		{"too many devices", Config{CPUs: 1, Devices: make([]VirtioDevice, 1001)}, vm.KindLimit, "1001 devices"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Build(tt.c)
			require.ErrorIs(t, err, tt.kind)
			require.ErrorContains(t, err, tt.text)
		})
	}
}

func TestPkgLength(t *testing.T) {
	for _, size := range []int{0, 1, 62, 63, 64, 4093, 4094, 4095, 1<<20 - 4, 1<<20 - 3, 1 << 20, 1<<28 - 5} {
		b := pkgLength(size)
		n := int(b[0] >> 6) // bytes after the lead byte
		require.Len(t, b, n+1, "size %d", size)
		got := int(b[0] & 0x3F)
		if n > 0 {
			require.Zero(t, b[0]&0x30, "reserved bits")
			got = int(b[0] & 0xF)
			for i := range n {
				got |= int(b[1+i]) << (4 + 8*i)
			}
		}
		require.Equal(t, size+len(b), got)
	}
}

func TestInteger(t *testing.T) {
	for _, tt := range []struct {
		v    uint64
		want term
	}{
		{0, term{0}}, {1, term{1}}, {2, term{0x0A, 2}}, {0xFF, term{0x0A, 0xFF}}, {0x100, term{0x0B, 0, 1}},
		{0x1_0000, term{0x0C, 0, 0, 1, 0}}, {1 << 32, term{0x0E, 0, 0, 0, 0, 1, 0, 0, 0}},
	} {
		require.Equal(t, tt.want, integer(tt.v))
	}
	require.Panics(t, func() { nameString(false, "ABC") })
}

// TestIASL has Intel's compiler disassemble the DSDT and compile it again: the bytes must come out the same.
func TestIASL(t *testing.T) {
	iasl, err := exec.LookPath("iasl")
	if err != nil {
		if strings.Contains(os.Getenv("CAPSA_REQUIRE"), "iasl") {
			t.Fatal("CAPSA_REQUIRE names iasl, which is not installed (Debian: acpica-tools)")
		}
		t.Skip("iasl is not installed (Debian: acpica-tools)")
	}
	for name, c := range machines() {
		t.Run(name, func(t *testing.T) {
			tables, err := Build(c)
			require.NoError(t, err)
			p := walk(t, tables)
			dir := t.TempDir()
			for file, b := range map[string][]byte{"dsdt": p.dsdt, "facp": p.fadt, "apic": p.madt} {
				out := run(t, dir, iasl, b, file)
				require.NotRegexp(t, `(?i)\*\*\*\* .*(error|invalid|unknown|malformed|checksum)`, out)
			}
			dsl, err := os.ReadFile(filepath.Join(dir, "dsdt.dsl"))
			require.NoError(t, err)
			require.Equal(t, len(c.Devices), strings.Count(string(dsl), `"LNRO0005"`))
			for _, d := range c.Devices {
				require.Contains(t, string(dsl), fmt.Sprintf("0x%08X,         // Address Base", d.Base))
			}
			out, err := exec.Command(iasl, "-oa", "-p", filepath.Join(dir, "again"), filepath.Join(dir, "dsdt.dsl")).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Regexp(t, regexp.MustCompile(`0 Errors, 0 Warnings`), string(out))
			again, err := os.ReadFile(filepath.Join(dir, "again.aml"))
			require.NoError(t, err)
			require.Equal(t, p.dsdt[headerSize:], again[headerSize:])
		})
	}
}

// run writes a table to a file and disassembles it.
func run(t *testing.T, dir, iasl string, table []byte, name string) string {
	t.Helper()
	file := filepath.Join(dir, name+".dat")
	require.NoError(t, os.WriteFile(file, table, 0o644))
	out, err := exec.Command(iasl, "-d", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err := os.ReadFile(filepath.Join(dir, name+".dsl"))
	require.NoError(t, err)
	return string(out) + string(text)
}
