use std::collections::HashMap;

use inventory::{NetNs, NetNsId, NetNsKind, RawText, Workload};

use crate::holders::Memory;
use crate::namespaces::NamespaceView;

/// Names of namespaces by what lives in them, asked again only when other processes live there.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<NetNsId, Known>,
}

#[derive(Debug)]
struct Known {
    pids: Vec<u32>,
    netns: NetNs,
}

impl Names {
    /// The namespaces of `views`, in their order, under the names that people know them by.
    pub(crate) fn of(&mut self, views: &[NamespaceView], processes: &mut Memory) -> Vec<NetNs> {
        let mut before = std::mem::take(&mut self.known);
        let named: Vec<NetNs> = views
            .iter()
            .map(|view| {
                let same = before.remove(&view.netns.id).filter(|known| known.pids == view.pids);
                let known =
                    same.unwrap_or_else(|| Known { pids: view.pids.clone(), netns: name(view, processes) });
                let netns = known.netns.clone();
                self.known.insert(view.netns.id, known);
                netns
            })
            .collect();
        named
    }
}

impl Names {
    /// The name of one that was visited between two passes.
    pub(crate) fn of_one(view: &NamespaceView, processes: &mut Memory) -> NetNs {
        name(view, processes)
    }
}

/// A container's runtime binds namespaces under /run/netns by names of its own that change with each redeployment, so
/// a container that lives there names it better than the path.
fn name(view: &NamespaceView, processes: &mut Memory) -> NetNs {
    let given = &view.netns;
    if given.kind == NetNsKind::Host {
        return given.clone();
    }
    let mut unit = None;
    let mut nameless_container = false;
    for pid in &view.pids {
        match processes.workload_of(*pid) {
            Workload::Container(container) => match &container.name {
                Some(name) => return renamed(given, NetNsKind::Container, shared_name(name)),
                None => nameless_container = true,
            },
            Workload::Unit(name) => unit = unit.or(Some(name)),
            Workload::Session(_) | Workload::None => {}
        }
    }
    if nameless_container {
        return renamed(given, NetNsKind::Container, RawText::from("unnamed container"));
    }
    match (given.kind, unit) {
        (NetNsKind::Anonymous, Some(name)) => renamed(given, NetNsKind::Unit, name),
        _ => given.clone(),
    }
}

fn renamed(given: &NetNs, kind: NetNsKind, name: RawText) -> NetNs {
    NetNs { id: given.id, kind, name }
}

/// The containers of a pod share its namespace: of `NAMESPACE/POD/CONTAINER` the first two name it.
fn shared_name(container: &RawText) -> RawText {
    let parts: Vec<&[u8]> = container.as_bytes().split(|byte| *byte == b'/').collect();
    match parts[..] {
        [namespace, pod, _] => RawText::new([namespace, pod].join(&b'/')),
        _ => container.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_a_pod_share_a_name() {
        assert_eq!(shared_name(&RawText::from("shop/web/nginx")), RawText::from("shop/web"));
        assert_eq!(shared_name(&RawText::from("redis")), RawText::from("redis"));
    }
}
