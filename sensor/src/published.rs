use std::net::IpAddr;

use inventory::{Listener, NetNsId, NetNsKind};

use crate::namespaces::NamespaceView;
use crate::workload::{Published, published_by};

/// Ties what proxy processes of the host forward to the listeners that it ends at: those of a namespace that owns
/// the address.
pub(crate) fn tie(listeners: &mut [Listener], views: &[NamespaceView]) {
    for forward in forwards(listeners.iter()) {
        let owners = owners(&forward, views.iter());
        for listener in listeners.iter_mut().filter(|listener| ends_at(&forward, listener, &owners)) {
            listener.published.push(forward.host.clone());
        }
    }
}

/// The same for one that is new among `others`.
pub(crate) fn tie_one<'a>(
    listener: &mut Listener,
    others: impl Iterator<Item = &'a Listener>,
    views: impl Iterator<Item = &'a NamespaceView> + Clone,
) {
    for forward in forwards(others) {
        if ends_at(&forward, listener, &owners(&forward, views.clone())) {
            listener.published.push(forward.host.clone());
        }
    }
}

/// What the processes of the host forward, each once.
fn forwards<'a>(listeners: impl Iterator<Item = &'a Listener>) -> Vec<Published> {
    let on_host = listeners.filter(|listener| listener.netns.kind == NetNsKind::Host);
    let holders = on_host.flat_map(|listener| listener.holders.known());
    let mut forwards: Vec<Published> = holders.filter_map(|holder| published_by(holder)).collect();
    forwards.sort_by(|one, other| one.host.cmp(&other.host));
    forwards.dedup();
    forwards
}

fn owners<'a>(forward: &Published, views: impl Iterator<Item = &'a NamespaceView>) -> Vec<NetNsId> {
    let address = forward.container.address;
    views.filter(|view| owns(view, address)).map(|view| view.netns.id).collect()
}

fn ends_at(forward: &Published, listener: &Listener, owners: &[NetNsId]) -> bool {
    let (bound, container) = (&listener.endpoint, &forward.container);
    let takes_address = bound.is_wildcard() || bound.canonical_address() == container.address;
    let same_place = bound.protocol == container.protocol && bound.port == container.port && takes_address;
    same_place && owners.contains(&listener.id.netns)
}

fn owns(view: &NamespaceView, address: IpAddr) -> bool {
    let interfaces = view.interfaces.iter().flatten();
    view.netns.kind != NetNsKind::Host
        && interfaces.flat_map(|found| &found.addresses).any(|own| *own == address)
}
