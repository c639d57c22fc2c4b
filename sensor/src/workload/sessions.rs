use inventory::{RawText, Session};

use super::files::Files;

/// What systemd-logind keeps of a session in /run/systemd/sessions/ID. `None` where not even the user is known.
pub(super) fn session(files: &Files, id: &RawText, uid_of_slice: Option<u32>) -> Option<Session> {
    let state = file_name(id).and_then(|name| files.read(&format!("run/systemd/sessions/{name}")));
    let state = state.unwrap_or_default();
    let uid = value_of(&state, "UID").and_then(|uid| std::str::from_utf8(uid).ok()?.parse().ok());
    let from = value_of(&state, "REMOTE_HOST").or_else(|| value_of(&state, "TTY"));
    Some(Session { id: id.clone(), uid: uid.or(uid_of_slice)?, from: from.map(RawText::new) })
}

/// Logind's names are letters and digits; anything else leads nowhere.
fn file_name(id: &RawText) -> Option<&str> {
    let name = std::str::from_utf8(id.as_bytes()).ok()?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(name)
}

fn value_of<'a>(state: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut lines = state.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(key.as_bytes())?.strip_prefix(b"="))?;
    (!value.is_empty()).then_some(value)
}
