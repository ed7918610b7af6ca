package capsa

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// machines are those of the process that have not been closed, for Metrics.
var machines struct {
	mu   sync.Mutex
	last uint64         // guarded by mu
	open map[uint64]*VM // by id; guarded by mu
}

// register gives a machine its id.
func register(v *VM) {
	machines.mu.Lock()
	defer machines.mu.Unlock()
	if machines.open == nil {
		machines.open = make(map[uint64]*VM)
	}
	machines.last++
	v.id = machines.last
	machines.open[v.id] = v
}

func unregister(v *VM) {
	machines.mu.Lock()
	defer machines.mu.Unlock()
	delete(machines.open, v.id)
}

// Metrics are the counters of all machines of the process that have not been
// closed, in the text format of Prometheus (version 0.0.4, UTF-8). The label "id" is
// a number that no two machines of a process share; "vm" is the machine's name.
func Metrics() []byte {
	machines.mu.Lock()
	all := slices.SortedFunc(maps.Values(machines.open), func(a, b *VM) int { return cmp.Compare(a.id, b.id) })
	machines.mu.Unlock()
	return metrics(all)
}

// Metrics are the machine's counters, in the form of the function Metrics. They can
// be read after Close, too.
func (v *VM) Metrics() []byte { return metrics([]*VM{v}) }

// scrape is what is known of one machine at one moment.
type scrape struct {
	labels string
	state  State
	stats  Stats
	lost   uint64
}

// family is one metric of the exposition.
type family struct {
	name, kind, help string
	// samples tells each value of a machine with labels of its own, "" for none.
	samples func(s *scrape, tell func(value string, labels ...string))
}

// metrics makes the text: each family once, with the samples of all machines.
func metrics(all []*VM) []byte {
	var scrapes []*scrape
	for _, v := range all {
		scrapes = append(scrapes, &scrape{
			labels: labels("id", strconv.FormatUint(v.id, 10), "vm", v.cfg.Name),
			state:  v.State(), stats: v.Stats(), lost: v.events.dropped(),
		})
	}
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintf(&b, "# HELP capsa_%s %s\n# TYPE capsa_%s %s\n", f.name, f.help, f.name, f.kind)
		for _, s := range scrapes {
			f.samples(s, func(value string, more ...string) {
				all := s.labels
				if len(more) > 0 {
					all += "," + labels(more...)
				}
				fmt.Fprintf(&b, "capsa_%s{%s} %s\n", f.name, all, value)
			})
		}
	}
	return []byte(b.String())
}

// escape makes the value of a label.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labels joins names and values.
func labels(pairs ...string) string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+`="`+escape.Replace(pairs[i+1])+`"`)
	}
	return strings.Join(parts, ",")
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) }

// one is a family with one value of each machine.
func one(name, kind, help string, value func(s *scrape) uint64) family {
	return family{name, kind, help, func(s *scrape, tell func(string, ...string)) { tell(count(value(s))) }}
}

// perDevice is a family with a counter of each device.
func perDevice(name, help string, value func(d *DeviceStats) uint64) family {
	return family{name, "counter", help, func(s *scrape, tell func(string, ...string)) {
		for i := range s.stats.Devices {
			d := &s.stats.Devices[i]
			tell(count(value(d)), "device", d.Name)
		}
	}}
}

// perNet is a metric of a machine's network device.
func perNet(name, kind, help string, tellOf func(n *NetStats, tell func(string, ...string))) family {
	return family{name, kind, help, func(s *scrape, tell func(string, ...string)) {
		for i := range s.stats.Devices {
			if n := s.stats.Devices[i].Net; n != nil {
				tellOf(n, tell)
			}
		}
	}}
}

// perFlow is a metric of each class of flows.
func perFlow(name, kind, help string, of func(f *FlowStats) uint64) family {
	return perNet(name, kind, help, func(n *NetStats, tell func(string, ...string)) {
		for _, class := range []struct {
			name  string
			flows *FlowStats
		}{{"tcp", &n.TCP}, {"udp", &n.UDP}, {"ping", &n.Ping}, {"forward", &n.Forward}} {
			tell(count(of(class.flows)), "class", class.name)
		}
	})
}

// perDisk is a family with a counter of each disk.
func perDisk(name, help string, value func(d *DiskStats) uint64) family {
	return family{name, "counter", help, func(s *scrape, tell func(string, ...string)) {
		for i := range s.stats.Devices {
			if d := &s.stats.Devices[i]; d.Disk != nil {
				tell(count(value(d.Disk)), "device", d.Name)
			}
		}
	}}
}

// perBalloon is a family with one value of each machine that has a balloon.
func perBalloon(name, kind, help string, value func(b *BalloonStats) uint64) family {
	return family{name, kind, help, func(s *scrape, tell func(string, ...string)) {
		if b := s.stats.Balloon; b != nil {
			tell(count(value(b)))
		}
	}}
}

// perGuest is a family with one value of each machine whose guest says so.
func perGuest(name, help string, value func(g *GuestMemory) uint64) family {
	return family{name, "gauge", help, func(s *scrape, tell func(string, ...string)) {
		if b := s.stats.Balloon; b != nil && b.Guest != nil {
			tell(count(value(b.Guest)))
		}
	}}
}

// families are the metrics, in the order of the text.
var families = []family{
	{"vm_state", "gauge", "State of the machine: 1 for the one it is in.", func(s *scrape, tell func(string, ...string)) {
		for state := StateCreated; state <= StateFailed; state++ {
			value := "0"
			if state == s.state {
				value = "1"
			}
			tell(value, "state", state.String())
		}
	}},
	one("vm_cpus", "gauge", "Virtual processors.", func(s *scrape) uint64 { return uint64(s.stats.CPUs) }),
	one("vm_memory_bytes", "gauge", "Memory of the guest.", func(s *scrape) uint64 { return s.stats.Memory }),
	one("vm_memory_resident_bytes", "gauge", "Memory of the host that the guest's takes.", func(s *scrape) uint64 { return s.stats.Resident }),
	perBalloon("vm_memory_target_bytes", "gauge", "Memory that the guest shall make do with.", func(b *BalloonStats) uint64 { return b.Target }),
	perBalloon("vm_memory_current_bytes", "gauge", "Memory that the guest says it makes do with.", func(b *BalloonStats) uint64 { return b.Current }),
	perBalloon("vm_memory_reported_bytes_total", "counter", "Memory that went back to the host because it was free.",
		func(b *BalloonStats) uint64 { return b.Reported }),
	perGuest("vm_guest_memory_free_bytes", "Memory that the guest's kernel says is used for nothing.", func(g *GuestMemory) uint64 { return g.Free }),
	perGuest("vm_guest_memory_available_bytes", "Memory that the guest's kernel says programs could have.",
		func(g *GuestMemory) uint64 { return g.Available }),
	{"vm_exits_total", "counter", "Exits from the guest to user space.", func(s *scrape, tell func(string, ...string)) {
		for _, reason := range slices.Sorted(maps.Keys(s.stats.Exits)) {
			tell(count(s.stats.Exits[reason]), "reason", reason)
		}
	}},
	one("vm_oom_kills_total", "counter", "Programs that the guest's kernel killed for want of memory.",
		func(s *scrape) uint64 { return s.stats.OOMKills }),
	one("vm_events_lost_total", "counter", "Events that nobody fetched in time.", func(s *scrape) uint64 { return s.lost }),
	{"vm_boot_seconds", "gauge", "Time from the machine's creation to a step of its life.", func(s *scrape, tell func(string, ...string)) {
		line := s.stats.Timeline
		for _, step := range []struct {
			name string
			at   time.Duration
		}{
			{"created", line.Created},
			{"started", line.Started},
			{"first_instruction", line.FirstInstruction},
			{"first_exit", line.FirstExit},
			{"drivers_up", line.DriversUp},
			{"console_open", line.ConsoleOpen},
			{"ended", line.Ended},
		} {
			if step.at > 0 {
				tell(seconds(step.at), "step", step.name)
			}
		}
	}},
	perDevice("device_requests_total", "Requests served.", func(d *DeviceStats) uint64 { return d.Requests }),
	{"device_bytes_total", "counter", "Payload moved: in is from the guest, out is to it.", func(s *scrape, tell func(string, ...string)) {
		for i := range s.stats.Devices {
			d := &s.stats.Devices[i]
			tell(count(d.BytesIn), "device", d.Name, "direction", "in")
			tell(count(d.BytesOut), "device", d.Name, "direction", "out")
		}
	}},
	perDevice("device_errors_total", "Requests that the host could not serve.", func(d *DeviceStats) uint64 { return d.Errors }),
	perDevice("device_kicks_total", "Notifications by the driver.", func(d *DeviceStats) uint64 { return d.Kicks }),
	perDevice("device_interrupts_total", "Interrupts raised.", func(d *DeviceStats) uint64 { return d.Interrupts }),
	perDevice("device_faults_total", "Times the driver broke the rules.", func(d *DeviceStats) uint64 { return d.Faults }),
	perDevice("device_resets_total", "Resets by the driver.", func(d *DeviceStats) uint64 { return d.Resets }),
	perDisk("disk_reads_total", "Reads that succeeded.", func(d *DiskStats) uint64 { return d.Reads }),
	perDisk("disk_writes_total", "Writes that succeeded.", func(d *DiskStats) uint64 { return d.Writes }),
	perDisk("disk_flushes_total", "Flushes that succeeded.", func(d *DiskStats) uint64 { return d.Flushes }),
	perDisk("disk_discards_total", "Discards that succeeded.", func(d *DiskStats) uint64 { return d.Discards }),
	perDisk("disk_write_zeroes_total", "Requests to write zeroes that succeeded.", func(d *DiskStats) uint64 { return d.WriteZeroes }),
	perDisk("disk_refused_total", "Requests that made no sense.", func(d *DiskStats) uint64 { return d.Refused }),
	perDisk("disk_stalls_total", "Times a queue waited because all its workers were busy.", func(d *DiskStats) uint64 { return d.Stalls }),
	perDisk("disk_throttled_total", "Requests that waited for the rate limit.", func(d *DiskStats) uint64 { return d.Throttled }),
	perNet("net_link_up", "gauge", "1 while the guest's cable is plugged in.", func(n *NetStats, tell func(string, ...string)) {
		up := uint64(0)
		if n.Link {
			up = 1
		}
		tell(count(up))
	}),
	perNet("net_frames_total", "counter", "Frames moved: in is from the guest, out is to it.", func(n *NetStats, tell func(string, ...string)) {
		tell(count(n.FramesIn), "direction", "in")
		tell(count(n.FramesOut), "direction", "out")
	}),
	perNet("net_frames_dropped_total", "counter", "Frames that were dropped.", func(n *NetStats, tell func(string, ...string)) {
		tell(count(n.DroppedIn+n.Malformed+n.Spoofed+n.Stray), "direction", "in")
		tell(count(n.DroppedOut), "direction", "out")
	}),
	perFlow("net_flows", "gauge", "Flows that are open.", func(f *FlowStats) uint64 { return f.Open }),
	perFlow("net_flows_opened_total", "counter", "Flows that were opened.", func(f *FlowStats) uint64 { return f.Opened }),
	perFlow("net_flows_denied_total", "counter", "Flows that the policy refused.", func(f *FlowStats) uint64 { return f.Denied }),
	perFlow("net_flows_failed_total", "counter", "Flows whose destination could not be reached.", func(f *FlowStats) uint64 { return f.Failed }),
	perNet("net_dns_queries_total", "counter", "Queries to the gateway's DNS.", func(n *NetStats, tell func(string, ...string)) {
		tell(count(n.DNS.Queries))
	}),
	perNet("net_dns_refused_total", "counter", "Queries that the policy refused.", func(n *NetStats, tell func(string, ...string)) {
		tell(count(n.DNS.Refused))
	}),
}
