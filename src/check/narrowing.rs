use baseline::{Register, Severity};

use crate::asking::Asked;
use crate::asking::answers::{Count, Counts, Details, Drift, Listener, Port, Told};
use crate::filter::{Filter, Key};

/// Leaves out what the filters do not pass, and counts the rest anew. Where the drifts could not be had, the counts stay as
/// they are, of all.
pub(super) fn narrow(asked: &mut Asked, filters: &[Filter]) {
    if filters.is_empty() {
        return;
    }
    asked.filters = filters.iter().map(ToString::to_string).collect();
    if let (Ok(status), Some(Ok(details))) = (&mut asked.status, &mut asked.details) {
        let untold = untold(status.drifts, details);
        details.drifts.retain(|drift| filters.iter().all(|filter| passes(filter, drift)));
        asked.unfiltered =
            [untold.critical, untold.warning, untold.info].iter().map(|count| count.open).sum();
        status.drifts = counted(details, untold);
    }
    if let Some(Ok(listeners)) = &mut asked.listeners {
        listeners.listeners.retain(|listener| filters.iter().all(|filter| listens(filter, listener)));
    }
}

/// What the register has no room for is counted and not told: it may be what the filters are after, so it stays.
fn untold(counts: Counts, details: &Details) -> Counts {
    let is_full = details.drifts.len() >= Register::ROOM;
    let left = |count: Count, severity| {
        let told = details.drifts.iter().filter(|drift| drift.severity == severity).count() as u64;
        Count { open: if is_full { count.open.saturating_sub(told) } else { 0 }, gone: 0 }
    };
    each(|severity| left(counts.of(severity), severity))
}

fn counted(details: &Details, untold: Counts) -> Counts {
    each(|severity| {
        let drifts = || details.drifts.iter().filter(|drift| drift.severity == severity);
        let gone = drifts().filter(|drift| drift.gone_since.is_some()).count() as u64;
        Count { open: untold.of(severity).open.saturating_add(drifts().count() as u64), gone }
    })
}

fn each(count: impl Fn(Severity) -> Count) -> Counts {
    Counts {
        critical: count(Severity::Critical),
        warning: count(Severity::Warning),
        info: count(Severity::Info),
    }
}

fn passes(filter: &Filter, drift: &Drift) -> bool {
    let port = match &drift.port {
        Port::Number(number) => Some(*number),
        Port::Word(_) => None,
    };
    filter.matches(port, |key| of_drift(key, drift))
}

fn of_drift(key: Key, drift: &Drift) -> Vec<String> {
    let all = |texts: &[Told]| texts.iter().map(ToString::to_string).collect();
    match key {
        Key::Protocol => vec![drift.protocol.to_string()],
        Key::Address if drift.address.as_str() == "*" => ["*", "0.0.0.0", "::"].map(str::to_owned).into(),
        Key::Address => vec![drift.address.to_string()],
        Key::Program => all(&drift.programs),
        Key::User => all(&drift.users),
        Key::Workload => all(&drift.workloads),
        Key::Netns => vec![drift.netns.to_string()],
        Key::Reach => drift.reach.iter().map(ToString::to_string).collect(),
        Key::Verdict => vec!["drift".to_owned(), drift.kind.to_string()],
        // Refused where it is given.
        Key::Name => Vec::new(),
    }
}

fn listens(filter: &Filter, listener: &Listener) -> bool {
    filter.matches(Some(listener.port), |key| of_listener(key, listener))
}

fn of_listener(key: Key, listener: &Listener) -> Vec<Told> {
    let one = |text: &Told| vec![text.clone()];
    match key {
        Key::Protocol => one(&listener.protocol),
        Key::Address if matches!(listener.address.as_str(), "0.0.0.0" | "::") => {
            vec![listener.address.clone(), Told::from("*".to_owned())]
        }
        Key::Address => one(&listener.address),
        Key::Program => listener.programs(),
        Key::User => listener.users(),
        Key::Workload => listener.workloads(),
        Key::Netns => one(&listener.netns.name),
        Key::Reach => one(&listener.reach),
        Key::Verdict => one(&listener.verdict)
            .into_iter()
            .chain(listener.drift.iter().map(|drift| drift.kind.clone()))
            .collect(),
        Key::Name => Vec::new(),
    }
}
