package net

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestIdentity(t *testing.T) {
	r := newRig(t, &fakeHost{}, func(s *setup) { s.MTU = 0x1234 })
	require.EqualValues(t, virtio.IDNet, r.Reg(virtiotest.RegDeviceID))
	require.Equal(t, "net", r.dev.Name())
	require.EqualValues(t, uint64(0x01C0_0000_008F_BBAB), r.Offered()&^virtio.TransportFeatures)
	golden := []byte{0x02, 0xca, 0xb5, 0xa0, 0x01, 0x02, 1, 0, 1, 0, 0x34, 0x12, 0, 0}
	require.Equal(t, golden, r.ReadConfig(0, len(golden)))
	require.Equal(t, []byte{0x12, 0}, r.ReadConfig(11, 2))
	require.Equal(t, []byte{0, 0}, r.ReadConfig(12, 2))
	require.Equal(t, []byte{0}, r.ReadConfig(250, 1))
	r.dev.WriteConfig(0, []byte{9, 9})
	require.Equal(t, golden, r.ReadConfig(0, len(golden)))
	for i, size := range []uint32{1024, 1024, 64, 0} {
		r.SetReg(virtiotest.RegQueueSel, uint32(i))
		require.Equal(t, size, r.Reg(virtiotest.RegQueueNumMax))
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Host: &fakeHost{}, MAC: testMAC}
	for name, change := range map[string]func(c *Config){
		"no host":   func(c *Config) { c.Host = nil },
		"no MAC":    func(c *Config) { c.MAC = MAC{} },
		"group MAC": func(c *Config) { c.MAC[0] |= 1 },
		"MTU 67":    func(c *Config) { c.MTU = 67 },
		"MTU 65536": func(c *Config) { c.MTU = 65536 },
		"MTU -1":    func(c *Config) { c.MTU = -1 },
	} {
		cfg := good
		change(&cfg)
		d, err := New(cfg)
		require.Error(t, err, name)
		require.Nil(t, d, name)
	}
	for _, mtu := range []int{0, 68, 1500, 65535} {
		good.MTU = mtu
		_, err := New(good)
		require.NoError(t, err)
	}
}

func TestDeriveMAC(t *testing.T) {
	a := DeriveMAC([]byte("machine"), 0)
	require.Equal(t, "d6:16:3b:ac:e7:4b", a.String(), "the address of a machine changed")
	seen := map[MAC]bool{}
	for _, seed := range []string{"", "machine", "machine2", "another"} {
		for i := range uint32(100) {
			m := DeriveMAC([]byte(seed), i)
			require.True(t, m.Valid())
			require.NotZero(t, m[0]&macLocal)
			require.False(t, seen[m])
			seen[m] = true
		}
	}
	require.Equal(t, a, DeriveMAC([]byte("machine"), 0))
}

// Each feature with and without what it needs.
func TestFeatureDependencies(t *testing.T) {
	r := newRig(t, &fakeHost{})
	accepts := func(f uint64) bool {
		r.Reset()
		r.AddStatus(virtiotest.StatusAcknowledge)
		r.AddStatus(virtiotest.StatusDriver)
		r.WriteFeatures(f | virtiotest.FeatureVersion1)
		r.AddStatus(virtiotest.StatusFeaturesOK)
		return r.Status()&virtiotest.StatusFeaturesOK != 0
	}
	for _, n := range needs {
		t.Run(n.name, func(t *testing.T) {
			require.False(t, accepts(n.feature), "alone")
			require.False(t, accepts(features&^n.anyOf), "without")
			all := features
			require.True(t, accepts(all))
			for bit := range 64 {
				if one := uint64(1) << bit; n.anyOf&one != 0 {
					require.True(t, accepts(all&^n.anyOf|one) || n.anyOf != one, "bit %d is enough", bit)
				}
			}
		})
	}
	require.True(t, accepts(FeatureGuestECN|FeatureGuestTSO6|FeatureGuestCSum))
	require.True(t, accepts(FeatureHostECN|FeatureHostTSO4|FeatureCSum))
	require.True(t, accepts(0))
}

func TestOffloads(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	for _, tt := range []struct {
		features uint64
		want     link.Offloads
	}{
		{0, link.Offloads{}},
		{FeatureGuestCSum, link.Offloads{Checksum: true}},
		{FeatureGuestCSum | FeatureGuestTSO4 | FeatureGuestUSO6, link.Offloads{Checksum: true, TSO4: true, USO6: true}},
		{FeatureGuestCSum | FeatureGuestTSO6 | FeatureGuestECN | FeatureGuestUSO4, link.Offloads{Checksum: true, TSO6: true, ECN: true, USO4: true}},
		{FeatureCSum | FeatureHostTSO4 | FeatureHostUSO, link.Offloads{}},
	} {
		r.Start(tt.features)
		require.Equal(t, tt.want, host.offloads)
		require.Equal(t, 1, host.attached)
	}
	old := host.guest
	r.Reset()
	require.Zero(t, host.attached)
	require.Nil(t, host.guest)
	require.Zero(t, old.Receive([]link.Frame{frame(60)}), "a driver that is gone took a frame")
	r.Reset()
	require.Zero(t, host.attached, "nothing to detach")
}

func TestLink(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host, func(s *setup) { s.Down = true })
	require.False(t, r.dev.Link())
	r.Start(allFeatures)
	require.Equal(t, []byte{0, 0}, r.ReadConfig(offStatus, 2))
	generation := r.Reg(virtiotest.RegConfigGen)

	r.Queue(queueTransmit).Do(packed(link.Header{}, ethernet(testMAC, 60)), 0)
	r.Queue(queueReceive).Post(nil, 2000)
	require.Zero(t, host.put(frame(60)), "not taken")
	require.Empty(t, host.frames())
	s := r.dev.Stats()
	require.Equal(t, []uint64{1, 1, 0, 0}, []uint64{s.Sent.Down, s.Received.Down, s.Sent.Frames, s.Received.Frames})

	r.dev.SetLink(true)
	r.WaitConfigChange()
	require.NotEqual(t, generation, r.Reg(virtiotest.RegConfigGen))
	require.Equal(t, []byte{1, 0}, r.ReadConfig(offStatus, 2))
	require.Zero(t, host.put(frame(60)))
	require.Len(t, r.receive(t).Data, 60)

	generation = r.Reg(virtiotest.RegConfigGen)
	r.dev.SetLink(true)
	require.Equal(t, generation, r.Reg(virtiotest.RegConfigGen), "nothing changed")
	r.dev.SetLink(false)
	r.WaitConfigChange()
	require.Equal(t, []byte{0, 0}, r.ReadConfig(offStatus, 2))

	// It stays over a reset, and a driver without STATUS is left alone.
	r.Start(0)
	generation = r.Reg(virtiotest.RegConfigGen)
	r.dev.SetLink(true)
	require.Zero(t, r.Reg(virtiotest.RegInterruptStatus))
	require.NotEqual(t, generation, r.Reg(virtiotest.RegConfigGen))
	r.Reset()
	r.dev.SetLink(false)
	require.False(t, r.dev.Link())
}
