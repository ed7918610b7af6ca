package ether_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

func TestMAC(t *testing.T) {
	for _, tt := range []struct {
		mac     ether.MAC
		text    string
		unicast bool
	}{
		{ether.MAC{0x02, 0xca, 0, 0, 0, 0x0f}, "02:ca:00:00:00:0f", true},
		{ether.MAC{}, "00:00:00:00:00:00", false},
		{ether.Broadcast, "ff:ff:ff:ff:ff:ff", false},
		{ether.MAC{0x33, 0x33, 0, 0, 0, 1}, "33:33:00:00:00:01", false},
	} {
		require.Equal(t, tt.text, tt.mac.String())
		require.Equal(t, tt.unicast, tt.mac.Unicast(), tt.text)
	}
}
