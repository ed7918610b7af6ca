package client

import (
	"bufio"
	"encoding/binary"
	"os"
	"reflect"
	"strconv"
	"strings"
)

// atSecure is AT_SECURE (include/uapi/linux/auxvec.h).
const atSecure = 23

// trusted says whether the process gained no privileges when its program was
// executed: AT_SECURE of the auxiliary vector (getauxval(3)).
func trusted() bool {
	vector, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return os.Getuid() == os.Geteuid() && os.Getgid() == os.Getegid()
	}
	for ; len(vector) >= 16; vector = vector[16:] {
		if binary.NativeEndian.Uint64(vector) == atSecure {
			return binary.NativeEndian.Uint64(vector[8:]) == 0
		}
	}
	return true
}

// libraryPath is the file that this code was loaded from: the shared library or the
// program. It is the one mapped at the address of this function (proc(5), maps).
func libraryPath() string {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return ""
	}
	defer f.Close()
	return mapped(bufio.NewScanner(f), uint64(reflect.ValueOf(libraryPath).Pointer()))
}

// mapped finds the file at an address among the lines of maps: "from-to perms
// offset device inode path".
func mapped(lines *bufio.Scanner, addr uint64) string {
	for lines.Scan() {
		bounds, rest, _ := strings.Cut(lines.Text(), " ")
		from, to, _ := strings.Cut(bounds, "-")
		low, err := strconv.ParseUint(from, 16, 64)
		high, err2 := strconv.ParseUint(to, 16, 64)
		if err != nil || err2 != nil || addr < low || addr >= high {
			continue
		}
		if at := strings.IndexByte(rest, '/'); at >= 0 {
			return strings.TrimSuffix(rest[at:], " (deleted)")
		}
		return ""
	}
	return ""
}
