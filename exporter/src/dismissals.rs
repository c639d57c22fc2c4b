use std::path::{Path, PathBuf};
use std::time::SystemTime;

use baseline::{Dismissal, DriftId};
use jiff::Timestamp;
use ledger::{Act, ActKind, Position, Reader, Told, head};

use crate::muffler::Muffler;

/// The ledger of people's acts, which root's verbs write.
const LEDGER: &str = "ledger";

/// Reads in the ledger which drift somebody let be. What it says was said by root: the state folder lets nobody else put
/// a file in its place.
pub(crate) struct Dismissals {
    state: PathBuf,
    position: Position,
    unread: Muffler,
}

impl Dismissals {
    /// `from_start` reads what was written before, too: an earlier process may have ended before it read that.
    pub(crate) fn new(state: &Path, from_start: bool) -> Self {
        let mut dismissals =
            Dismissals { state: state.to_owned(), position: Position::default(), unread: Muffler::default() };
        if !from_start {
            dismissals.skip();
        }
        dismissals
    }

    /// Those that were written since the last time.
    pub(crate) fn read(&mut self) -> Vec<Dismissal> {
        let mut reader = Reader::new(&self.state, LEDGER, self.position);
        let mut found = Vec::new();
        loop {
            match reader.read() {
                Ok(Some(Told::Line(line))) => found.extend(dismissal(&line.body)),
                Ok(Some(Told::Missed { .. })) => {}
                Ok(None) => break,
                Err(error) => {
                    self.unread.say(|| {
                        format!("what was dismissed is not known: {error}; `portledger audit` tells more")
                    });
                    self.skip();
                    return found;
                }
            }
        }
        self.position = reader.position();
        found
    }

    /// Goes on behind the newest record.
    fn skip(&mut self) {
        // Where it cannot be read, reading says so.
        let after = head(&self.state, LEDGER).ok().flatten().unwrap_or_default();
        self.position = Position { after, ..Position::default() };
    }
}

/// All that the ledger in the state folder ever told to let be, for whoever looks where no `serve` runs that reads it. What
/// cannot be read lets nothing be.
pub fn dismissed(state: &Path) -> Vec<Dismissal> {
    Dismissals::new(state, true).read()
}

fn dismissal(body: &[u8]) -> Option<Dismissal> {
    let act: Act = serde_json::from_slice(body).ok().filter(|act: &Act| act.act == ActKind::Dismiss)?;
    let gone_since: Timestamp = act.gone_since?.parse().ok()?;
    let by = act.who.principal.unwrap_or(act.who.user).into();
    let drift = DriftId::from(act.drift?.as_str());
    Some(Dismissal { drift, gone_since: SystemTime::from(gone_since), by })
}

/// A record of the ledger.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    if let Some(dismissal) = dismissal(bytes) {
        assert!(dismissal.drift.as_str().len() <= bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ledger::{HostKey, Keeping, Writer};

    use super::*;

    fn act(folder: &Path, body: &str) {
        let key = HostKey::load_or_create(&folder.join("ledger.key")).unwrap();
        let keeping = Keeping { segment: 1 << 20, segments: None, mode: 0o640, synced: false };
        let mut writer = Writer::open(folder, LEDGER, key, keeping, Duration::ZERO).unwrap();
        writer.append(&[body]).unwrap();
    }

    fn dismissed(drift: &str) -> String {
        format!(
            r#"{{"time":"2026-11-21T09:00:00Z","host":"web","act":"dismiss","who":{{"user":"root","uid":0,"login_uid":null,
                "principal":null,"key":null}},"approval":null,"serial":null,"drift":"{drift}","endpoints":[],"old":null,
                "new":null,"reason":"r","ticket":null,"file":null,"revision":null,"git":null,
                "gone_since":"2026-11-21T08:59:59.896002169Z"}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn tells_what_is_new_and_of_the_past_what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        act(folder.path(), &dismissed("s1-a"));
        let ids = |dismissals: &mut Dismissals| -> Vec<String> {
            dismissals.read().iter().map(|dismissal| dismissal.drift.to_string()).collect()
        };
        let mut all = Dismissals::new(folder.path(), true);
        assert_eq!(ids(&mut all), ["s1-a"]);
        let again = Dismissals::new(folder.path(), true).read();
        assert_eq!(again.iter().map(|dismissal| &*dismissal.by).collect::<Vec<_>>(), ["root"]);
        let mut new = Dismissals::new(folder.path(), false);
        assert_eq!(ids(&mut new), [""; 0]);
        act(folder.path(), &dismissed("s1-b"));
        act(folder.path(), r#"{"act":"approve"}"#);
        assert_eq!(ids(&mut new), ["s1-b"]);
        assert_eq!(ids(&mut all), ["s1-b"]);
        assert_eq!(ids(&mut new), [""; 0]);
    }
}
