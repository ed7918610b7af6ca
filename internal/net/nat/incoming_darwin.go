package nat

import "golang.org/x/sys/unix"

// incoming are messages.
type incoming struct{ messages }

// receive takes what the socket has, behind room bytes of each buffer. After an error, too,
// there may be messages.
func (in *incoming) receive(fd, room int) error {
	in.n = 0
	for in.n < incomingBatch {
		n, _, err := unix.Recvfrom(fd, in.buf[in.n][room:], unix.MSG_DONTWAIT)
		switch {
		case err == nil:
			in.size[in.n], in.each[in.n] = room+n, 0
			in.n++
		case err == unix.EINTR:
		case err == unix.EAGAIN && in.n > 0:
			return nil
		default:
			return err
		}
	}
	return nil
}
