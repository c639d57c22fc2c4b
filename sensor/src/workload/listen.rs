use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use inventory::{Endpoint, Protocol};

/// One `Listen…=` of a socket unit, as far as it is about ports: systemd.socket(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    protocol: Protocol,
    /// `None` where a port alone is given: all addresses of both families.
    address: Option<IpAddr>,
    port: u16,
    device: Option<String>,
}

impl Listen {
    pub(super) fn means(&self, endpoint: &Endpoint) -> bool {
        let address = endpoint.canonical_address();
        let anywhere = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let same_address =
            self.address.map_or(anywhere.contains(&address), |own| own.to_canonical() == address);
        let device = endpoint.device.as_ref().map(|device| device.as_bytes());
        self.protocol == endpoint.protocol
            && self.port == endpoint.port
            && same_address
            && self.device.as_ref().is_none_or(|own| device == Some(own.as_bytes()))
    }
}

/// Of a unit's file with its drop-ins behind it.
pub(super) fn listens(unit: &str, instance: Option<&str>) -> Vec<Listen> {
    let mut section = "";
    let mut listens: Vec<(bool, String)> = Vec::new();
    let (mut device, mut protocol) = (None, None);
    for line in lines(unit) {
        let line = line.trim();
        if line.starts_with('[') {
            section = if line == "[Socket]" { "Socket" } else { "" };
        }
        let Some((key, value)) = line.split_once('=').filter(|_| section == "Socket") else { continue };
        let value = expand(value.trim(), instance);
        match key.trim() {
            // An empty one takes back all that came before.
            "ListenStream" | "ListenDatagram" | "ListenSequentialPacket" if value.as_deref() == Some("") => {
                listens.clear();
            }
            "ListenStream" => listens.extend(value.map(|value| (true, value))),
            "ListenDatagram" => listens.extend(value.map(|value| (false, value))),
            "BindToDevice" => device = value.filter(|value| !value.is_empty()),
            "SocketProtocol" => protocol = value.and_then(|value| value.parse().ok()),
            _ => {}
        }
    }
    let of = |(is_stream, value): &(bool, String)| {
        let usual = if *is_stream { Protocol::Tcp } else { Protocol::Udp };
        let (address, port) = address_and_port(value)?;
        Some(Listen { protocol: protocol.unwrap_or(usual), address, port, device: device.clone() })
    };
    listens.iter().filter_map(of).collect()
}

/// Without comments, and with the lines joined that a backslash continues: systemd.syntax(7).
fn lines(unit: &str) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in unit.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let (part, continued) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match joined.last_mut().filter(|_| goes_on) {
            Some(last) => last.extend([" ", part]),
            None => joined.push(part.to_owned()),
        }
        goes_on = continued;
    }
    joined
}

/// `None` where a specifier other than the instance's name stands in it.
fn expand(value: &str, instance: Option<&str>) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = value.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '%' => match rest.next()? {
                '%' => expanded.push('%'),
                'i' | 'I' => expanded.push_str(instance?),
                _ => return None,
            },
            letter => expanded.push(letter),
        }
    }
    Some(expanded)
}

/// `22`, `127.0.0.1:22`, `[::1]:22`, `[fe80::1]:22%eth0`; a path, an abstract name or `vsock:` is none.
fn address_and_port(value: &str) -> Option<(Option<IpAddr>, u16)> {
    let value = value.rsplit_once('%').map_or(value, |(before, _)| before);
    if let Ok(port) = value.parse() {
        return Some((None, port));
    }
    let address: SocketAddr = value.parse().ok()?;
    Some((Some(address.ip()), address.port()))
}

/// The file of a socket unit.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let listens = listens(&text, Some("instance"));
    assert!(listens.len() <= text.matches("Listen").count());
    let joined: usize = lines(&text).iter().map(String::len).sum();
    assert!(joined <= text.len() + 1, "what is joined is no longer than its parts");
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use inventory::{Endpoint, Protocol, RawText};

    use super::listens;

    fn endpoint(text: &str) -> Endpoint {
        let mut parts = text.split(' ');
        let protocol: Protocol = parts.next().unwrap().parse().unwrap();
        let address: IpAddr = parts.next().unwrap().parse().unwrap();
        let port = parts.next().unwrap().parse().unwrap();
        Endpoint { protocol, address, port, device: parts.next().map(RawText::from) }
    }

    #[test]
    fn means_the_sockets_that_systemd_would_open() {
        let cases = [
            ("ListenStream=22", "tcp :: 22", true),
            ("ListenStream=22", "tcp 0.0.0.0 22", true),
            ("ListenStream=22", "tcp 127.0.0.1 22", false),
            ("ListenStream=22", "udp :: 22", false),
            ("ListenDatagram = 69 ", "udp :: 69", true),
            ("ListenStream=127.0.0.1:631", "tcp 127.0.0.1 631", true),
            ("ListenStream=127.0.0.1:631", "tcp 0.0.0.0 631", false),
            ("ListenStream=[::1]:631", "tcp ::1 631", true),
            ("ListenStream=[::ffff:1.2.3.4]:631", "tcp 1.2.3.4 631", true),
            ("ListenStream=[fe80::1]:80%%eth0", "tcp fe80::1 80", true),
            ("ListenStream=/run/22", "tcp :: 22", false),
            ("ListenStream=vsock::22", "tcp :: 22", false),
            ("ListenStream=1\nListenStream=\nListenStream=2", "tcp :: 1", false),
            ("ListenStream=1\nListenStream=\nListenStream=2", "tcp :: 2", true),
            ("ListenStream=1\n[]\nListenStream=2", "tcp :: 2", false),
            ("#ListenStream=2\n;ListenStream=2\n", "tcp :: 2", false),
            ("ListenStream=\\\n# no\n 22", "tcp :: 22", true),
            ("ListenStream=9\nSocketProtocol=sctp", "sctp :: 9", true),
            ("ListenStream=22\nBindToDevice=eth0", "tcp :: 22 eth0", true),
            ("ListenStream=22\nBindToDevice=eth0", "tcp :: 22", false),
            ("ListenStream=80%i", "tcp :: 8007", true),
            ("ListenStream=%u", "tcp :: 22", false),
        ];
        for (text, at, expected) in cases {
            let unit = format!("[Unit]\nListenStream=2222\n[Socket]\n{text}\n");
            let means = listens(&unit, Some("07")).iter().any(|listen| listen.means(&endpoint(at)));
            assert_eq!(means, expected, "{text:?} {at}");
        }
    }
}
