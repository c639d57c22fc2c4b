use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use inventory::Protocol;
use ipnet::IpNet;

use crate::{AddressPattern, Listen, PortPattern};

/// Endpoints that somebody asks about: `tcp/8443`, `8443`, `tcp/*:8443`, `10.0.0.1`, `udp/[::1]:53`, `loopback`. What is left
/// out is every one; a device is not told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `None` for every one.
    pub protocol: Option<Protocol>,
    /// The bound addresses.
    pub address: AddressPattern,
    /// The ports.
    pub port: PortPattern,
}

/// How much of what is asked about a set of endpoints has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// All of it.
    Whole,
    /// Some addresses or ports, or some perhaps: which ports the kernel chooses is not known beforehand.
    Part,
}

impl Wanted {
    /// How much of it these have together; `None` where nothing.
    pub fn covered_by(&self, listens: &[Listen]) -> Option<Covered> {
        let speaks = |listen: &&Listen| {
            self.protocol.is_none_or(|protocol| protocol == listen.protocol) && meet(self.port, listen.port)
        };
        let spoken: Vec<&Listen> = listens.iter().filter(speaks).collect();
        let wanted = networks(self.address);
        let meets = |listen: &&Listen| {
            let theirs = networks(listen.address);
            wanted.iter().any(|net| theirs.iter().any(|other| within(net, other) || within(other, net)))
        };
        if !spoken.iter().any(meets) {
            return None;
        }
        let whole: Vec<IpNet> = spoken
            .iter()
            .filter(|listen| listen.device.is_none() && has_all(listen.port, self.port))
            .flat_map(|listen| networks(listen.address))
            .collect();
        let is_whole = wanted.iter().all(|net| whole.iter().any(|other| within(net, other)));
        Some(if is_whole { Covered::Whole } else { Covered::Part })
    }
}

/// Whether both have a port, or may have.
fn meet(wanted: PortPattern, theirs: PortPattern) -> bool {
    match (wanted, theirs) {
        (PortPattern::Range(first, last), PortPattern::Range(from, to)) => first <= to && from <= last,
        (PortPattern::Kernel, PortPattern::Range(..)) => false,
        _ => true,
    }
}

fn has_all(theirs: PortPattern, wanted: PortPattern) -> bool {
    match (theirs, wanted) {
        (PortPattern::Any, _) | (PortPattern::Kernel, PortPattern::Kernel) => true,
        (PortPattern::Range(from, to), PortPattern::Range(first, last)) => from <= first && last <= to,
        _ => false,
    }
}

fn within(net: &IpNet, other: &IpNet) -> bool {
    other.contains(net)
}

/// The networks that its addresses are.
fn networks(pattern: AddressPattern) -> Vec<IpNet> {
    let words: &[&str] = match pattern {
        AddressPattern::Any => &["0.0.0.0/0", "::/0"],
        AddressPattern::AnyV4 => &["0.0.0.0/0"],
        AddressPattern::AnyV6 => &["::/0"],
        AddressPattern::One(address) => return vec![address.into()],
        AddressPattern::Net(net) => return vec![net],
        AddressPattern::Loopback => &["127.0.0.0/8", "::1/128"],
        AddressPattern::Link => &["169.254.0.0/16", "224.0.0.0/24", "fe80::/10", "ff01::/16", "ff02::/16"],
        AddressPattern::Private => {
            &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"]
        }
    };
    words.iter().filter_map(|word| word.parse().ok()).collect()
}

impl FromStr for Wanted {
    type Err = String;

    /// Fails with a sentence about what is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, rest) = match text.split_once('/') {
            Some((word, rest)) if word.parse::<Protocol>().is_ok() => (word.parse().ok(), rest),
            _ => (None, text),
        };
        // Any protocol has the same addresses and ports.
        let listen = |bound: &str| format!("{}/{bound}", protocol.unwrap_or(Protocol::Tcp)).parse::<Listen>();
        let bare =
            rest.parse::<IpAddr>().ok().filter(IpAddr::is_ipv6).map(|address| format!("[{address}]:*"));
        let tried = [rest.to_owned(), format!("*:{rest}"), format!("{rest}:*")];
        let found = bare.iter().chain(&tried).find_map(|bound| listen(bound).ok());
        let found = found.ok_or_else(|| {
            format!(
                "`{text}` names no endpoint: it may be `tcp/8443`, `8443`, `tcp/*:8443`, `udp/[::1]:53`, `10.0.0.1` or \
                 `loopback`"
            )
        })?;
        Ok(Wanted { protocol, address: found.address, port: found.port })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, "{protocol}/")?;
        }
        write!(f, "{}:{}", self.address, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_in_many_forms() {
        for (text, read) in [
            ("8443", "*:8443"),
            ("tcp/8443", "tcp/*:8443"),
            ("tcp/*:8443", "tcp/*:8443"),
            ("tcp/8000-8999", "tcp/*:8000-8999"),
            ("10.0.0.1", "10.0.0.1:*"),
            ("10.0.0.0/8", "10.0.0.0/8:*"),
            ("::1", "[::1]:*"),
            ("udp/[::1]:53", "udp/[::1]:53"),
            ("loopback", "loopback:*"),
            ("udp/10.0.0.1%eth0:53", "udp/10.0.0.1:53"),
            ("tcp/kernel", "tcp/*:kernel"),
        ] {
            assert_eq!(
                text.parse::<Wanted>().map(|wanted| wanted.to_string()),
                Ok(read.to_owned()),
                "{text}"
            );
        }
        for text in ["", "web", "http/80", "tcp/", "70000", "tcp/10.0.0.300:80"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_set_of_endpoints_has_all_or_some_or_none() {
        const WHOLE: Option<Covered> = Some(Covered::Whole);
        const PART: Option<Covered> = Some(Covered::Part);
        for (wanted, listens, expected) in [
            ("tcp/8443", &["tcp/*:8443"][..], WHOLE),
            ("8443", &["tcp/*:8443"], WHOLE),
            ("tcp/8443", &["udp/*:8443"], None),
            ("tcp/8443", &["tcp/*:8000-8999"], WHOLE),
            ("tcp/8443", &["tcp/*:*"], WHOLE),
            ("tcp/8443", &["tcp/*:443"], None),
            ("tcp/8443", &["tcp/loopback:8443"], PART),
            ("tcp/8443", &["tcp/0.0.0.0:8443", "tcp/[::]:8443"], WHOLE),
            ("tcp/8443", &["tcp/0.0.0.0:8443", "tcp/[::]:443"], PART),
            ("tcp/8443", &["tcp/*:kernel"], PART),
            ("tcp/8443", &["tcp/*%eth0:8443"], PART),
            ("tcp/8440-8449", &["tcp/*:8443"], PART),
            ("tcp/127.0.0.1:8443", &["tcp/loopback:8443"], WHOLE),
            ("tcp/127.0.0.1:8443", &["tcp/*:8443"], WHOLE),
            ("tcp/127.0.0.1:8443", &["tcp/private:8443"], None),
            ("tcp/10.1.2.3:8443", &["tcp/10.0.0.0/8:8443"], WHOLE),
            ("10.1.2.3", &["tcp/private:8443"], PART),
            ("10.0.0.0/8", &["udp/10.1.2.3:53"], PART),
            ("tcp/private:80", &["tcp/*:80"], WHOLE),
            ("tcp/0.0.0.0:80", &["tcp/[::]:80"], None),
            ("tcp/kernel", &["tcp/*:80"], None),
            ("tcp/kernel", &["tcp/*:kernel"], WHOLE),
        ] {
            let listens: Vec<Listen> = listens.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(
                wanted.parse::<Wanted>().unwrap().covered_by(&listens),
                expected,
                "{wanted} {listens:?}"
            );
        }
    }
}
