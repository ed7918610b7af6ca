package dns

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

// service is an SVCB or HTTPS record (RFC 9460): its target and its addresses are
// the policy's business, and its keys for Encrypted ClientHello are not for the
// machine. One that cannot be read is left out.
func (d *digester) service(h dnsmessage.ResourceHeader) (bool, error) {
	var r dnsmessage.SVCBResource
	if h.Type == dnsmessage.TypeHTTPS {
		https, err := d.in.HTTPSResource()
		if err != nil {
			return false, nil //nolint:nilerr // skipped
		}
		r = https.SVCBResource
	} else {
		var err error
		if r, err = d.in.SVCBResource(); err != nil {
			return false, nil //nolint:nilerr // skipped
		}
	}
	if r.Target.Length > 1 && !d.follow(r.Target.String()) {
		return true, nil
	}
	if r.DeleteParam(dnsmessage.SVCParamECH) {
		d.changed = true
		unneed(&r, dnsmessage.SVCParamECH)
	}
	d.hints(&r, dnsmessage.SVCParamIPv4Hint, 4)
	d.hints(&r, dnsmessage.SVCParamIPv6Hint, 16)
	if h.Type == dnsmessage.TypeHTTPS {
		return true, d.out.HTTPSResource(h, dnsmessage.HTTPSResource{SVCBResource: r})
	}
	return true, d.out.SVCBResource(h, r)
}

// hints takes out the addresses that the policy refuses. A list that cannot be read,
// or has nothing left, goes altogether.
func (d *digester) hints(r *dnsmessage.SVCBResource, key dnsmessage.SVCParamKey, size int) {
	value, there := r.GetParam(key)
	if !there {
		return
	}
	var kept []byte
	if len(value)%size == 0 {
		for one := range slices.Chunk(value, size) {
			if addr, ok := netip.AddrFromSlice(one); ok && d.allowed(addr) {
				kept = append(kept, one...)
			}
		}
	}
	switch {
	case len(kept) == len(value):
	case len(kept) > 0:
		r.SetParam(key, kept)
	default:
		d.changed = true
		r.DeleteParam(key)
		unneed(r, key)
	}
}

// unneed takes a key out of those that a client has to understand (RFC 9460 section
// 8), which must be there.
func unneed(r *dnsmessage.SVCBResource, key dnsmessage.SVCParamKey) {
	value, there := r.GetParam(dnsmessage.SVCParamMandatory)
	if !there {
		return
	}
	var kept []byte
	for ; len(value) >= 2; value = value[2:] {
		if binary.BigEndian.Uint16(value) != uint16(key) {
			kept = append(kept, value[:2]...)
		}
	}
	if len(kept) == 0 {
		r.DeleteParam(dnsmessage.SVCParamMandatory)
		return
	}
	r.SetParam(dnsmessage.SVCParamMandatory, kept)
}
