//! Which way out of this network: the default gateways, as Linux lists them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Gateways that are told, at most.
const MAX_GATEWAYS: usize = 8;

/// Bytes of a list of routes that are read, at most: a router with all routes of the world is not asked for all of them.
const MAX_LIST: u64 = 256 << 10;

/// The default gateways, sorted. None where the system has no list, or no gateway.
pub(super) fn gateways() -> Vec<IpAddr> {
    let v4 = read("/proc/net/route").lines().filter_map(v4_gateway).map(IpAddr::V4).collect::<Vec<_>>();
    let v6 = read("/proc/net/ipv6_route").lines().filter_map(v6_gateway).map(IpAddr::V6).collect::<Vec<_>>();
    let mut all = [v4, v6].concat();
    all.sort_unstable();
    all.dedup();
    all.truncate(MAX_GATEWAYS);
    all
}

fn read(path: &str) -> String {
    use std::io::Read;
    let mut text = String::new();
    let Ok(file) = std::fs::File::open(path) else { return text };
    // What is not text is no list.
    let _ = file.take(MAX_LIST).read_to_string(&mut text);
    text
}

/// The gateway of a line of `/proc/net/route`, if it is of a default route (proc_net(5)): numbers as they lie in memory.
fn v4_gateway(line: &str) -> Option<Ipv4Addr> {
    const UP_BY_GATEWAY: u16 = 3;
    let mut fields = line.split_whitespace().skip(1);
    let mut hex = || u32::from_str_radix(fields.next()?, 16).ok();
    let (destination, gateway, flags) = (hex()?, hex()?, hex()?);
    let [_, _, _, mask] = [hex()?, hex()?, hex()?, hex()?];
    let leads_out = destination == 0 && mask == 0 && flags & u32::from(UP_BY_GATEWAY) == u32::from(UP_BY_GATEWAY);
    leads_out.then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
}

/// Likewise of `/proc/net/ipv6_route`.
fn v6_gateway(line: &str) -> Option<Ipv6Addr> {
    let mut fields = line.split_whitespace();
    let mut hex = || u128::from_str_radix(fields.next()?, 16).ok();
    let (destination, prefix) = (hex()?, hex()?);
    let (_source, _source_prefix) = (hex()?, hex()?);
    let gateway = Ipv6Addr::from_bits(hex()?);
    (destination == 0 && prefix == 0 && !gateway.is_unspecified()).then_some(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn default_routes_have_gateways_and_others_have_not() {
        let default = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0";
        assert_eq!(v4_gateway(default), Some(Ipv4Addr::new(192, 0, 2, 1)));
        let own_network = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        let half_of_the_world = "tun0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0";
        for line in [own_network, half_of_the_world, "Iface\tDestination\tGateway", "", "eth0 zz"] {
            assert_eq!(v4_gateway(line), None, "{line}");
        }
    }

    #[test]
    fn ipv6_default_routes_too() {
        let none = "0".repeat(32);
        let gateway = "fe800000000000000000000000000001";
        let line = format!("{none} 00 {none} 00 {gateway} 00000400 00000000 00000000 00000003 eth0");
        assert_eq!(v6_gateway(&line), Some("fe80::1".parse().unwrap()));
        let unreachable = format!("{none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200 lo");
        assert_eq!(v6_gateway(&unreachable), None);
        assert_eq!(v6_gateway("nothing"), None);
    }
}
