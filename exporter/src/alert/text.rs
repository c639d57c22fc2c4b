use baseline::{Drift, DriftKind, Severity};
use inventory::{RawText, quoted, quoted_list};

use super::Alert;

pub(super) fn escaped(text: &str) -> String {
    RawText::from(text).escaped()
}

/// The processes above it, and the login that they belong to.
pub(super) fn started_by(drift: &Drift) -> Option<String> {
    let by = drift.started_by()?;
    let chain = by.parents.iter().map(|parent| format!("{} {}", parent.name.quoted(), parent.pid));
    let chain = chain.collect::<Vec<_>>().join(", below ");
    let session = by.session.as_ref().map(|session| {
        let from = session.from.as_ref().map(|from| format!(" from {}", from.quoted())).unwrap_or_default();
        let user = by.user.as_deref().map(|user| RawText::from(user).quoted());
        let user = user.unwrap_or_else(|| format!("uid {}", session.uid));
        format!("session {} of {user}{from}", session.id.quoted())
    });
    let parts: Vec<String> =
        Some(chain).filter(|chain| !chain.is_empty()).into_iter().chain(session).collect();
    Some(parts.join("; ")).filter(|text| !text.is_empty())
}

/// As chats and mails take it for nothing but text: what would be markup, a mention or a link there is not any more. The rules
/// in monitoring/rules/drift.yml replace the same.
pub(super) fn plain(text: &str) -> String {
    let text: String =
        text.chars().map(|letter| if "<>`".contains(letter) { '\'' } else { letter }).collect();
    text.replace("://", ":/ /").replace("](", "] (")
}

pub(super) fn description(alert: &Alert) -> String {
    let lines = [
        Some(who(alert)),
        started(alert),
        Some(why(alert)),
        Some(when(alert)),
        Some(look(alert)),
        next(alert),
    ];
    lines.into_iter().flatten().map(|line| plain(&line)).collect::<Vec<_>>().join("\n")
}

fn who(alert: &Alert) -> String {
    let or = |name: &str, nobody: &str| if name.is_empty() { nobody.to_owned() } else { quoted_list(name) };
    let program = or(&alert.program, "No process that could be named");
    let mut of = vec![format!("user {}", or(&alert.user, "unknown"))];
    if !alert.workload.is_empty() {
        of.push(quoted_list(&alert.workload));
    }
    let of = of.join(", ");
    let netns = if alert.netns == "host" {
        String::new()
    } else {
        format!(" in network namespace {}", quoted(&alert.netns))
    };
    let reach = if alert.reach.is_empty() { String::new() } else { format!(", reach {}", alert.reach) };
    let kind = alert.kind.as_str().replace('_', " ");
    format!(
        "{program} ({of}): {kind} {} {} port {}{netns}{reach}.",
        alert.protocol, alert.address, alert.port
    )
}

fn started(alert: &Alert) -> Option<String> {
    alert.started_by.as_ref().map(|chain| format!("Started by: {chain}."))
}

fn why(alert: &Alert) -> String {
    let differs = alert.differs.join("; ");
    match &alert.approval {
        Some(approval) => format!("Nearest approval {}: {differs}.", quoted(approval)),
        None => format!("Why: {differs}."),
    }
}

fn when(alert: &Alert) -> String {
    let since = &alert.first_seen;
    match &alert.gone_since {
        None => format!("Since {since}, still there."),
        Some(gone) if alert.severity == Severity::Critical => {
            format!("First seen {since}, gone since {gone}. This stays until somebody dismisses it.")
        }
        Some(gone) => format!(
            "First seen {since}, gone since {gone}. This ends a day after that, or when somebody dismisses it."
        ),
    }
}

fn look(alert: &Alert) -> String {
    match alert.is_many() {
        true => format!("They differ in port alone. Look: sudo portledger show {}", shell(&alert.drift)),
        false => format!("Look: sudo portledger show {}", shell(&alert.drift)),
    }
}

/// What ends it. Of what is critical nobody is offered to approve it in passing.
fn next(alert: &Alert) -> Option<String> {
    let drift = shell(&alert.drift);
    let text = match (alert.kind, alert.severity) {
        (DriftKind::Missing, _) if alert.is_many() => "Start what is missing.".to_owned(),
        (DriftKind::Missing, _) => {
            format!("Start it, or withdraw its approval: sudo portledger revoke {drift} --reason …")
        }
        _ if alert.gone_since.is_some() => {
            format!("Find out what it was. Then: sudo portledger dismiss {drift} --reason …")
        }
        (_, Severity::Critical) => "Find out who started it; stop it if nobody can say.".to_owned(),
        _ if alert.is_many() => return None,
        _ => format!("Stop it, or approve it: sudo portledger approve {drift} --reason …"),
    };
    Some(text)
}

/// As one word of a shell: an approval's id, too, is somebody's choice.
pub(super) fn shell(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    match !word.is_empty() && !word.starts_with('-') && word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
