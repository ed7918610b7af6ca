package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// with boots a guest, does something with it and closes it.
func (b *bench) with(ctx context.Context, change func(map[string]any), do func(*guest) (string, error)) (string, error) {
	g, err := b.boot(ctx, change)
	if err != nil {
		return "", err
	}
	found, err := do(g)
	return found, errors.Join(err, g.Close())
}

func powerOff(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		name, err := g.sh(ctx, "uname -srm")
		if err != nil {
			return "", err
		}
		if _, err := g.Console().Write(ctx, []byte("poweroff -f\n")); err != nil {
			return "", err
		}
		end, err := g.ends(ctx, capsa.CauseGuestShutdown)
		return name + "; " + end, err
	})
}

func pauseResume(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		for range 5 {
			if err := errors.Join(g.Pause(), g.Resume()); err != nil {
				return "", err
			}
		}
		return g.sh(ctx, "echo still there")
	})
}

func kill(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		begin := time.Now()
		err := g.Kill()
		took := time.Since(begin)
		if err == nil && took > time.Second {
			err = fmt.Errorf("it took %v", took)
		}
		return took.String(), err
	})
}

func panics(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		if _, err := g.Console().Write(ctx, []byte("echo c >/proc/sysrq-trigger\n")); err != nil {
			return "", err
		}
		return g.ends(ctx, capsa.CausePanic)
	})
}

// reboot finds out what a backend does that does not end the machine.
func reboot(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		if _, err := g.Console().Write(ctx, []byte("echo again; reboot -f\n")); err != nil {
			return "", err
		}
		if b.offers.Features["reboot-ends"] {
			return g.ends(ctx, capsa.CauseReboot)
		}
		if _, err := g.reader.Expect(ctx, []capsa.Pattern{capsa.MustRegexp(`again\r?\n`)}); err != nil {
			return "", err
		}
		return "it starts again, as expected", g.prompt(ctx)
	})
}

func powerButton(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		stage, err := g.Stop(ctx, 20*time.Second)
		return fmt.Sprintf("it ended at the stage %v", stage), err
	})
}

func disk(ctx context.Context, b *bench) (string, error) {
	path := filepath.Join(b.dir, "disk.raw")
	if err := os.WriteFile(path, make([]byte, 16<<20), 0o600); err != nil {
		return "", err
	}
	_, err := b.with(ctx, func(c map[string]any) {
		c["disks"] = []any{map[string]any{"path": path, "format": "raw", "serial": "confirm"}}
	}, func(g *guest) (string, error) {
		return g.sh(ctx, "printf 'kept on the disk' | dd of=/dev/vda bs=512 seek=8 conv=sync,fsync 2>/dev/null && cat /sys/block/vda/serial")
	})
	if err != nil {
		return "", err
	}
	image, err := os.ReadFile(path)
	if err == nil && !bytes.HasPrefix(image[8*512:], []byte("kept on the disk")) {
		err = errors.New("the image does not have what the guest wrote and synced")
	}
	return "", err
}

func share(ctx context.Context, b *bench) (string, error) {
	if err := os.WriteFile(filepath.Join(b.dir, "in"), []byte("from the host"), 0o600); err != nil {
		return "", err
	}
	found, err := b.with(ctx, func(c map[string]any) {
		c["shares"] = []any{map[string]any{"tag": "src", "path": b.dir}}
	}, func(g *guest) (string, error) {
		return g.sh(ctx, "mkdir -p /mnt && mount -t virtiofs src /mnt && cat /mnt/in && printf 'from the guest' >/mnt/out && ls -ln /mnt/in")
	})
	if err == nil && !strings.Contains(found, "from the host") {
		err = fmt.Errorf("the guest read %q", found)
	}
	if err != nil {
		return "", err
	}
	out, err := os.ReadFile(filepath.Join(b.dir, "out"))
	if err == nil && string(out) != "from the guest" {
		err = fmt.Errorf("the host reads %q", out)
	}
	return found, err
}

func memory(ctx context.Context, b *bench) (string, error) {
	return b.with(ctx, nil, func(g *guest) (string, error) {
		before, err := g.sh(ctx, "grep MemFree /proc/meminfo")
		if err != nil {
			return "", err
		}
		if err := g.SetMemoryTarget(256 << 20); err != nil {
			return "", err
		}
		after, err := g.sh(ctx, "sleep 3; grep MemFree /proc/meminfo")
		if err == nil && before == after {
			err = fmt.Errorf("nothing has changed: %s", after)
		}
		return before + ", then " + after, err
	})
}

func (b *bench) network(ctx context.Context, mode, command string) (string, error) {
	return b.with(ctx, func(c map[string]any) { c["network"] = map[string]any{"mode": mode} }, func(g *guest) (string, error) {
		return g.sh(ctx, command)
	})
}

func userNetwork(ctx context.Context, b *bench) (string, error) {
	return b.network(ctx, "user", "ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0 && ping -c 3 -s 1400 10.0.2.2 >/dev/null && echo the gateway answers")
}

func platformNetwork(ctx context.Context, b *bench) (string, error) {
	return b.network(ctx, "nat", "ip link set eth0 up && udhcpc -i eth0 -n -q")
}

// agent boots the library's own system, whose agent calls the host and answers it.
func agent(ctx context.Context, b *bench) (string, error) {
	g, err := b.start(ctx, func(c map[string]any) {
		c["boot"] = map[string]any{"kernel": b.kernel}
		c["guest"] = map[string]any{"agent": "initrd"}
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = g.Close() }()
	info, err := g.WaitReady(ctx)
	if err != nil {
		return "", err
	}
	for range 200 {
		if _, err := g.GuestStats(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%+v", info), nil
}

func saveRestore(ctx context.Context, b *bench) (string, error) {
	state := filepath.Join(b.dir, "state")
	_, err := b.with(ctx, nil, func(g *guest) (string, error) {
		if _, err := g.sh(ctx, "echo remembered >/tmp/note"); err != nil {
			return "", err
		}
		return "", errors.Join(g.Pause(), g.Save(state))
	})
	if err != nil {
		return "", err
	}
	g, err := b.start(ctx, func(c map[string]any) { c["restore"] = state })
	if err != nil {
		return "", err
	}
	note, err := g.sh(ctx, "cat /tmp/note")
	if err == nil && !strings.Contains(note, "remembered") {
		err = fmt.Errorf("the guest remembers %q", note)
	}
	return note, errors.Join(err, g.Close())
}

// orphan kills a program that runs a machine, and looks for what is left.
func orphan(ctx context.Context, b *bench) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	child := exec.CommandContext(ctx, self, "-orphan", "-kernel", b.kernel, "-initrd", b.initrd)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := child.Start(); err != nil {
		return "", err
	}
	ready := make([]byte, 6)
	_, err = io.ReadFull(out, ready)
	running := b.daemons(child.Process.Pid)
	killed := child.Process.Kill()
	_ = child.Wait() // it was killed
	if err = errors.Join(err, killed); err != nil {
		return "", err
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := b.daemons(child.Process.Pid)
		if len(left) == 0 {
			return fmt.Sprintf("%d processes went with it", len(running)), nil
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("left behind: %s", strings.Join(left, "; "))
		}
	}
}

// daemons are the processes that run machines of a program.
func (*bench) daemons(parent int) (lines []string) {
	out, err := exec.Command("ps", "-axo", "pid,command").Output()
	if err != nil {
		return []string{"ps: " + err.Error()}
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, fmt.Sprintf("--parent=%d", parent)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// linger runs a machine in a process of its own until it is killed.
func (b *bench) linger() error {
	ctx := context.Background()
	if _, err := b.boot(ctx, func(c map[string]any) { c["isolation"] = "process"; c["jail"] = "off" }); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}
