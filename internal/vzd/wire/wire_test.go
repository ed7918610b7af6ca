package wire

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// pair is two connections, closed at the end of the test.
func pair(t testing.TB) (a, b *Conn) {
	t.Helper()
	x, y, err := sockpair.New()
	require.NoError(t, err)
	a, err = NewConn(x)
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	b, err = NewConn(y)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return a, b
}

// pipe is a descriptor that gives a word and then the end.
func pipe(t testing.TB, word string) int {
	t.Helper()
	ours, theirs, err := sockpair.New()
	require.NoError(t, err)
	_, err = unix.Write(theirs, []byte(word))
	require.NoError(t, err)
	require.NoError(t, unix.Close(theirs))
	return ours
}

func TestHeaderBytes(t *testing.T) {
	t.Parallel()
	h := header{size: 0x010203, kind: KindResponse, files: 2, id: 0x1122334455667788}
	b := h.encode()
	require.Equal(t, "030201000202565a8877665544332211", hex.EncodeToString(b[:]))
	back, err := decodeHeader(b)
	require.NoError(t, err)
	require.Equal(t, h, back)
}

func TestBadHeaders(t *testing.T) {
	t.Parallel()
	good := header{kind: KindRequest}.encode()
	tests := []struct {
		name string
		at   int
		with []byte
	}{
		{"too long", 0, []byte{1, 0, 0x20, 0}},
		{"longest", 0, []byte{0xff, 0xff, 0xff, 0xff}},
		{"no kind", 4, []byte{0}},
		{"unknown kind", 4, []byte{7}},
		{"too many files", 5, []byte{MaxFiles + 1}},
		{"magic", 6, []byte{0}},
		{"text", 0, []byte("panic: runtime e")},
	}
	for _, test := range tests {
		b := good
		copy(b[test.at:], test.with)
		_, err := decodeHeader(b)
		require.ErrorIs(t, err, vm.KindProtocol, test.name)
	}
}

func TestFrames(t *testing.T) {
	vmtest.CheckLeaks(t)
	a, b := pair(t)
	big := make([]byte, MaxBody)
	big[MaxBody-1] = 7
	sent := make(chan error, 1)
	go func() {
		err := a.Send(Frame{Kind: KindRequest, ID: 1})
		if err == nil {
			err = a.Send(Frame{Kind: KindEvent, ID: 1<<64 - 1, Body: big})
		}
		sent <- err
	}()
	f, err := b.Receive()
	require.NoError(t, err)
	require.Equal(t, Frame{Kind: KindRequest, ID: 1, Body: []byte{}}, f)
	f, err = b.Receive()
	require.NoError(t, err)
	require.NoError(t, <-sent)
	require.Equal(t, big, f.Body)
	require.Error(t, a.Send(Frame{Kind: KindEvent, Body: append(big, 0)}))
	a.Shutdown()
	_, err = b.Receive()
	require.Equal(t, io.EOF, err)
}

// TestFiles: descriptors arrive, with their frame, close-on-exec, and the sender's
// stay open until the ack.
func TestFiles(t *testing.T) {
	vmtest.CheckLeaks(t)
	a, b := pair(t)
	out := NewOutbox(a)
	words := []string{"one", "two"}
	files := Files{pipe(t, words[0]), pipe(t, words[1])}
	out.Send(Frame{Kind: KindRequest, ID: 5, Body: []byte("x")})
	out.Send(Frame{Kind: KindRequest, ID: 9, Files: files})
	f, err := b.Receive()
	require.NoError(t, err)
	require.Empty(t, f.Files)
	f, err = b.Receive()
	require.NoError(t, err)
	got, err := f.Files.Take(2)
	require.NoError(t, err)
	for i, fd := range got {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.NoError(t, err)
		require.NotZero(t, flags&unix.FD_CLOEXEC)
		buf := make([]byte, 8)
		n, err := unix.Read(fd, buf)
		require.NoError(t, err)
		require.Equal(t, words[i], string(buf[:n]))
		_, err = unix.FcntlInt(uintptr(files[i]), unix.F_GETFD, 0)
		require.NoError(t, err, "closed before the ack")
	}
	got.Close()
	out.Ack(9)
	out.Ack(9)
	for _, fd := range files {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		require.Equal(t, unix.EBADF, err)
	}
	_, err = Files{pipe(t, "")}.Take(2)
	require.ErrorIs(t, err, vm.KindProtocol)
	out.Close()
}

// TestSurplusFiles: descriptors that were not announced are closed, however many.
func TestSurplusFiles(t *testing.T) {
	for _, count := range []int{1, MaxFiles + 1, 100} {
		vmtest.CheckLeaks(t)
		a, b := pair(t)
		fd := pipe(t, "")
		fds := make([]int, count)
		for i := range fds {
			fds[i] = fd
		}
		h := header{kind: KindRequest}.encode()
		_, _, err := a.c.WriteMsgUnix(h[:], unix.UnixRights(fds...), nil)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		_, err = b.Receive()
		require.ErrorIs(t, err, vm.KindProtocol)
	}
}

// TestOutboxOfBrokenConnection: nothing is kept, and nothing blocks.
func TestOutboxOfBrokenConnection(t *testing.T) {
	vmtest.CheckLeaks(t)
	a, b := pair(t)
	out := NewOutbox(a)
	for range 100 { // more than the socket holds, to a peer that does not receive
		out.Send(Frame{Kind: KindEvent, Body: make([]byte, 64<<10), Files: Files{pipe(t, "")}})
	}
	require.False(t, out.TrySend(Frame{Kind: KindEvent, Files: Files{pipe(t, "")}}, 10))
	b.Shutdown()
	out.Close()
	out.Send(Frame{Kind: KindEvent, Files: Files{pipe(t, "")}})
}

func TestNotASocket(t *testing.T) {
	vmtest.CheckLeaks(t)
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	_, err = NewConn(fd)
	require.Error(t, err)
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	_, err = NewConn(fd)
	require.ErrorContains(t, err, "no unix stream socket")
}

// fill gives every field a value of its own that is not zero.
func fill(v reflect.Value, next *int) {
	*next++
	switch p := v.Addr().Interface().(type) { // what has a form of its own
	case *netip.Addr:
		*p = netip.AddrFrom4([4]byte{10, 0, 0, byte(*next)})
		return
	case *netip.AddrPort:
		*p = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(*next)}), 7)
		return
	case *netip.Prefix:
		*p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(*next)}), 24)
		return
	case *json.RawMessage:
		*p = json.RawMessage(`{"a":1}`)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("\xff" + strings.Repeat("x", *next%5) + "\n")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*next))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint8:
		v.SetUint(uint64(*next))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), next)
		fill(v.Index(1), next)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.SetString("key")
		fill(value, next)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), next)
		}
	}
}

// TestEveryFieldTravels: a field that is added to the contract and not to its form
// is found here.
func TestEveryFieldTravels(t *testing.T) {
	t.Parallel()
	next := 0
	var cfg vm.Config
	fill(reflect.ValueOf(&cfg).Elem(), &next)
	cfg.Memory = 3 * vm.MiB
	cfg.Network.NoIPv6 = false // says that there is no IPv6
	for i := range cfg.Network.Forwards {
		cfg.Network.Forwards[i].ID = 0 // is given, not chosen
	}
	form, err := EncodeConfig(cfg)
	require.NoError(t, err)
	var back Config
	through(t, form, &back)
	decoded, err := back.Decode()
	require.NoError(t, err)
	require.Equal(t, cfg, decoded)

	var stats vm.Stats
	fill(reflect.ValueOf(&stats).Elem(), &next)
	clean := func(s string) (string, error) { return strings.ToValidUTF8(s, "?"), nil } // names are ours
	require.NoError(t, eachString(reflect.ValueOf(&stats).Elem(), clean))
	var statsBack Closed
	through(t, Closed{Stats: stats}, &statsBack)
	require.Equal(t, stats, statsBack.Stats)

	exit := vm.Exit{Cause: 1, Code: 2, Signal: 3, PanicText: "\xfe", Detail: "\xfd", Uptime: 4}
	require.Equal(t, 7, reflect.TypeFor[vm.Exit]().NumField(), "with Err, which TestErrors has")
	var exitBack Exit
	through(t, EncodeExit(exit), &exitBack)
	require.Equal(t, exit, exitBack.Decode())

	event := vm.Event{Type: 1, Time: time.Unix(1, 2).UTC(), State: 3, Exit: &exit, Component: "c", Message: "\xff", Disk: 4, Lost: 5, Up: true,
		Forward: &vm.Forward{ID: 1, Protocol: vm.ForwardTCP, Host: netip.MustParseAddrPort("127.0.0.1:80"), Path: "/\xff", Guest: 7}}
	require.Equal(t, 10, reflect.TypeFor[vm.Event]().NumField())
	var eventBack Event
	through(t, EncodeEvent(event), &eventBack)
	require.Equal(t, event, eventBack.Decode())

	require.Equal(t, 6, reflect.TypeFor[vm.Capabilities]().NumField(), "all but Fits, which cannot")
	require.Equal(t, 8, reflect.TypeFor[vm.Error]().NumField())
}

// through encodes and decodes.
func through(t *testing.T, in, out any) {
	t.Helper()
	b, err := EncodeBody(in)
	require.NoError(t, err)
	require.NoError(t, DecodeBody(b, out))
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "plain", "\xff\x00", rawPrefix + "!", "\x00", "日本"} {
		var back text
		through(t, text(s), &back)
		require.Equal(t, s, string(back))
	}
	var bad text
	require.Error(t, json.Unmarshal([]byte(`"\u0000base64:?"`), &bad))
	require.Error(t, json.Unmarshal([]byte(`7`), &bad))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	inner := vm.Errorf(vm.KindNotFound, "open", "%w", os.NewSyscallError("open", syscall.ENOENT)).WithHint("look")
	panicked := safe.Run("device", func() { panic("oh") })
	tests := []struct {
		name string
		err  error
		want string
		is   []error
	}{
		{"whole", &vm.Error{
			Op: "boot", Kind: vm.KindBoot, Component: "kvm", Path: "/\xff", Hint: "h", ConsoleTail: []byte("\xfftail"),
			Problems: []vm.Problem{{Field: "f", Message: "m", Hint: "h"}}, Err: io.EOF,
		}, "boot: /\xff: EOF: f: m (h) (h)", []error{vm.KindBoot}},
		{"nested", vm.Errorf(vm.KindConfig, "new", "disk 0: %w", inner), "new: disk 0: open: open: no such file or directory (look)",
			[]error{vm.KindConfig, vm.KindNotFound, os.ErrNotExist, syscall.ENOENT}},
		{"untyped", io.EOF, "op: EOF", []error{vm.KindInternal}},
		{"wrapped", errorsWrap(inner), "x y: open: open: no such file or directory (look)", []error{vm.KindNotFound, syscall.ENOENT}},
		{"panic", vm.Errorf(vm.KindVMMDied, "run", "%w", panicked), "run: device panicked: oh", []error{vm.KindVMMDied}},
		{"no cause", &vm.Error{Op: "x", Kind: vm.KindClosed}, "x: closed", []error{vm.KindClosed}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var back *Error
			through(t, EncodeError("op", test.err), &back)
			got := back.Decode()
			var typed *vm.Error
			require.ErrorAs(t, got, &typed)
			for _, target := range test.is {
				require.ErrorIs(t, got, target)
			}
			if test.want != "" {
				require.Equal(t, test.want, got.Error())
			}
			if given, ok := test.err.(*vm.Error); ok {
				given, typed := *given, *typed
				require.Equal(t, given.Errno(), typed.Errno())
				given.Err, typed.Err = nil, nil
				require.Equal(t, given, typed)
			}
		})
	}
	var p *safe.PanicError
	require.ErrorAs(t, EncodeError("op", panicked).Decode(), &p)
	require.Contains(t, string(p.Stack), "wire_test.go")
	require.NoError(t, EncodeError("op", nil).Decode())
	require.ErrorIs(t, (&Error{Kind: 99}).Decode(), vm.KindInternal)
	require.Equal(t, vm.CauseVMMCrash, (&Exit{Cause: 99}).Decode().Cause)
}

func errorsWrap(err error) error { return &os.PathError{Op: "x", Path: "y", Err: err} }

// TestGoldens: the bodies, byte for byte. When one changes, old and new programs do
// not understand each other: raise Proto, unless fields were only added.
func TestGoldens(t *testing.T) {
	t.Parallel()
	cfg := vm.DefaultConfig()
	cfg.Boot.Kernel, cfg.Boot.Initrd, cfg.Timeout = "/boot/vmlinuz", "/boot/\xff", time.Second+1
	cfg.Disks = []vm.Disk{{Path: "/disk", Root: true}}
	config, err := EncodeConfig(cfg)
	require.NoError(t, err)
	failure := vm.Errorf(vm.KindIO, "start", "%w", os.NewSyscallError("ioctl", syscall.EFAULT)).WithComponent("kvm").WithHint("restart")
	bodies := []any{
		Request{Method: MethodHello, Params: json.RawMessage(`{"proto":2}`)},
		Hello{Proto: Proto, Client: "libcapsa"},
		Welcome{Proto: Proto, PID: 7, Backend: "kvm"},
		config,
		Kill{Cause: vm.CauseStopped},
		Resize{Cols: 80, Rows: 24},
		MemoryTarget{Bytes: 1 << 40},
		Vsock{Type: vm.VsockSeqPacket, Port: 9, Backlog: 5},
		Response{Error: EncodeError("start", failure), Output: Output{1, 2}},
		Notice{Event: EncodeEvent(vm.Event{Type: vm.EventLog, Time: time.Unix(1, 0).UTC(), Component: "c", Message: "m"})},
		Notice{Exited: EncodeExit(vm.Exit{Cause: vm.CausePanic, PanicText: "\xff", Uptime: 3}), Output: Output{3, 4}},
		EncodeLog("daemon", "words"),
	}
	var lines strings.Builder
	for _, body := range bodies {
		b, err := EncodeBody(body)
		require.NoError(t, err)
		lines.Write(append(b, '\n'))
	}
	path := filepath.Join("testdata", "bodies.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(lines.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), lines.String())
}

// TestNoSignal: a peer that is gone is an error. A signal would be seen here: the
// program asks for it.
func TestNoSignal(t *testing.T) {
	vmtest.CheckLeaks(t)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGPIPE)
	defer signal.Stop(signals)
	a, b := pair(t)
	require.NoError(t, b.Close())
	require.ErrorIs(t, a.Send(Frame{Kind: KindEvent, Body: []byte("{}")}), syscall.EPIPE)
	require.Empty(t, signals)
	require.NoError(t, unix.Kill(os.Getpid(), syscall.SIGPIPE)) // it would have come before this one
	<-signals
}
