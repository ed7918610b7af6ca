package boot

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/libcapsa/libcapsa/internal/vm"
)

const opCmdline = "command line"

// Cmdline is what a kernel command line is made of.
type Cmdline struct {
	Machine  []string // the machine's own arguments; see MachineArgs
	User     []string // the user's, which come after them
	Override *string  // non-nil: the whole command line, verbatim; Machine and User are not used
}

// Build joins the arguments. Where the user gives a key that the machine gives too, the machine's argument is left out: the
// last value wins, and nobody has to know which keys the kernel takes from the first place. Keys are compared like the kernel
// does, '-' being '_' (kernel/params.c). virtio_mmio.device adds up instead of replacing, so it is never left out. What the
// user gives is kept as it is, in order, and so is the machine's part among itself.
//
// max is the longest line in bytes without the NUL: Kernel.CmdlineMax. Errors are of kind CONFIG (contents) and LIMIT (length).
func (c Cmdline) Build(max int) (string, error) {
	if c.Override != nil {
		return *c.Override, checkCmdline(*c.Override, max)
	}
	for i, arg := range c.User {
		if err := checkArg(arg); err != nil {
			return "", vm.Errorf(vm.KindConfig, opCmdline, "argument %d of the user (%.40q): %w", i, arg, err)
		}
	}
	given := make(map[string]bool)
	for _, arg := range kernelArgs(c.User) {
		given[key(arg)] = true
	}
	args := slices.DeleteFunc(slices.Clone(c.Machine), func(arg string) bool {
		k := key(arg)
		return k != keyVirtioDevice && given[k]
	})
	own := len(strings.Join(args, " "))
	args = append(args, c.User...)
	line := strings.Join(args, " ")
	if len(line) > max {
		return "", tooLong(len(line), max).WithHint(fmt.Sprintf("the machine's own arguments take %d bytes; shorten yours by %d", own, len(line)-max))
	}
	return line, checkCmdline(line, max)
}

func tooLong(n, max int) *vm.Error {
	return vm.Errorf(vm.KindLimit, opCmdline, "has %d bytes, this kernel takes %d", n, max)
}

// checkCmdline tells whether a whole line can be given to a kernel that takes max bytes.
func checkCmdline(line string, max int) error {
	if len(line) > max {
		return tooLong(len(line), max).WithHint(fmt.Sprintf("shorten it by %d bytes", len(line)-max))
	}
	if err := checkText(line); err != nil {
		return vm.Errorf(vm.KindConfig, opCmdline, "%w", err)
	}
	return nil
}

// checkText refuses what would end or split the line, or arrive as something else than it looks.
func checkText(s string) error {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }); i >= 0 {
		name := map[byte]string{0: "a NUL byte", '\n': "a newline", '\r': "a carriage return"}[s[i]]
		if name == "" {
			name = fmt.Sprintf("the control character %#02x", s[i])
		}
		return fmt.Errorf("contains %s at byte %d", name, i)
	}
	if i := invalidUTF8(s); i >= 0 {
		return fmt.Errorf("is not UTF-8 at byte %d (%#02x)", i, s[i])
	}
	return nil
}

// invalidUTF8 is the index of the first byte that is not part of a valid encoding, or -1.
func invalidUTF8(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// checkArg checks one argument of the user. An open quotation mark would take in the arguments after it.
func checkArg(arg string) error {
	if strings.TrimSpace(arg) == "" {
		return fmt.Errorf("is empty")
	}
	if err := checkText(arg); err != nil {
		return err
	}
	if strings.Count(arg, `"`)%2 != 0 {
		return fmt.Errorf(`has an unmatched quotation mark (")`)
	}
	return nil
}

// kernelArgs is what the kernel sees in a list: arguments that hold several are split at spaces outside of quotation marks,
// like next_arg does (lib/cmdline.c), and what follows "--" is for init.
func kernelArgs(list []string) []string {
	var args []string
	for _, s := range list {
		quoted := false
		for _, arg := range strings.FieldsFunc(s, func(r rune) bool {
			if r == '"' {
				quoted = !quoted
			}
			return !quoted && (r == ' ' || r == '\t')
		}) {
			if arg == "--" {
				return args
			}
			args = append(args, arg)
		}
	}
	return args
}

// key is what an argument sets: all of a flag, and what precedes '=' otherwise.
func key(arg string) string {
	k, _, _ := strings.Cut(strings.Trim(arg, `"`), "=")
	return strings.ReplaceAll(k, "-", "_")
}
