use std::path::Path;

use baseline::Register;

use crate::scribe::{MAX_REGISTER, REGISTER};
use crate::state;

/// The drifts that `serve` has open, as it last wrote them down; `None` where it wrote nothing that can be read. The
/// exporter's user could have written anything: it is for people to see, never to decide by.
pub fn open_drifts(state: &Path) -> Option<Register> {
    let content = state::read(state, REGISTER, MAX_REGISTER).ok().flatten()?;
    Register::from_json(&String::from_utf8_lossy(&content)).ok()
}
