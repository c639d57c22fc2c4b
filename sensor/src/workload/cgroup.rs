use inventory::{RawText, Runtime};

/// What the path of a process's cgroup says about what started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WorkloadPath {
    Unit(RawText),
    Container(ContainerPath),
    Session { id: RawText, uid: Option<u32> },
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerPath {
    pub(super) runtime: Runtime,
    pub(super) id: String,
    /// The uid of its pod, as Kubernetes writes it.
    pub(super) pod: Option<String>,
    /// Where it lies beneath a unit, which may have been given the right to make cgroups of any name.
    pub(super) below: Option<UnitAbove>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnitAbove {
    pub(super) unit: RawText,
    /// The container's cgroup itself, from the root of its hierarchy.
    pub(super) cgroup: Vec<u8>,
}

/// Reads /proc/PID/cgroup: `ID:CONTROLLERS:PATH` a line. Systemd's own hierarchy is asked first, then the one of
/// cgroups v2, then the others.
pub(super) fn from_cgroup(text: &[u8]) -> WorkloadPath {
    let mut paths: Vec<(u8, &[u8])> = text.split(|byte| *byte == b'\n').filter_map(ranked).collect();
    paths.sort_by_key(|(rank, _)| *rank);
    let found = paths.iter().map(|(_, path)| from_path(path)).find(|found| *found != WorkloadPath::None);
    found.unwrap_or(WorkloadPath::None)
}

fn ranked(line: &[u8]) -> Option<(u8, &[u8])> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let rank = match controllers {
        b"name=systemd" => 0,
        b"" => 1,
        _ => 2,
    };
    // The kernel marks the cgroup of a process that outlived it.
    Some((rank, path.strip_suffix(b" (deleted)").unwrap_or(path)))
}

/// From the root downward, and the first component that says anything decides: what lies beneath belongs to whom that
/// component was given, who can name it as he likes.
fn from_path(path: &[u8]) -> WorkloadPath {
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(unescape).collect();
    let mut pod = None;
    for (at, part) in parts.iter().enumerate() {
        pod = pod_uid(part).or(pod);
        if let Some((runtime, id)) =
            container(part, at.checked_sub(1).map(|above| parts[above]), pod.is_some())
        {
            return WorkloadPath::Container(ContainerPath { runtime, id, pod, below: None });
        }
        if let Some(manager) = user_manager(part) {
            return WorkloadPath::Unit(unit_of_user(manager, &parts[at + 1..]));
        }
        if let Some(id) = part.strip_prefix(b"session-").and_then(|part| part.strip_suffix(b".scope")) {
            let uid = parts[..at].iter().rev().find_map(|slice| user_slice(slice));
            return WorkloadPath::Session { id: RawText::new(id), uid };
        }
        if is_unit(part) {
            return below_unit(part, &parts, at);
        }
        if !may_contain_units(part) {
            return WorkloadPath::None;
        }
    }
    WorkloadPath::None
}

/// A unit, or a container that it runs: a Podman quadlet, or containerd beneath its own service.
fn below_unit(unit: &[u8], parts: &[&[u8]], at: usize) -> WorkloadPath {
    let unit = RawText::new(unit);
    let mut pod = None;
    for (deeper, part) in parts.iter().enumerate().skip(at + 1) {
        pod = pod_uid(part).or(pod);
        if let Some((runtime, id)) = container(part, Some(parts[deeper - 1]), pod.is_some()) {
            let cgroup = parts[..=deeper].iter().flat_map(|part| [b"/", *part].concat()).collect();
            return WorkloadPath::Container(ContainerPath {
                runtime,
                id,
                pod,
                below: Some(UnitAbove { unit, cgroup }),
            });
        }
    }
    WorkloadPath::Unit(unit)
}

/// Systemd puts a `_` before a name that the kernel would take for its own.
fn unescape(part: &[u8]) -> &[u8] {
    part.strip_prefix(b"_").unwrap_or(part)
}

fn is_unit(part: &[u8]) -> bool {
    let suffixes: [&[u8]; 5] = [b".service", b".socket", b".scope", b".mount", b".swap"];
    part != b"init.scope" && suffixes.iter().any(|suffix| part.len() > suffix.len() && part.ends_with(suffix))
}

fn may_contain_units(part: &[u8]) -> bool {
    let groups: [&[u8]; 7] =
        [b"docker", b"libpod_parent", b"kubepods", b"besteffort", b"burstable", b"guaranteed", b"machine"];
    part.ends_with(b".slice") || groups.contains(&part) || part.starts_with(b"pod")
}

/// `user@1000.service`, a manager that an ordinary user commands.
fn user_manager(part: &[u8]) -> Option<&[u8]> {
    let uid = part.strip_prefix(b"user@")?.strip_suffix(b".service")?;
    uid.iter().all(u8::is_ascii_digit).then_some(part)
}

fn user_slice(part: &[u8]) -> Option<u32> {
    let uid = part.strip_prefix(b"user-")?.strip_suffix(b".slice")?;
    std::str::from_utf8(uid).ok()?.parse().ok()
}

/// Services keep their names; scopes are named anew each time, so that the manager itself must do.
fn unit_of_user(manager: &[u8], below: &[&[u8]]) -> RawText {
    let service = below.iter().find(|part| part.ends_with(b".service") || part.ends_with(b".scope"));
    match service {
        Some(service) if service.ends_with(b".service") => RawText::new([manager, b"/", service].concat()),
        _ => RawText::new(manager),
    }
}

/// `pod0123…` or, among systemd's slices, `kubepods-burstable-pod0123_….slice`.
fn pod_uid(part: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(part).ok()?;
    // Beneath containerd.service the slice stands before a colon: `kubepods-….slice:cri-containerd:ID`.
    let text = text.split(':').next()?;
    let uid = match text.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(_) => return None,
        None => text.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let is_uid = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

fn container(part: &[u8], above: Option<&[u8]>, in_pod: bool) -> Option<(Runtime, String)> {
    const NAMED: &[(&str, Runtime)] = &[
        ("docker-", Runtime::Docker),
        ("libpod-payload-", Runtime::Podman),
        ("libpod-", Runtime::Podman),
        ("cri-containerd-", Runtime::Containerd),
        ("crio-", Runtime::Crio),
    ];
    let text = std::str::from_utf8(part).ok()?;
    let name = text.strip_suffix(".scope").unwrap_or(text);
    if let Some((_, id)) = name.rsplit_once(":cri-containerd:") {
        return container_id(id).map(|id| (Runtime::Containerd, id));
    }
    let named = NAMED
        .iter()
        .find_map(|(prefix, runtime)| Some((*runtime, container_id(name.strip_prefix(prefix)?)?)));
    named.or_else(|| match above {
        Some(b"docker") => container_id(text).map(|id| (Runtime::Docker, id)),
        // The kubelet's cgroupfs driver does not say which runtime it is; the state files will.
        _ if in_pod => container_id(text).map(|id| (Runtime::Containerd, id)),
        _ => None,
    })
}

fn container_id(text: &str) -> Option<String> {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == 64 && text.bytes().all(is_lower_hex)).then(|| text.to_owned())
}

/// A /proc/PID/cgroup. What is told of it is part of it, and an id of a container is one.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    let bounded = |text: &RawText| assert!(text.as_bytes().len() <= 2 * bytes.len());
    match from_cgroup(bytes) {
        WorkloadPath::Unit(unit) => bounded(&unit),
        WorkloadPath::Session { id, .. } => bounded(&id),
        WorkloadPath::Container(container) => {
            assert!(container.id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", container.id);
            assert!(container.pod.is_none_or(|pod| pod.len() <= bytes.len() && !pod.contains('/')));
            if let Some(above) = container.below {
                bounded(&above.unit);
                assert!(above.cgroup.len() <= 2 * bytes.len());
            }
        }
        WorkloadPath::None => {}
    }
}

#[cfg(test)]
mod tests;
