use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::bail;
use exporter::{ApiSocket, Right, Role};
use ipnet::IpNet;
use serde::Deserialize;

/// `[web]` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebTable {
    /// Networks that peers may be in.
    allow: Option<Vec<Network>>,
    /// Whether whatever could change something is refused.
    read_only: bool,
    /// A path, or `off`.
    api_socket: Option<PathBuf>,
    role: Vec<RoleTable>,
}

impl Default for WebTable {
    fn default() -> Self {
        WebTable { allow: None, read_only: true, api_socket: None, role: Vec::new() }
    }
}

/// A network, or an address by itself.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let alone = text.parse::<IpAddr>().map(IpNet::from);
        let network = alone.or_else(|_| text.parse::<IpNet>());
        let says = |_| format!("`{}` is no network such as 10.0.0.0/8, nor an address", text.escape_debug());
        network.map(Network).map_err(says)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleTable {
    #[serde(default)]
    users: BTreeSet<String>,
    #[serde(default)]
    certificates: BTreeSet<String>,
    may: Vec<String>,
}

/// Who may ask by HTTP, and what for.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) allow: Vec<IpNet>,
    pub(crate) read_only: bool,
    pub(crate) roles: Vec<Role>,
    pub(crate) api_socket: ApiSocket,
}

impl WebTable {
    pub(super) fn read(&self) -> anyhow::Result<Web> {
        if self.allow.as_ref().is_some_and(Vec::is_empty) {
            bail!("[web] `allow`: nobody could ask: name networks, or leave it out");
        }
        let allow: Vec<IpNet> = self.allow.iter().flatten().map(|network| network.0).collect();
        if let Some(mapped) = allow.iter().find(|network| is_mapped(network)) {
            bail!(
                "[web] `allow`: {mapped} is a network of IPv4: write it as one of IPv4, such as 10.0.0.0/8"
            );
        }
        let roles = self.role.iter().map(RoleTable::read).collect::<anyhow::Result<_>>()?;
        let api_socket = match &self.api_socket {
            None => ApiSocket::Usual,
            Some(path) if path.as_os_str() == "off" => ApiSocket::Off,
            Some(path) if path.is_absolute() => ApiSocket::At(path.clone()),
            Some(path) => {
                bail!("[web] `api_socket`: `{}` is neither an absolute path nor \"off\"", path.display())
            }
        };
        Ok(Web { allow, read_only: self.read_only, roles, api_socket })
    }
}

impl RoleTable {
    fn read(&self) -> anyhow::Result<Role> {
        let RoleTable { users, certificates, may } = self.clone();
        if users.is_empty() && certificates.is_empty() {
            bail!("[[web.role]]: it names neither `users` nor `certificates`, so nobody has it");
        }
        let may = may.iter().map(|word| word.parse::<Right>());
        let may =
            may.collect::<Result<_, _>>().map_err(|error| anyhow::anyhow!("[[web.role]] `may`: {error}"))?;
        Ok(Role { users, certificates, may })
    }
}

/// Peers are held against networks by their IPv4 address.
fn is_mapped(network: &IpNet) -> bool {
    matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some() && network.prefix_len() >= 96)
}
