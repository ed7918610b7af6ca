// Package wire is the conversation between lab-run on the host and the first
// process of the lab's machine: JSON values, one a line, over the virtio-serial
// port Ctl. Standard input, output and error have ports of their own.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Port numbers on the virtio-serial bus (0 is reserved for a console); in the
// guest port N is the file /dev/vport*pN.
const (
	Ctl    = 1
	Input  = 2
	Output = 3
	Error  = 4
)

// Mount tags of the host directories shared over 9p. The writable directory
// Job.Writable[i] has the tag TagWritable followed by i.
const (
	TagRoot     = "root"
	TagWritable = "rw"
)

// AliveEvery is how often the machine says that it runs. Nested virtualization
// under emulation may leave it standing, with nobody in it to notice.
const AliveEvery = 5 * time.Second

// Job says what to run.
type Job struct {
	Args     []string // command and arguments
	Env      []string // NAME=VALUE
	Dir      string   // working directory
	Writable []string // host directories that the command may change
}

// ToGuest is what the host says: first a job, later perhaps signals for it.
type ToGuest struct {
	Job    *Job  `json:",omitempty"`
	Signal int32 `json:",omitempty"` // sent to the job's process group
}

// FromGuest is what the guest says: Ready once, then Exit or Failure once.
type FromGuest struct {
	Ready   *Ready `json:",omitempty"`
	Exit    *Exit  `json:",omitempty"`
	Failure string `json:",omitempty"` // the lab itself could not run the job
	Alive   bool   `json:",omitempty"` // nothing but that the machine runs; see AliveEvery
}

// Ready says that the machine is up; the job starts when the host has sent it.
type Ready struct {
	UptimeMs int64 // milliseconds since the machine's kernel started
	KVM      bool  // /dev/kvm is there
	CPUs     int   // processors online
}

// Exit is how the job ended. Its output has arrived whole when the host has
// read Output and Error bytes.
type Exit struct {
	Status int32 // exit status, or 128 plus the signal that ended it
	Output int64
	Error  int64
}

// maxMessage bounds one message in bytes: a job carries a whole environment.
const maxMessage = 16 << 20

// Send writes one message.
func Send(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// Frames on the Input port: a 4-byte little-endian length and that many bytes;
// length 0 is the end of input. A port has no end of file of its own.

// maxFrame bounds the data of one frame in bytes.
const maxFrame = 64 << 10

// SendInput copies r to w in frames, then the end.
func SendInput(w io.Writer, r io.Reader) error {
	b := make([]byte, 4+maxFrame)
	for {
		n, err := r.Read(b[4:])
		if n > 0 {
			binary.LittleEndian.PutUint32(b, uint32(n))
			if _, werr := w.Write(b[:4+n]); werr != nil {
				return werr
			}
		}
		if err != nil {
			_, werr := w.Write(make([]byte, 4))
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, werr)
		}
	}
}

// ReceiveInput copies the contents of frames from r to w up to the end. When w
// fails (the reader has gone) it goes on reading, so that the sender never
// stalls.
func ReceiveInput(w io.Writer, r io.Reader) error {
	var head [4]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n == 0 {
			return nil
		}
		if n > maxFrame {
			return fmt.Errorf("input frame of %d bytes (limit %d)", n, maxFrame)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			w = io.Discard
		}
	}
}

// Decoder reads messages.
type Decoder struct{ d *json.Decoder }

// NewDecoder returns a Decoder that reads from r.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{d: json.NewDecoder(r)}
}

// Next reads the next message into v.
func (d *Decoder) Next(v any) error {
	var raw json.RawMessage
	if err := d.d.Decode(&raw); err != nil {
		return err
	}
	if len(raw) > maxMessage {
		return fmt.Errorf("message of %d bytes (limit %d)", len(raw), maxMessage)
	}
	return json.Unmarshal(raw, v)
}
