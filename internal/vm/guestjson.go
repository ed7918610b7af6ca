package vm

import "fmt"

// The JSON form of a GuestConfig; every key may be left out. What is given takes the
// place of all that there was.
//
//	{"agent": "initrd",                        // or "added", "installed"
//	 "modules": "/lib/modules/6.1.0/kernel",
//	 "root": {"kind": "disk", "source": "root", "type": "erofs", "overlay_mib": 512}, // or
//	 "root": {"kind": "share", "source": "root", "overlay": "disk", "overlay_source": "changes"}, // or
//	 "root": {"kind": "disk", "source": "root", "overlay": "none", "read_only": true},
//	 "mounts": [{"kind": "share", "source": "src", "target": "/src", "read_only": true},
//	            {"kind": "tmpfs", "target": "/scratch", "size_mib": 64}],
//	 "hostname": "web",
//	 "network": {"mode": "static", "addresses": ["10.0.2.15/24"], "routers": ["10.0.2.2"],
//	             "name_servers": ["10.0.2.3"], "search": ["example.org"]}, // or "mode": "none"
//	 "main": {"args": ["nginx", "-g", "daemon off;"], "env": ["A=b"], "dir": "/srv", "user": "www-data", "tty": true}}

// encodeGuest makes the JSON form, and adds what it cannot say to p.
func encodeGuest(g GuestConfig, p *Problems) *GuestConfig {
	if !g.Enabled() {
		return nil
	}
	p.utf8("guest.modules", g.Modules)
	p.utf8("guest.root.source", g.Root.Source)
	p.utf8("guest.root.overlay_source", g.Root.OverlaySource)
	for i, m := range g.Mounts {
		p.utf8(fmt.Sprintf("guest.mounts[%d].source", i), m.Source)
		p.utf8(fmt.Sprintf("guest.mounts[%d].target", i), m.Target)
	}
	if m := g.Main; m != nil {
		for i, s := range m.Args {
			p.utf8(fmt.Sprintf("guest.main.args[%d]", i), s)
		}
		for i, s := range m.Env {
			p.utf8(fmt.Sprintf("guest.main.env[%d]", i), s)
		}
		p.utf8("guest.main.dir", m.Dir)
		p.utf8("guest.main.user", m.User)
	}
	return &g
}
