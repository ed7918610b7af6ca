package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// talk does the words for consoles, sockets and forwarded ports.
func (i *interpreter) talk(word string, a arguments) (string, error) {
	ctx, cancel := a.patience()
	defer cancel()
	m, r, c := i.vms[a["vm"]], i.readers[a["of"]], i.consoles[a["of"]]
	switch word {
	case "console":
		i.readers[a["as"]], i.consoles[a["as"]] = m.Console().NewReader(), m.Console()
		return "", nil
	case "expect":
		return expect(ctx, r, a)
	case "run":
		done, err := c.Run(ctx, a["command"])
		return fmt.Sprintf("%d %s", done.Status, done.Output), err
	case "type":
		_, err := c.Write(context.Background(), []byte(a["text"]))
		return "", err
	case "interrupt":
		return "", c.SendInterrupt(context.Background())
	case "eof":
		return "", c.SendEOF(context.Background())
	case "resize":
		return "", c.Resize(uint16(a.number("columns")), uint16(a.number("rows")))
	case "read_all":
		return readAll(r)
	case "states":
		for range a.number("count") {
			m.State()
		}
		return "", nil
	case "drain":
		return drain(m, a.number("count"))
	case "ping":
		return "", ping(r, c, a.number("count"))
	case "dial":
		fd, err := m.VsockConnect(ctx, capsa.VsockStream, uint32(a.number("port")))
		if err != nil {
			return "", err
		}
		i.streams[a["as"]], err = streamOf(fd)
		return "", err
	case "listen":
		return "", i.listen(m, a)
	case "accept":
		return "", i.accept(a)
	case "add_forward":
		f, err := m.AddForward(capsa.Forward{Protocol: capsa.ForwardTCP, Guest: uint16(a.number("port"))})
		i.forwards[a["as"]] = f
		return fmt.Sprintf("%s %d", f.Host.Addr(), f.Guest), err
	case "remove_forward":
		return "", m.RemoveForward(i.forwards[a["of"]].ID)
	case "connect":
		s, err := net.Dial("tcp", i.forwards[a["of"]].Host.String())
		i.streams[a["as"]] = s
		return "", err
	case "exchange":
		return exchange(i.streams[a["of"]], a["text"])
	}
	return "", errUnknown
}

func expect(ctx context.Context, r *capsa.Reader, a arguments) (string, error) {
	var patterns []capsa.Pattern
	if text, ok := a["literal"]; ok {
		patterns = append(patterns, capsa.Literal(text))
	}
	if text, ok := a["regex"]; ok {
		p, err := capsa.Regexp(text)
		if err != nil {
			return "", err
		}
		patterns = append(patterns, p)
	}
	found, err := r.Expect(ctx, patterns)
	return fmt.Sprintf("%d %s", found.Pattern, found.Text), err
}

// drain reads a console from its beginning to its end, so many times, and counts the bytes.
func drain(m *capsa.VM, count int) (string, error) {
	size, piece := 0, make([]byte, 65536)
	for range count {
		r := m.Console().NewReader()
		for {
			n, err := r.Read(context.Background(), piece)
			size += n
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return "", err
			}
		}
		_ = r.Close()
	}
	return strconv.Itoa(size), nil
}

// ping types to a guest that echoes, and waits for the echo.
func ping(r *capsa.Reader, c *capsa.Console, count int) error {
	text, pattern := []byte("ping"), []capsa.Pattern{capsa.Literal("ping")}
	for range count {
		if _, err := c.Write(context.Background(), text); err != nil {
			return err
		}
		if _, err := r.Expect(context.Background(), pattern); err != nil {
			return err
		}
	}
	return nil
}

// listen takes a port of the host.
func (i *interpreter) listen(m *capsa.VM, a arguments) error {
	port := uint32(a.number("port"))
	fd, err := m.VsockListen(capsa.VsockStream, port, 16)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "vsock")
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	i.ports[a["as"]] = listening{l, m, port}
	return err
}

// accept waits for the guest's connection; its time is the library's timeout elsewhere.
func (i *interpreter) accept(a arguments) error {
	l := i.ports[a["of"]].Listener.(*net.UnixListener)
	if err := l.SetDeadline(time.Now().Add(time.Duration(a.number("ms")) * time.Millisecond)); err != nil {
		return err
	}
	s, err := l.Accept()
	if os.IsTimeout(err) {
		return &capsa.Error{Op: "accept", Kind: capsa.KindTimeout}
	}
	i.streams[a["as"]] = s
	return err
}

func streamOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "vsock")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// exchange sends a text and the end, and reads to the end.
func exchange(s net.Conn, text string) (string, error) {
	if _, err := io.WriteString(s, text); err != nil {
		return "", err
	}
	if half, ok := s.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return "", err
		}
	}
	all, err := io.ReadAll(s)
	return string(all), err
}
