//! Who can connect, as far as addresses tell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use inventory::{Endpoint, Protocol, Reach};
use ipnet::IpNet;

use crate::interfaces::Interface;

/// Who can reach `bound`, never narrower than true. `interfaces` are those of its namespace: `None`, where they could
/// not be read, makes every wildcard public. Whoever has an address in `public` is reached by everybody.
pub(crate) fn reach(
    bound: &Endpoint,
    ipv6_only: Option<bool>,
    interfaces: Option<&[Interface]>,
    public: &[IpNet],
) -> Reach {
    let address = bound.canonical_address();
    let link_local_group = match address {
        IpAddr::V4(address) => is_link_local_group_v4(address).then_some(Reach::Link),
        IpAddr::V6(address) => near_group_v6(address),
    };
    if let Some(reach) = link_local_group {
        return reach;
    }
    if !address.is_unspecified() && !address.is_multicast() {
        return class(address, public);
    }
    let Some(interfaces) = interfaces else {
        return Reach::Public;
    };
    let takes = |candidate: &IpAddr| match (address, candidate) {
        (IpAddr::V4(_), candidate) => candidate.is_ipv4(),
        // A group of IPv6 has no IPv4 senders.
        (IpAddr::V6(address), IpAddr::V4(_)) => address.is_unspecified() && ipv6_only != Some(true),
        (IpAddr::V6(_), IpAddr::V6(_)) => true,
    };
    let narrowing = narrowing_device(bound, interfaces, takes);
    let entrances = interfaces
        .iter()
        .filter(|interface| interface.up && narrowing.is_none_or(|device| device.index == interface.index));
    let classes = entrances.flat_map(|interface| {
        let addresses = interface.addresses.iter().filter(|candidate| takes(candidate));
        addresses.map(|address| class(*address, public)).chain(by_broadcast(bound.protocol, interface))
    });
    classes.max().unwrap_or(Reach::Isolated)
}

/// The bound device, where its own addresses tell who is beyond it: not where it gathers those of others, has none that
/// the socket takes, or is not in the list.
fn narrowing_device<'a>(
    bound: &Endpoint,
    interfaces: &'a [Interface],
    takes: impl Fn(&IpAddr) -> bool,
) -> Option<&'a Interface> {
    let name = bound.device.as_ref()?;
    let device = interfaces.iter().find(|interface| interface.name == *name)?;
    (!device.gathers_others && device.addresses.iter().any(takes)).then_some(device)
}

/// Datagrams to all hosts of a link are heard on an interface that has no address yet, as a DHCP client does.
fn by_broadcast(protocol: Protocol, interface: &Interface) -> Option<Reach> {
    let heard = matches!(protocol, Protocol::Udp | Protocol::Udplite | Protocol::Raw);
    (heard && !interface.loopback).then_some(Reach::Link)
}

/// Who can send to an address.
fn class(address: IpAddr, public: &[IpNet]) -> Reach {
    let address = address.to_canonical();
    if public.iter().any(|network| network.contains(&address)) {
        return Reach::Public;
    }
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

fn class_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [127, ..] => Reach::Loopback,
        [169, 254, ..] | [255, 255, 255, 255] => Reach::Link,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

fn class_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0xfe80..=0xfebf, ..] => Reach::Link,
        [0xfc00..=0xfdff, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

/// 224.0.0.0/24, which no router forwards (RFC 5771).
fn is_link_local_group_v4(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [224, 0, 0, _])
}

/// A group whose scope (RFC 4291, the last four bits of the first 16) ends at the interface or at the link.
fn near_group_v6(address: Ipv6Addr) -> Option<Reach> {
    match address.segments()[0] {
        group if group & 0xff0f == 0xff01 => Some(Reach::Loopback),
        group if group & 0xff0f == 0xff02 => Some(Reach::Link),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use inventory::{Endpoint, Protocol, RawText, Reach};
    use ipnet::IpNet;
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};
    use proptest::{collection::vec, option};

    use super::reach;
    use crate::interfaces::Interface;

    fn bound(text: &str) -> Endpoint {
        let (address, device) =
            text.split_once('%').map_or((text, None), |(a, d)| (a, Some(RawText::from(d))));
        Endpoint { protocol: Protocol::Tcp, address: address.parse().unwrap(), port: 80, device }
    }

    /// `lo* 127.0.0.1 ::1`: a star for up, `@` for one that gathers others.
    fn interface((index, text): (usize, &&str)) -> Interface {
        let mut words = text.split(' ');
        let name = words.next().unwrap();
        Interface {
            index: u32::try_from(index).unwrap() + 1,
            name: RawText::from(name.trim_end_matches(['*', '@'])),
            up: name.contains('*'),
            loopback: name.starts_with("lo"),
            gathers_others: name.contains('@'),
            addresses: words.map(|word| word.parse().unwrap()).collect(),
        }
    }

    fn reach_of(text: &str, ipv6_only: Option<bool>, interfaces: &[&str]) -> Reach {
        let interfaces: Vec<Interface> = interfaces.iter().enumerate().map(interface).collect();
        reach(&bound(text), ipv6_only, Some(&interfaces), &[])
    }

    #[test]
    fn a_bound_address_tells_who_can_send_to_it() {
        let cases = [
            ("127.0.0.1", Reach::Loopback),
            ("127.255.0.9", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("169.254.1.1", Reach::Link),
            ("fe80::1", Reach::Link),
            ("febf::1", Reach::Link),
            ("fec0::1", Reach::Public),
            ("224.0.0.251", Reach::Link),
            ("255.255.255.255", Reach::Link),
            ("ff02::fb", Reach::Link),
            ("ff12::fb", Reach::Link),
            ("ff01::1", Reach::Loopback),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("192.168.1.1", Reach::Private),
            ("::ffff:192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.128.0.1", Reach::Public),
            ("fd00::1", Reach::Private),
            ("192.0.2.1", Reach::Public),
            ("2001:db8::1", Reach::Public),
            ("8.8.8.8", Reach::Public),
        ];
        for (address, expected) in cases {
            assert_eq!(reach_of(address, None, &[]), expected, "{address}");
        }
    }

    #[test]
    fn a_wildcard_reaches_what_its_interfaces_reach() {
        let lo = "lo* 127.0.0.1 ::1";
        let v6_only = Some(true);
        let cases: &[(&str, Option<bool>, &[&str], Reach)] = &[
            ("0.0.0.0", None, &[lo], Reach::Loopback),
            ("0.0.0.0", None, &["lo"], Reach::Isolated),
            ("0.0.0.0", None, &["lo 127.0.0.1"], Reach::Isolated),
            ("0.0.0.0", None, &[lo, "eth0* 10.0.0.2 fe80::2"], Reach::Private),
            ("0.0.0.0", None, &[lo, "eth0 8.8.8.8"], Reach::Loopback),
            ("0.0.0.0", None, &[lo, "eth0* 2001:db8::2"], Reach::Loopback),
            ("::", v6_only, &[lo, "eth0* 8.8.8.8 fe80::2"], Reach::Link),
            ("::", Some(false), &[lo, "eth0* 8.8.8.8 fe80::2"], Reach::Public),
            ("::", None, &[lo, "eth0* 8.8.8.8 fe80::2"], Reach::Public),
            ("::ffff:0.0.0.0", Some(false), &[lo, "eth0* fd00::1"], Reach::Loopback),
            // An anycast service has its address on lo.
            ("0.0.0.0", None, &["lo* 127.0.0.1 8.8.4.4"], Reach::Public),
            ("239.1.2.3", None, &[lo, "eth0* 10.0.0.2"], Reach::Private),
            ("ff05::2", None, &[lo, "eth0* 8.8.8.8 fd00::2"], Reach::Private),
        ];
        for (address, ipv6_only, interfaces, expected) in cases {
            assert_eq!(reach_of(address, *ipv6_only, interfaces), *expected, "{address} {interfaces:?}");
        }
    }

    #[test]
    fn a_bound_device_narrows_only_where_it_tells_who_is_beyond() {
        let lan = "lan* 10.0.0.1";
        let wan = "wan* 8.8.8.8";
        let cases: &[(&str, &[&str], Reach)] = &[
            ("0.0.0.0%lan", &[lan, wan], Reach::Private),
            ("0.0.0.0%wan", &[lan, wan], Reach::Public),
            ("0.0.0.0%lan", &["lan 10.0.0.1", wan], Reach::Isolated),
            ("0.0.0.0%port", &[lan, wan, "port*"], Reach::Public),
            ("0.0.0.0%blue", &[lan, wan, "blue@* 127.0.0.1"], Reach::Public),
            ("0.0.0.0%#9", &[lan, wan], Reach::Public),
            ("10.0.0.1%wan", &[lan, wan], Reach::Private),
            ("0.0.0.0%new", &[lan, wan, "new* fe80::7"], Reach::Public),
            ("::%new", &[lan, wan, "new* fe80::7"], Reach::Link),
        ];
        for (address, interfaces, expected) in cases {
            assert_eq!(reach_of(address, None, interfaces), *expected, "{address} {interfaces:?}");
        }
    }

    #[test]
    fn a_datagram_socket_hears_the_link_before_it_has_an_address() {
        let interfaces = [(0, &"lo* 127.0.0.1"), (1, &"eth0*")].map(interface);
        let dhcp_client = Endpoint { protocol: Protocol::Udp, port: 68, ..bound("0.0.0.0%eth0") };
        assert_eq!(reach(&dhcp_client, None, Some(&interfaces), &[]), Reach::Link);
        assert_eq!(reach(&bound("0.0.0.0"), None, Some(&interfaces), &[]), Reach::Loopback);
    }

    #[test]
    fn networks_behind_address_translation_are_public() {
        let public: [IpNet; 1] = ["10.1.0.0/16".parse().unwrap()];
        let interfaces = [interface((0, &"eth0* 10.1.2.3"))];
        for (address, expected) in [
            ("10.1.2.3", Reach::Public),
            ("::ffff:10.1.2.3", Reach::Public),
            ("10.2.2.3", Reach::Private),
            ("0.0.0.0", Reach::Public),
        ] {
            assert_eq!(reach(&bound(address), None, Some(&interfaces), &public), expected, "{address}");
        }
    }

    #[test]
    fn unknown_interfaces_make_a_wildcard_public() {
        assert_eq!(reach(&bound("0.0.0.0"), None, None, &[]), Reach::Public);
        assert_eq!(reach(&bound("127.0.0.1"), None, None, &[]), Reach::Loopback);
    }

    fn addresses() -> impl Strategy<Value = IpAddr> {
        let known = ["0.0.0.0", "::", "127.0.0.1", "::1", "10.0.0.1", "fd00::1", "fe80::1", "239.0.0.1"];
        let known = proptest::sample::select(known.map(|text| text.parse().unwrap()).to_vec());
        prop_oneof![known, any::<IpAddr>()]
    }

    fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
        let one = (any::<bool>(), any::<bool>(), vec(addresses(), 0..4));
        vec(one, 0..4).prop_map(|all| {
            let numbered = all.into_iter().zip(1_u32..);
            numbered
                .map(|((up, gathers_others, addresses), index)| Interface {
                    index,
                    name: RawText::from(format!("eth{index}").as_str()),
                    up,
                    loopback: false,
                    gathers_others,
                    addresses,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn more_addresses_never_narrow(
            address in addresses(),
            v6_only in option::of(any::<bool>()),
            device in prop_oneof![Just(None), Just(Some(RawText::from("eth1")))],
            before in interfaces(),
            more in addresses(),
            at in any::<proptest::sample::Index>(),
        ) {
            let bound = Endpoint { protocol: Protocol::Udp, address, port: 1, device };
            let mut after = before.clone();
            if let Some(interface) = (!after.is_empty()).then(|| at.get(&before).index) {
                let grown = after.iter_mut().find(|candidate| candidate.index == interface).unwrap();
                // A device's first address of a family tells who is beyond it: before, anybody had to be assumed.
                let told = grown.addresses.iter().any(|old| old.is_ipv4() == more.is_ipv4());
                if bound.device.is_none() || told {
                    grown.addresses.push(more);
                }
            }
            after.push(Interface {
                index: 99,
                name: RawText::from("new"),
                up: true,
                loopback: false,
                gathers_others: false,
                addresses: vec![more],
            });
            let narrow = reach(&bound, v6_only, Some(&before), &[]);
            let wide = reach(&bound, v6_only, Some(&after), &[]);
            prop_assert!(narrow <= wide, "{narrow} > {wide}");
            prop_assert!(wide <= reach(&bound, v6_only, None, &[]));
        }

        #[test]
        fn v6_only_is_never_wider(address in addresses(), interfaces in interfaces()) {
            let bound = Endpoint { protocol: Protocol::Tcp, address, port: 1, device: None };
            let only = reach(&bound, Some(true), Some(&interfaces), &[]);
            prop_assert!(only <= reach(&bound, Some(false), Some(&interfaces), &[]));
            prop_assert!(reach(&bound, None, Some(&interfaces), &[]) == reach(&bound, Some(false), Some(&interfaces), &[]));
        }
    }
}
