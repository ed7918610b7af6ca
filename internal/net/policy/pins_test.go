package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestPinsAreBounded(t *testing.T) {
	t.Parallel()
	var p pins
	for i := range MaxPinned + 10 {
		p.learn("a.com", address(i), time.Minute, epoch)
		p.learn("a.com", address(0), time.Minute, epoch) // in use: stays
	}
	require.Len(t, p.of, MaxPinned)
	require.Equal(t, MaxPinned, p.order.Len())
	require.Equal(t, MaxPinned, p.count)
	require.Empty(t, p.names(nil, address(1), epoch))
	require.Equal(t, []string{"a.com"}, p.names(nil, address(0), epoch))

	for i := range MaxPinNames + 1 {
		p.learn(fmt.Sprintf("n%d.com", i), address(0), time.Minute+time.Duration(i)*time.Second, epoch)
	}
	names := p.names(nil, address(0), epoch)
	require.Len(t, names, MaxPinNames)
	require.NotContains(t, names, "a.com")
	require.NotContains(t, names, "n0.com")
	for i := range MaxPins {
		p.learn(fmt.Sprintf("n%d.com", i%MaxPinNames), address(i/MaxPinNames), time.Minute, epoch)
	}
	require.LessOrEqual(t, p.count, MaxPins)
}

func TestTTL(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]time.Duration{
		-time.Second: MinTTL, 0: MinTTL, time.Minute: time.Minute, 24 * time.Hour: MaxTTL, 1<<63 - 1: MaxTTL,
	} {
		require.Equal(t, want, ClampTTL(in))
	}
	var p pins
	p.learn("a.com", address(1), time.Hour, epoch)
	p.learn("a.com", address(1), 0, epoch)
	require.NotEmpty(t, p.names(nil, address(1), epoch.Add(time.Hour)), "a later answer takes nothing back")
	p.learn("b.com", address(1), 0, epoch.Add(2*time.Hour))
	require.Equal(t, 1, p.count, "what ended is forgotten")
}

func TestEngineHammer(t *testing.T) {
	t.Parallel()
	e := learnt(t, `{"default":"deny-all","rules":[{"action":"allow","domains":["good.com"]}]}`)
	f := to(t, "tcp 9.9.9.9:22")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 300 {
				switch worker {
				case 0:
					_ = e.Swap(Policy{Default: DenyAll, Rules: []Rule{{Action: ActionAllow, Match: Match{Domains: []string{"good.com"}}}}})
				case 1:
					e.SetEnv(Env{Host: []netip.Prefix{netip.PrefixFrom(address(i), 32)}})
				case 2:
					e.Learn(fmt.Sprintf("n%d.com", i), []netip.Addr{f.Dst.Addr()}, time.Minute, epoch.Add(time.Hour))
				}
				e.Flow(f)
				e.Query("good.com", 1)
			}
		})
	}
	wg.Wait()
	f.Names = []string{"good.com"}
	require.Equal(t, Allow, e.Flow(f).Action)
}

// FuzzPins compares the pins with a plain list of everything that was learnt, in
// numbers that stay below the limits of all addresses.
func FuzzPins(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(slices.Repeat([]byte{0, 1, 2, 3, 250, 7, 0, 9}, 40))
	f.Fuzz(func(t *testing.T, script []byte) {
		type fact struct {
			addr int
			name string
		}
		var p pins
		model := make(map[fact]time.Time)
		now := epoch
		for ; len(script) >= 4; script = script[4:] {
			now = now.Add(time.Duration(script[0]) * time.Second)
			at := fact{int(script[1] % 4), fmt.Sprintf("n%d.com", script[2]%32)}
			ttl := time.Duration(script[3]) * 20 * time.Second
			p.learn(at.name, address(at.addr), ttl, now)
			if ends := now.Add(ClampTTL(ttl) + Grace); ends.After(model[at]) {
				model[at] = ends
			}
			for addr := range 4 {
				var want []string
				for have, ends := range model {
					if have.addr == addr && ends.After(now) {
						want = append(want, have.name)
					}
				}
				require.ElementsMatch(t, want, p.names(nil, address(addr), now))
			}
		}
		count := 0
		for _, at := range p.of {
			count += len(at.Value.(*pinned).names)
		}
		require.Equal(t, count, p.count)
	})
}
