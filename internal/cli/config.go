package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// maxConfig is the longest file with a machine, in bytes.
const maxConfig = 4 << 20

// readConfig reads a machine in TOML or JSON, and returns its JSON form. Paths in it are relative to where the command
// runs, as they are on the command line.
func (a *App) readConfig(path string) ([]byte, error) {
	const op = "configuration"
	var in io.Reader = a.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, vm.Wrap(op, err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxConfig+1))
	if err != nil {
		return nil, vm.Wrap(op, err)
	}
	if len(data) > maxConfig {
		return nil, vm.Errorf(vm.KindLimit, op, "%s has more than %d bytes", path, maxConfig)
	}
	return configJSON(data)
}

// configJSON makes the JSON form of either. What begins with a brace is JSON.
func configJSON(data []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return data, nil
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		return nil, vm.Errorf(vm.KindConfig, "configuration", "%w", err).WithHint("it is read as TOML, since it does not begin with {")
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return nil, vm.Errorf(vm.KindConfig, "configuration", "%w", err)
	}
	return out, nil
}

func (a *App) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check machines in files, and translate them",
		Long: "A file that run --config takes says what a machine is, in TOML or JSON, with the keys of the library's builder:\n\n" +
			"  cpus = 2\n  memory_mib = 512\n  [boot]\n  kernel = \"/boot/vmlinuz\"\n  args = [\"quiet\"]\n" +
			"  [[disks]]\n  path = \"/data/debian.qcow2\"\n  temporary = true\n  root = true\n\nIt is checked strictly: unknown keys are errors.",
	}
	check := &cobra.Command{
		Use: "check FILE", Short: "Say everything that is wrong with a file", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := a.loadConfig(args[0])
			if err != nil {
				return err
			}
			if err := b.Config().Validate(); err != nil {
				return err
			}
			return a.print(map[string]bool{"valid": true}, func() { a.say("%s is valid", args[0]) })
		},
	}
	var form string
	show := &cobra.Command{
		Use: "show FILE", Short: "Print a file in the other form", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			b, err := a.loadConfig(args[0])
			if err != nil {
				return err
			}
			if form == "" && (a.json || strings.EqualFold(filepath.Ext(args[0]), ".toml")) {
				form = "json"
			}
			return a.showConfig(b, form)
		},
	}
	show.Flags().StringVar(&form, "form", "", "`form` to print: json or toml (default: the one that the file does not have)")
	cmd.AddCommand(check, show)
	return cmd
}

func (a *App) loadConfig(path string) (*capsa.Builder, error) {
	data, err := a.readConfig(path)
	if err != nil {
		return nil, err
	}
	return capsa.FromJSON(data)
}

// showConfig prints a machine with everything that it has, defaults too.
func (a *App) showConfig(b *capsa.Builder, form string) error {
	data, err := b.JSON()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	switch form {
	case "json":
		err = json.Indent(&out, data, "", "  ")
		out.WriteByte('\n')
	case "toml", "":
		var tree map[string]any
		numbers := json.NewDecoder(bytes.NewReader(data))
		numbers.UseNumber()
		if err = numbers.Decode(&tree); err == nil {
			err = toml.NewEncoder(&out).Encode(integers(tree))
		}
	default:
		return bad("configuration", "json or toml", "%q is no form", form)
	}
	if err != nil {
		return vm.Errorf(vm.KindInternal, "configuration", "%w", err)
	}
	_, err = a.Stdout.Write(out.Bytes())
	return vm.Wrap("configuration", err)
}

// integers makes numbers of JSON integers again, where they are, and leaves out nulls, which TOML has not.
func integers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, x := range v {
			if x == nil {
				delete(v, key)
				continue
			}
			v[key] = integers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = integers(x)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return value
}
