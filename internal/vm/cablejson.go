package vm

// The JSON form of a Cable, in "cable"; a descriptor has none.
//
//	{"tap": "tap0", "framing": "datagram", "header": true}
type cableJSON struct {
	TAP     string  `json:"tap,omitempty"`
	Framing Framing `json:"framing,omitempty"`
	Header  bool    `json:"header,omitempty"`
}

// The JSON form of a Capture; a descriptor has none.
//
//	{"path": "/tmp/web.pcapng", "snap_len": 128, "max_size": 104857600}
type captureJSON struct {
	Path    string `json:"path,omitempty"`
	SnapLen int    `json:"snap_len,omitempty"`
	MaxSize uint64 `json:"max_size,omitempty"`
}

// The JSON form of NetworkLimits. Rates are per second.
//
//	{"from_guest": {"bytes_per_sec": 12500000, "bytes_burst": 1250000, "packets_per_sec": 10000, "packets_burst": 1000},
//	 "to_guest": {...}, "connections_per_sec": 100, "connections_burst": 10}
type limitsJSON struct {
	FromGuest         *rateJSON `json:"from_guest,omitempty"`
	ToGuest           *rateJSON `json:"to_guest,omitempty"`
	ConnectionsPerSec uint64    `json:"connections_per_sec,omitempty"`
	ConnectionsBurst  uint64    `json:"connections_burst,omitempty"`
}

type rateJSON struct {
	BytesPerSec   uint64 `json:"bytes_per_sec,omitempty"`
	BytesBurst    uint64 `json:"bytes_burst,omitempty"`
	PacketsPerSec uint64 `json:"packets_per_sec,omitempty"`
	PacketsBurst  uint64 `json:"packets_burst,omitempty"`
}

// encodeCable makes the JSON forms, nil for zero values, and adds what they cannot say
// to p.
func encodeCable(c NetworkConfig, p *Problems) (cable *cableJSON, capture *captureJSON, limits *limitsJSON) {
	const hint = "attach it again to the machine that is made of the JSON"
	if k := c.Cable; k != (Cable{}) {
		if k.File != 0 {
			p.add("network.cable", hint, "a descriptor has no form in JSON")
		}
		p.utf8("network.cable.tap", k.TAP)
		p.utf8("network.cable.framing", string(k.Framing))
		cable = &cableJSON{k.TAP, k.Framing, k.Header}
	}
	if k := c.Capture; k != (Capture{}) {
		if k.File != 0 {
			p.add("network.capture", hint, "a descriptor has no form in JSON")
		}
		p.utf8("network.capture.path", k.Path)
		capture = &captureJSON{k.Path, k.SnapLen, k.MaxSize}
	}
	if l := c.Limits; l != (NetworkLimits{}) {
		limits = &limitsJSON{
			FromGuest: encodeRate(l.FromGuest), ToGuest: encodeRate(l.ToGuest),
			ConnectionsPerSec: l.ConnectionsPerSec, ConnectionsBurst: l.ConnectionsBurst,
		}
	}
	return cable, capture, limits
}

func encodeRate(r RateLimit) *rateJSON {
	if r == (RateLimit{}) {
		return nil
	}
	j := rateJSON(r)
	return &j
}

func (j *rateJSON) rate() RateLimit {
	if j == nil {
		return RateLimit{}
	}
	return RateLimit(*j)
}

// applyCable puts what is given into c. Descriptors stay.
func (j *networkJSON) applyCable(c *NetworkConfig) {
	if k := j.Cable; k != nil {
		c.Cable.TAP, c.Cable.Framing, c.Cable.Header = k.TAP, k.Framing, k.Header
	}
	if k := j.Capture; k != nil {
		c.Capture.Path, c.Capture.SnapLen, c.Capture.MaxSize = k.Path, k.SnapLen, k.MaxSize
	}
	if l := j.Limits; l != nil {
		c.Limits = NetworkLimits{
			FromGuest: l.FromGuest.rate(), ToGuest: l.ToGuest.rate(),
			ConnectionsPerSec: l.ConnectionsPerSec, ConnectionsBurst: l.ConnectionsBurst,
		}
	}
}
