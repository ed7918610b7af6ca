// Command vsockpeer is a program of a guest as people write them in Go, on
// github.com/mdlayher/vsock: the guest's end of the tests of many bytes and of
// many connections (tests/e2e/vsock_peer.c).
//
//	vsockpeer exchange PORT BYTES   sends so many and the end, while it reads to the end; its reader starts slow
//	vsockpeer many PORT COUNT       opens so many connections to the host, then uses and closes them all
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/mdlayher/vsock"
)

// period is after how many bytes the pattern begins again: a prime, so that a
// piece which is lost, doubled or moved shows.
const period = 65521

// pattern are the bytes that both sides send, twice: the high bits of a linear
// congruence (ISO C's example of rand), as in tests/e2e/stream.c.
func pattern() []byte {
	b := make([]byte, period)
	state := uint32(1)
	for i := range b {
		state = state*1103515245 + 12345
		b[i] = byte(state >> 24)
	}
	return append(b, b...)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("vsockpeer:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: vsockpeer exchange PORT BYTES | many PORT COUNT")
	}
	port, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	switch args[0] {
	case "exchange":
		return exchange(uint32(port), n)
	case "many":
		return many(uint32(port), int(n))
	}
	return errors.New("there is no command " + args[0])
}

// exchange sends and reads at the same time, so that a side which forgets one
// direction over the other stands still.
func exchange(port uint32, n int64) error {
	conn, err := vsock.Dial(vsock.Host, port, nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	want := pattern()
	sent := make(chan error, 1)
	go func() {
		err := send(conn, want, n)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := compare(conn, want, slow)
	if err := errors.Join(err, <-sent); err != nil {
		return err
	}
	fmt.Printf("%d bytes sent, %d bytes as expected\n", n, got)
	return nil
}

func send(w io.Writer, want []byte, n int64) error {
	for at := int64(0); at < n; {
		from := at % period
		k, err := w.Write(want[from : from+min(period, n-at)])
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", at, err)
		}
		at += int64(k)
	}
	return nil
}

// slow is how much of an exchange is read in small pieces with rests in
// between, so that the other side's credit and sockets fill up.
const slow = 256 << 10

// compare reads to the end, the first bytes slowly.
func compare(r io.Reader, want []byte, slow int64) (int64, error) {
	buf := make([]byte, period)
	for at := int64(0); ; {
		piece := buf
		if at < slow {
			time.Sleep(time.Millisecond)
			piece = buf[:1000]
		}
		k, err := r.Read(piece)
		from := at % period
		if !bytes.Equal(piece[:k], want[from:from+int64(k)]) {
			return at, fmt.Errorf("other bytes than expected after %d", at)
		}
		at += int64(k)
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, fmt.Errorf("after %d bytes: %w", at, err)
		}
	}
}

// many opens all connections before it uses one, and then uses all at once.
// The other side sends back what comes.
func many(port uint32, n int) error {
	conns := make([]*vsock.Conn, n)
	for i := range conns {
		conn, err := vsock.Dial(vsock.Host, port, nil)
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		conns[i] = conn
	}
	fmt.Println("all are open")
	if _, err := io.ReadFull(conns[0], make([]byte, 1)); err != nil { // the word to begin
		return err
	}
	done := make(chan error, n)
	for i, conn := range conns {
		go func() { done <- echoed(conn, i) }()
	}
	var failed error
	for range conns {
		failed = errors.Join(failed, <-done)
	}
	if failed != nil {
		return failed
	}
	fmt.Printf("%d connections were used\n", n)
	return nil
}

// Of the connections, each carries a few bytes, by its number, and one in
// every carries much.
const (
	every = 15
	much  = 256 << 10
)

func echoed(conn *vsock.Conn, i int) error {
	defer func() { _ = conn.Close() }()
	n := int64(i % 1000)
	if i%every == 0 {
		n += much
	}
	want := pattern()
	sent := make(chan error, 1)
	go func() {
		err := send(conn, want, n)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := compare(conn, want, 0)
	if err := errors.Join(err, <-sent); err != nil {
		return fmt.Errorf("connection %d: %w", i, err)
	}
	if got != n {
		return fmt.Errorf("connection %d: %d of %d bytes came back", i, got, n)
	}
	return nil
}
