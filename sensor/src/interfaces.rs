//! The network interfaces of a namespace and their addresses.

use std::net::IpAddr;

use inventory::RawText;

/// netdevice(7); `SIOCGIFFLAGS`.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_NOARP: u32 = 0x80;
const IFF_MASTER: u32 = 0x400;

/// An interface as reach needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// By which `SO_BINDTODEVICE` is kept; not stable over a reboot.
    pub index: u32,
    /// Chosen by whoever made it.
    pub name: RawText,
    /// Administratively up.
    pub up: bool,
    /// `lo`.
    pub loopback: bool,
    /// Takes packets for the interfaces enslaved to it, whatever addresses it has itself: a VRF.
    pub gathers_others: bool,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// The interfaces of the namespace that the calling thread is in. Every namespace has `lo`, so an empty list, which is
/// what `pnet_datalink` makes of an error, is one.
pub(crate) fn interfaces() -> Result<Vec<Interface>, NoInterfaces> {
    let found = pnet_datalink::interfaces();
    if found.is_empty() {
        return Err(NoInterfaces);
    }
    Ok(found.into_iter().map(Interface::from).collect())
}

/// Not even `lo` was listed.
#[derive(Debug, thiserror::Error)]
#[error(
    "getifaddrs listed no interface, not even lo: allow the sensor AF_NETLINK sockets; wildcards count as public"
)]
pub(crate) struct NoInterfaces;

impl From<pnet_datalink::NetworkInterface> for Interface {
    fn from(interface: pnet_datalink::NetworkInterface) -> Self {
        Interface {
            index: interface.index,
            // The kernel lets a name be any bytes but '/', ':' and spaces, and the crate does not check them.
            name: RawText::new(interface.name.into_bytes()),
            up: interface.flags & IFF_UP != 0,
            loopback: interface.flags & IFF_LOOPBACK != 0,
            // drivers/net/vrf.c sets exactly these two; a bond is a master too, but resolves neighbours.
            gathers_others: interface.flags & (IFF_MASTER | IFF_NOARP) == IFF_MASTER | IFF_NOARP,
            addresses: interface.ips.iter().map(|network| network.ip()).collect(),
        }
    }
}

/// The name of a bound device; `None` for no device. One that is not among the interfaces is called by its number.
pub(crate) fn device_name(index: u32, interfaces: Option<&[Interface]>) -> Option<RawText> {
    if index == 0 {
        return None;
    }
    let known = interfaces.unwrap_or_default().iter().find(|interface| interface.index == index);
    Some(known.map_or_else(|| RawText::new(format!("#{index}").into_bytes()), |known| known.name.clone()))
}
