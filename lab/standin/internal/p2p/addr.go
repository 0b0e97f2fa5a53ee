// Copyright (c) 2026, the evnode.sequencer_ha authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package p2p

import (
	"fmt"
	"net"
	"sort"
	"strconv"
	"strings"

	"evnode.dev/standin/internal/identity"
)

// Address is a TCP endpoint, with the peer that is expected there.
type Address struct {
	Host string
	Port int
	Peer string
}

func (a Address) endpoint() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// Multiaddr is the address in the notation of libp2p, without the peer.
func (a Address) Multiaddr() string {
	kind := "ip4"
	if ip := net.ParseIP(a.Host); ip == nil {
		kind = "dns"
	} else if ip.To4() == nil {
		kind = "ip6"
	}
	return fmt.Sprintf("/%s/%s/tcp/%d", kind, a.Host, a.Port)
}

// ParseAddress reads a multiaddress /ip4|ip6|dns/HOST/tcp/PORT[/p2p/PEER]. Blanks are not forgiven.
func ParseAddress(s string) (Address, error) {
	fail := func(why string) (Address, error) {
		return Address{}, fmt.Errorf("failed to parse multiaddr %q: %s", s, why)
	}
	if !strings.HasPrefix(s, "/") {
		return fail("must begin with /")
	}
	parts := strings.Split(s[1:], "/")
	if len(parts) != 4 && len(parts) != 6 {
		return fail("a host, a TCP port and perhaps a peer are expected")
	}
	a := Address{Host: parts[1]}
	ip := net.ParseIP(parts[1])
	switch parts[0] {
	case "ip4":
		if ip == nil || ip.To4() == nil {
			return fail(fmt.Sprintf("invalid value %q for protocol ip4: failed to parse ip4 addr: %s", parts[1], parts[1]))
		}
	case "ip6":
		if ip == nil || ip.To4() != nil {
			return fail(fmt.Sprintf("invalid value %q for protocol ip6: failed to parse ip6 addr: %s", parts[1], parts[1]))
		}
	case "dns", "dns4", "dns6":
	default:
		return fail("unknown protocol " + parts[0])
	}
	port, err := strconv.Atoi(parts[3])
	if parts[2] != "tcp" || err != nil || port < 0 || port > 65535 {
		return fail(fmt.Sprintf("invalid value %q for protocol %s", parts[3], parts[2]))
	}
	a.Port = port
	if len(parts) == 6 {
		if (parts[4] != "p2p" && parts[4] != "ipfs") || !identity.ValidPeerID(parts[5]) {
			return fail(fmt.Sprintf("invalid value %q for protocol %s: failed to parse p2p addr", parts[5], parts[4]))
		}
		a.Peer = parts[5]
	}
	return a, nil
}

// listenAddresses replaces an unspecified host by the addresses of all interfaces.
func listenAddresses(a Address) []Address {
	ip := net.ParseIP(a.Host)
	if ip == nil || !ip.IsUnspecified() {
		return []Address{a}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return []Address{a}
	}
	var out []Address
	for _, entry := range all {
		n, ok := entry.(*net.IPNet)
		if ok && (n.IP.To4() != nil) == (ip.To4() != nil) {
			out = append(out, Address{Host: n.IP.String(), Port: a.Port})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Host < out[j].Host })
	return out
}
