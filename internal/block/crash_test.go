//go:build linux

package block

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The crash tests run this binary once more, as the process that is killed. What it
// finds in the environment:
const (
	crashPath    = "CAPSA_TEST_CRASH_PATH"    // the image
	crashFormat  = "CAPSA_TEST_CRASH_FORMAT"  // its format
	crashJournal = "CAPSA_TEST_CRASH_JOURNAL" // where it notes what is durable
	crashSeed    = "CAPSA_TEST_CRASH_SEED"
)

const (
	crashWriters = 4
	crashBlock   = 4096 // bytes
	crashBlocks  = 128  // of each writer, one after the other
	crashSize    = 2 * crashWriters * crashBlocks * crashBlock
)

func TestMain(m *testing.M) {
	if os.Getenv(crashPath) != "" {
		fmt.Fprintln(os.Stderr, victim())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// content is what block i holds in its v-th version; version 0 are zeroes.
func content(i, v uint32) []byte {
	b := make([]byte, crashBlock)
	if v != 0 {
		for k := 0; k < len(b); k += 8 {
			binary.LittleEndian.PutUint32(b[k:], i)
			binary.LittleEndian.PutUint32(b[k+4:], v)
		}
	}
	return b
}

// versions reads the oldest and the newest version of each block's sectors: a write
// of several need not be whole, but each sector is.
func versions(d Disk) (oldest, newest []uint32, err error) {
	oldest, newest = make([]uint32, crashWriters*crashBlocks), make([]uint32, crashWriters*crashBlocks)
	b := make([]byte, crashBlock)
	for i := range oldest {
		if err := d.ReadAt([][]byte{b}, uint64(i)*crashBlock); err != nil {
			return nil, nil, err
		}
		oldest[i] = math.MaxUint32
		for k := 0; k < len(b); k += SectorSize {
			v := binary.LittleEndian.Uint32(b[k+4:])
			if string(b[k:k+SectorSize]) != string(content(uint32(i), v)[:SectorSize]) {
				return nil, nil, fmt.Errorf("a sector of block %d is torn: %x…", i, b[k:k+32])
			}
			oldest[i], newest[i] = min(oldest[i], v), max(newest[i], v)
		}
	}
	return oldest, newest, nil
}

// victim writes until it is killed.
func victim() error {
	seed, err := strconv.ParseUint(os.Getenv(crashSeed), 10, 64)
	if err != nil {
		return err
	}
	d, err := Open(Options{Path: os.Getenv(crashPath), Format: Format(os.Getenv(crashFormat))})
	if err != nil {
		return err
	}
	_, have, err := versions(d)
	if err != nil {
		return err
	}
	journal, err := os.OpenFile(os.Getenv(crashJournal), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	failed := make(chan error)
	for w := range uint32(crashWriters) {
		go func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for {
				if err := victimRound(d, r, w, have, journal); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// victimRound writes some of writer w's blocks, does something to the half of the
// disk that holds nothing, flushes, and notes what is durable since.
func victimRound(d Disk, r *rand.Rand, w uint32, have []uint32, journal *os.File) error {
	var notes []byte
	for range 1 + r.IntN(12) {
		i := w*crashBlocks + r.Uint32N(crashBlocks)
		have[i]++ // only this writer's
		b := content(i, have[i])
		if err := d.WriteAt([][]byte{b[:512], b[512:]}, uint64(i)*crashBlock); err != nil {
			return err
		}
		notes = binary.LittleEndian.AppendUint32(notes, i)
		notes = binary.LittleEndian.AppendUint32(notes, have[i])
	}
	off := crashSize/2 + r.Uint64N(crashSize/2/SectorSize)*SectorSize
	n := min(crashSize-off, SectorSize*(1+r.Uint64N(400)))
	var err error
	switch r.IntN(4) {
	case 0:
		err = d.Discard(off, n)
	case 1:
		err = d.WriteZeroes(off, n, r.IntN(2) == 0)
	default:
		err = d.WriteAt([][]byte{make([]byte, n)}, off)
	}
	if err == nil {
		err = d.Flush()
	}
	if err == nil {
		_, err = journal.Write(notes) // one call: whole or not at all
	}
	return err
}

// victimLife starts a victim and kills it after a while.
func victimLife(t *testing.T, o Options, journal string, r *rand.Rand) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashPath+"="+o.Path, crashFormat+"="+string(o.Format),
		crashJournal+"="+journal, crashSeed+"="+strconv.FormatUint(r.Uint64(), 10))
	var complaint lockedBuffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var line [6]byte
	_, err = out.Read(line[:])
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("the victim did not start: %s", complaint.String())
	}
	// The moment of the kill is what is random here; nothing depends on its length.
	<-time.After(time.Duration(r.Int64N(int64(60 * time.Millisecond))))
	_ = cmd.Process.Kill()
	var ended *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &ended)
	require.Equal(t, -1, ended.ExitCode(), "it was killed: %s", complaint.String())
	require.Empty(t, complaint.String(), "the victim ended by itself")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// durable reads the journal: the last version of each block that was flushed.
func durable(t *testing.T, journal string) []uint32 {
	b, err := os.ReadFile(journal)
	require.NoError(t, err)
	out := make([]uint32, crashWriters*crashBlocks)
	for ; len(b) >= 8; b = b[8:] {
		i := binary.LittleEndian.Uint32(b)
		out[i] = max(out[i], binary.LittleEndian.Uint32(b[4:]))
	}
	return out
}

// crashRounds is how often each image's process is killed: CAPSA_CRASH_ROUNDS, or 50,
// which makes 200 for the four of them, or a few with the race detector.
func crashRounds(t *testing.T) int {
	s := os.Getenv("CAPSA_CRASH_ROUNDS")
	if s == "" {
		return cmp.Or(raceRounds, 50)
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// crashDir is a directory in memory, if there is such a thing: what a killed process
// wrote stays there as it does in the page cache, and syncs take no time, so that more
// happens in a life.
func crashDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "capsa-crash-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A process that writes an image is killed at any moment, again and again. Each time
// QEMU finds nothing wrong with the image but lost space, and every block holds a
// version at least as new as the last that was flushed.
func TestKilled(t *testing.T) {
	for _, c := range []struct {
		name   string
		format Format
		create []string
	}{
		{"qcow2", Qcow2, nil},
		{"qcow2 of small clusters", Qcow2, []string{"-o", "cluster_size=512"}},
		{"qcow2 over a backing image", Qcow2, []string{"-o", "cluster_size=4k", "-b", "base.raw", "-F", "raw"}},
		{"raw", Raw, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := crashDir(t)
			o := Options{Path: filepath.Join(dir, "d.img"), Format: c.format}
			journal := writeFile(t, dir, "journal", nil)
			writeFile(t, dir, "base.raw", make([]byte, crashSize))
			args := append([]string{"create", "-q", "-f", string(c.format)}, c.create...)
			qemuImg(t, dir, append(args, "d.img", strconv.Itoa(crashSize))...)
			r := rand.New(rand.NewPCG(uint64(len(c.name)), 77))
			for round := range crashRounds(t) {
				victimLife(t, o, journal, r)
				if c.format == Qcow2 {
					checkLeaks(t, o.Path, round%8 == 7)
				}
				d := mustOpen(t, o)
				have, _, err := versions(d)
				require.NoError(t, err, "round %d", round)
				for i, v := range durable(t, journal) {
					require.GreaterOrEqual(t, have[i], v, "round %d: block %d was flushed and is lost", round, i)
				}
				require.NoError(t, d.Close())
			}
			total := uint32(0)
			for _, v := range durable(t, journal) {
				total += v
			}
			t.Logf("%d writes were flushed in %d lives", total, crashRounds(t))
			require.NotZero(t, total)
		})
	}
}

// checkLeaks lets QEMU check an image. Lost space is allowed, and given back now and
// then.
func checkLeaks(t *testing.T, path string, repair bool) {
	args := []string{"check", "-q", "-f", "qcow2", path}
	if repair {
		args = append(args, "-r", "leaks")
	}
	out, err := exec.Command("qemu-img", args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 { // "leaks were found" (qemu-img(1))
		return
	}
	require.NoError(t, err, "%s", out)
}
