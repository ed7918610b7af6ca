// Package virtq is the device's side of a virtio split virtqueue.
package virtq

import "github.com/libcapsa/libcapsa/internal/guestmem"

const MaxSize = 32768

type Config struct {
	Size              uint16
	Desc, Avail, Used uint64
	Indirect          bool
	EventIdx          bool
}

type Queue struct{}

type Chain struct {
	Head        uint16
	Read, Write [][]byte
}

func New(mem *guestmem.Memory, cfg Config) (*Queue, error) { return &Queue{}, nil }
func (q *Queue) Pop() (*Chain, error)                      { return nil, nil }
func (q *Queue) Push(c *Chain, written uint32)             {}
func (q *Queue) NeedsInterrupt() bool                      { return false }
func (q *Queue) EnableKick() bool                          { return false }
func (q *Queue) DisableKick()                              {}
func (c *Chain) ReadLen() int                              { return 0 }
func (c *Chain) WriteLen() int                             { return 0 }
func (c *Chain) CopyIn(p []byte, off int) int              { return 0 }
func (c *Chain) CopyOut(p []byte, off int) int             { return 0 }
func (c *Chain) Reader() *Reader                           { return nil }
func (c *Chain) Writer() *Writer                           { return nil }

type Reader struct{}
type Writer struct{}

func (r *Reader) Read(p []byte) (int, error)  { return 0, nil }
func (w *Writer) Write(p []byte) (int, error) { return 0, nil }

// Fault is a rule that the guest broke.
type Fault struct{ Reason Reason }

type Reason int

func (f *Fault) Error() string { return "" }
