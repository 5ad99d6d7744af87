package egress

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"claviger"
)

// refusedAddresses are the addresses that no tenant may reach: both ends of each
// range and the known traps inside.
const refusedAddresses = `
0.0.0.0 0.0.0.1 0.255.255.255
10.0.0.0 10.0.0.1 10.255.255.255
100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255
127.0.0.0 127.0.0.1 127.0.0.53 127.1.2.3 127.255.255.255
169.254.0.0 169.254.0.1 169.254.169.123 169.254.169.249 169.254.169.253 169.254.169.254 169.254.170.2 169.254.170.23 169.254.255.255
168.63.129.16
172.16.0.0 172.16.0.1 172.17.0.1 172.31.255.255
192.0.0.0 192.0.0.1 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.171 192.0.0.192 192.0.0.255
192.0.2.0 192.0.2.1 192.0.2.255
192.31.196.1 192.52.193.1 192.88.99.0 192.88.99.1 192.88.99.2 192.175.48.1
192.168.0.0 192.168.0.1 192.168.1.1 192.168.255.255
198.18.0.0 198.18.0.1 198.19.255.255
198.51.100.0 198.51.100.1 198.51.100.255
203.0.113.0 203.0.113.1 203.0.113.255
224.0.0.0 224.0.0.1 224.0.0.251 232.0.0.1 233.252.0.1 239.255.255.250 239.255.255.255
240.0.0.0 240.0.0.1 250.1.2.3 255.255.255.254 255.255.255.255
:: ::1 ::2 ::127.0.0.1 ::8.8.8.8 ::ffff
::ffff:0.0.0.0 ::ffff:10.0.0.1 ::ffff:100.64.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:172.16.0.1
::ffff:192.168.0.1 ::ffff:198.18.0.1 ::ffff:224.0.0.1 ::ffff:255.255.255.255 ::ffff:168.63.129.16 ::ffff:100.100.100.200
::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1
64:ff9b:: 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b::8.8.8.8 64:ff9b::169.254.169.254
64:ff9b:1:: 64:ff9b:1::1 64:ff9b:1:ffff::1
100:: 100::1 100:0:0:1::1
2001:: 2001::1 2001:0:53aa:64c:: 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1
2001:db8:: 2001:db8::1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
2002:: 2002:7f00:1:: 2002:a00:1:: 2002:c0a8:1:: 2002:a9fe:a9fe:: 2002:808:808::
2620:4f:8000::1
3fff:: 3fff::1 3fff:fff:ffff::1
4000:: 5f00:: 5f00::1 6000::1 8000::1 a000::1 c000::1 e000::1
fc00:: fc00::1 fd00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fdff:ffff::1
fe00::1 fe80:: fe80::1 fe80::1%eth0 fe80::a9fe:a9fe febf:ffff::1
fec0:: fec0::1 feff::1
ff00:: ff01::1 ff02::1 ff02::2 ff02::fb ff05::2 ff0e::1 ff3e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
2600::1%eth0
`

const publicAddresses = `
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
198.51.99.255 203.0.112.255 203.0.114.0 223.255.255.255 168.63.129.15 ::ffff:8.8.8.8
2001:200::1 2001:4860:4860::8888 2003::1 2400:cb00::1 2600:1f18::1 2606:4700:4700::1111 2a00:1450::1 2c0f:fff0::1
`

func TestAbuse_139_AddressTable(t *testing.T) {
	g := newGuard(Allow{})
	refused := strings.Fields(refusedAddresses)
	if len(refused) < 120 {
		t.Fatalf("the table has %d rows", len(refused))
	}
	t.Logf("%d addresses refused", len(refused))
	for _, text := range refused {
		addr := netip.MustParseAddr(text)
		for _, port := range []uint16{80, 443, 8443} {
			if g.permits(netip.AddrPortFrom(addr, port), false) {
				t.Errorf("%s:%d passes", text, port)
			}
		}
		if mapped := netip.AddrFrom16(addr.As16()); addr.Zone() == "" && g.public(mapped) {
			t.Errorf("%s passes in its 16-byte form", text)
		}
	}
	for _, text := range strings.Fields(publicAddresses) {
		if !g.permits(netip.AddrPortFrom(netip.MustParseAddr(text), 443), false) {
			t.Errorf("%s is public and refused", text)
		}
	}
	if g.public(netip.Addr{}) {
		t.Error("no address passes")
	}
}

// TestAbuse_139_PrivateNeverPublic asks the standard library for a second opinion.
func TestAbuse_139_PrivateNeverPublic(t *testing.T) {
	g := newGuard(Allow{})
	rapid.Check(t, func(t *rapid.T) {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "v6") {
			addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
		} else {
			addr = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		}
		a := addr.Unmap()
		special := !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()
		if special && g.public(addr) {
			t.Fatalf("%s passes", addr)
		}
		if g.public(addr) != g.public(netip.AddrFrom16(addr.As16())) {
			t.Fatalf("%s is judged otherwise in its 16-byte form", addr)
		}
	})
}

func TestAllow(t *testing.T) {
	g := newGuard(mustAllow(t, " 127.0.0.1:9999, 10.0.0.0/8 ,[::1]:80,192.168.7.7, ::ffff:172.16.0.0/112,vendor.internal,*.corp.example:8443, LOCALHOST.:1234 "))
	for text, want := range map[string]bool{
		"127.0.0.1:9999": true, "127.0.0.1:9998": false, "127.0.0.2:9999": false, "[::ffff:127.0.0.1]:9999": true,
		"10.1.2.3:1": true, "11.0.0.1:443": true, "[::1]:80": true, "[::1]:81": false, "192.168.7.7:5": true, "192.168.7.8:5": false,
		"172.16.0.9:443": true, "172.17.0.9:443": false,
	} {
		if got := g.permits(netip.MustParseAddrPort(text), false); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		"10.0.0.1:443": true, "127.0.0.1:443": true, "[fd12::1]:443": true, "100.64.0.1:443": true, "8.8.8.8:443": true,
		"169.254.169.254:443": false, "100.100.100.200:443": false, "[fd00:ec2::254]:443": false, "0.0.0.0:443": false,
		"[fe80::1]:443": false, "224.0.0.1:443": false, "168.63.129.16:443": false,
	} {
		if got := g.permits(netip.MustParseAddrPort(text), true); got != want {
			t.Errorf("%s for a host opened by name: %v, want %v", text, got, want)
		}
	}
	for _, c := range []struct {
		host string
		port uint16
		want bool
	}{
		{"vendor.internal", 80, true},
		{"vendor.internal", 8080, true},
		{"x.vendor.internal", 80, false},
		{"a.corp.example", 8443, true},
		{"a.b.corp.example", 8443, true},
		{"a.corp.example", 443, false},
		{"corp.example", 8443, false},
		{"evilcorp.example", 8443, false},
		{"localhost", 1234, true},
		{"localhost", 80, false},
		{"127.0.0.1", 9999, true},
		{"127.0.0.1", 80, false},
		{"::1", 80, true},
		{"8.8.8.8", 80, false},
	} {
		if got := g.allow.Opens(c.host, c.port); got != c.want {
			t.Errorf("Opens(%s, %d) = %v, want %v", c.host, c.port, got, c.want)
		}
	}
}

func TestParseAllowRefuses(t *testing.T) {
	for _, list := range []string{
		"10.0.0.0/33", "10.0.0.1/8", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "host:0", "host:99999", "host:x", "host:",
		"http://host", "host/path", "*", "*.", "a b", "127.0.0.1:0", "fe80::1%eth0", "ｈost", "-a.example", "a..b", "ok.example,bad_/x",
	} {
		a, err := ParseAllow(list)
		if e := claviger.AsError(err); err == nil || e.Kind != claviger.KindInvalid || e.Param != "egress.allow" || len(a.hosts)+len(a.prefixes) > 0 {
			t.Errorf("ParseAllow(%q) = %v, %v", list, a, err)
		}
	}
	if a, err := ParseAllow(" , "); err != nil || len(a.hosts)+len(a.prefixes) > 0 {
		t.Errorf("an empty list: %v, %v", a, err)
	}
}

func TestAbuse_147_OwnSocketsAreRefusedByAnyName(t *testing.T) {
	allow := mustAllow(t, "127.0.0.0/8, 0.0.0.0/8, [::1]:80, ::1, 10.0.0.0/8")
	for listens, sockets := range map[string]map[string]bool{
		"http://127.0.0.1:8787": {"127.0.0.1:8787": false, "[::ffff:127.0.0.1]:8787": false, "0.0.0.0:8787": false, "127.0.0.1:8786": true, "127.0.0.2:8787": true, "10.0.0.1:8787": true},
		"http://0.0.0.0:8787":   {"127.0.0.1:8787": false, "127.9.9.9:8787": false, "[::1]:8787": false, "127.0.0.1:80": true, "10.0.0.1:80": true},
		"http://:8787":          {"127.0.0.1:8787": false, "[::1]:8787": false, "127.0.0.1:80": true},
		"http://[::]:8787":      {"127.0.0.1:8787": false, "[::1]:8787": false, "127.0.0.1:80": true},
		"https://claviger.test": {"127.0.0.1:8787": true},
	} {
		g := newGuard(allow, listens)
		for socket, want := range sockets {
			for _, named := range []bool{false, true} {
				if got := g.permits(netip.MustParseAddrPort(socket), named); got != want {
					t.Errorf("listening on %s, dialling %s (named %v): %v", listens, socket, named, got)
				}
			}
		}
	}
}
