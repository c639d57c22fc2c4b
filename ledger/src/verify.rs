use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::error::LogError;
use crate::files::LogFiles;
use crate::head::Head;
use crate::keys::{Distrust, HostKeys};
use crate::line::{MAX_LINE, Parts};
use crate::scan::{Flaw, Place, Scan, Step};
use crate::writer::NAMESPACE;

/// What a whole log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The oldest record there is, 0 where there is none: 1, or that by which the oldest segment is named. Those before
    /// were dropped; nothing here says whether rightly.
    pub first: u64,
    /// The newest, which is signed. Whether there were more once, only who kept a later head can tell.
    pub head: Head,
    /// How many.
    pub records: u64,
    /// Bytes follow that were never acknowledged: a writer is at work, or was killed.
    pub unfinished: bool,
    /// Which keys signed, oldest first.
    pub keys: Vec<KeyUse>,
}

/// From when on a key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// `SHA256:…`
    pub fingerprint: String,
    /// Its first signed record since another key's.
    pub from: u64,
}

/// A log that was changed, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: record {record}: {why}; {}", .path.display(), line_of(*.line), last_good(*.good))]
pub struct Broken {
    /// In which file the first record that cannot be vouched for stands, or should.
    pub path: PathBuf,
    /// Its line, counted from 1; `None` behind the last one.
    pub line: Option<u64>,
    /// Its number.
    pub record: u64,
    /// What gives it away.
    pub why: Why,
    /// The last record that is vouched for.
    pub good: Option<u64>,
}

fn line_of(line: Option<u64>) -> String {
    line.map_or_else(|| " at its end".to_owned(), |line| format!(", line {line}"))
}

fn last_good(good: Option<u64>) -> String {
    good.map_or_else(
        || "no record before it can be vouched for".to_owned(),
        |good| format!("the last that can be vouched for is record {good}"),
    )
}

/// What gives a change away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No writer of this log wrote that.
    #[error("a line is no record: it was changed or put there")]
    NotARecord,
    /// Likewise.
    #[error("a line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// A file that nobody appends to any more ends within a line.
    #[error("a file ends within a line: its end was cut off")]
    CutOff,
    /// Records are missing, were put in or changed places.
    #[error("where record {expected} belongs stands {found}: records were removed, put in or exchanged")]
    Number {
        /// What belongs there.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// A record does not carry the hash of the one before.
    #[error("a record and the one before it do not belong together: one of both was changed")]
    Link,
    /// The signature of a record vouches for nothing.
    #[error("{0}")]
    Signature(Distrust),
    /// Nothing vouches for the last records.
    #[error("the end is not signed: it was cut off or added to")]
    Unsigned,
}

/// Why a log is not known to be whole.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// It was changed.
    #[error(transparent)]
    Broken(Box<Broken>),
    /// It could not be read.
    #[error(transparent)]
    Unread(#[from] LogError),
}

/// How long a writer may take for what is left of a batch, and how often it may drop what is about to be read.
const PATIENCE: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);
/// How many records there are between two calls of `progress`.
const STRIDE: u64 = 4096;
/// What signatures by the same key have in common: 120 bytes of names and the key, as base64.
const SAME: usize = 160;

/// Reads a whole log: numbers, links, and those signatures that vouch for the rest. A log of no record is whole.
/// `progress` is told now and then how many records were read. Memory does not grow with the log, and a writer may
/// be at work meanwhile.
pub fn verify(
    folder: &Path,
    name: &str,
    keys: &HostKeys,
    progress: impl FnMut(u64),
) -> Result<Verified, Unverified> {
    let files = LogFiles::new(folder, name);
    let mut chain = Chain::new(keys, progress);
    match chain.follow(&files)? {
        None => Ok(Verified {
            first: chain.first,
            head: chain.last,
            records: chain.records,
            unfinished: chain.unfinished,
            keys: chain.used,
        }),
        Some(stop) => Err(Unverified::Broken(Box::new(chain.first_bad(&files, stop)?))),
    }
}

/// Where the chain is torn, and how.
struct Stop {
    place: Option<Place>,
    record: u64,
    why: Why,
}

/// What was read so far, all of which hangs together.
struct Chain<'a, P> {
    keys: &'a HostKeys,
    progress: P,
    first: u64,
    last: Head,
    records: u64,
    unfinished: bool,
    used: Vec<KeyUse>,
    /// How signatures by the key begin that signed last.
    alike: Vec<u8>,
    signed: Signed,
    /// Where the last line stands.
    place: Option<Place>,
}

/// The last signed record.
#[derive(Default)]
struct Signed {
    head: Head,
    records: u64,
    line: Vec<u8>,
    /// Where the next line begins.
    next: Option<Place>,
}

impl<'a, P: FnMut(u64)> Chain<'a, P> {
    fn new(keys: &'a HostKeys, progress: P) -> Self {
        let (first, records, unfinished, last, signed) = Default::default();
        let (used, alike, place) = Default::default();
        Chain { keys, progress, first, last, records, unfinished, used, alike, signed, place }
    }

    /// To the end, or to where the chain is torn.
    fn follow(&mut self, files: &LogFiles) -> Result<Option<Stop>, LogError> {
        let mut scan = Scan::new(files.clone());
        'again: for patience in (0..=PATIENCE).rev() {
            let (place, why) = loop {
                match scan.step()? {
                    Step::Line(parts, place) => match self.take(parts, place) {
                        Some(stop) if patience > 0 && was_overtaken(files, &stop)? => {
                            self.forget();
                            scan = Scan::new(files.clone());
                            continue 'again;
                        }
                        Some(stop) => return Ok(Some(stop)),
                        None => {}
                    },
                    Step::Flaw(flaw) => break (scan.place().cloned(), Some(Why::from(flaw))),
                    Step::Unfinished => {
                        self.unfinished = true;
                        self.forget_unsigned();
                        break (None, None);
                    }
                    Step::End => break (None, None),
                }
            };
            if let Some(why) = why {
                return Ok(Some(Stop { place, record: self.last.record + 1, why }));
            }
            if self.is_signed() {
                return Ok(self.check_signed());
            }
            if patience > 0 {
                thread::sleep(PAUSE);
                self.forget_unsigned();
                match &self.signed.next {
                    Some(next) => scan.rewind(next),
                    None => scan = Scan::new(files.clone()),
                }
            }
        }
        Ok(Some(self.unsigned()))
    }

    fn take(&mut self, parts: Parts<'_>, place: &Place) -> Option<Stop> {
        if self.place.as_ref().is_some_and(|last| !last.is_beside(place)) {
            let stop = if self.is_signed() { self.check_signed() } else { Some(self.unsigned()) };
            if stop.is_some() {
                return stop;
            }
        }
        let stop = |record, why| Some(Stop { place: Some(place.clone()), record, why });
        // What was dropped were whole segments, and the writer never drops the newest of them.
        let expected = match self.records {
            0 => place.first.unwrap_or(1),
            _ => self.last.record + 1,
        };
        if parts.record != expected {
            return stop(expected, Why::Number { expected, found: parts.record });
        }
        let is_first = self.records == 0 && expected > 1;
        if parts.previous != self.last.hash && !is_first {
            return stop(expected, Why::Link);
        }
        let head = Head { record: expected, hash: parts.hash() };
        if let Some(signature) = parts.signature {
            if !is_like(signature, &self.alike) {
                // What the key before vouched for, the new one does not: whoever has that could write it anew.
                if self.signed.records > 0
                    && let Some(stop) = self.check_signed()
                {
                    return Some(stop);
                }
                if let Err(why) = self.change_key(parts, signature) {
                    return stop(expected, Why::Signature(why));
                }
            }
            let signed = &mut self.signed;
            (signed.head, signed.records) = (head, self.records + 1);
            signed.line.clear();
            signed.line.extend_from_slice(parts.whole);
            signed.next = Some(place.after(parts.whole.len() + 1));
        }
        if self.records == 0 {
            self.first = expected;
        }
        self.last = head;
        self.records += 1;
        self.place = Some(place.clone());
        if self.records.is_multiple_of(STRIDE) {
            (self.progress)(self.records);
        }
        None
    }

    fn change_key(&mut self, parts: Parts<'_>, signature: &str) -> Result<(), Distrust> {
        let fingerprint = self.keys.verify(NAMESPACE, &parts.message(), signature)?;
        if self.used.last().is_some_and(|newer| self.keys.is_older(&fingerprint, &newer.fingerprint)) {
            return Err(Distrust::OutOfTurn(fingerprint));
        }
        self.alike = signature.bytes().take(SAME).collect();
        self.used.push(KeyUse { fingerprint, from: parts.record });
        Ok(())
    }

    fn is_signed(&self) -> bool {
        self.last == self.signed.head
    }

    fn check_signed(&self) -> Option<Stop> {
        let parts = Parts::of(&self.signed.line)?;
        let why = signature_of(self.keys, parts)?.err()?;
        Some(Stop { place: self.place.clone(), record: parts.record, why: Why::Signature(why) })
    }

    fn unsigned(&self) -> Stop {
        Stop { place: self.place.clone(), record: self.last.record, why: Why::Unsigned }
    }

    /// Goes back to the last signed record: what follows was not acknowledged.
    fn forget_unsigned(&mut self) {
        (self.last, self.records) = (self.signed.head, self.signed.records);
        if self.records == 0 {
            self.forget();
        }
    }

    fn forget(&mut self) {
        (self.first, self.records, self.last, self.unfinished) = Default::default();
        (self.used, self.alike, self.signed, self.place) = Default::default();
    }

    /// A signature that holds vouches for all before it: behind the last that holds is the first bad record.
    fn first_bad(&self, files: &LogFiles, stop: Stop) -> Result<Broken, LogError> {
        let coarse = self.sweep(files, None, (self.records / SAMPLES).max(1))?;
        let fine = self.sweep(files, coarse.good, 1)?;
        let good = fine.good;
        let (place, record, why) = match good {
            Some(good) if good == self.last.record => (stop.place, stop.record, stop.why),
            None if self.records == 0 => (stop.place, stop.record, stop.why),
            _ => {
                let record = good.map_or(self.first, |good| good + 1);
                (fine.next, record, fine.bad.map_or(stop.why, Why::Signature))
            }
        };
        let path = place.as_ref().map_or_else(|| files.current(), |place| place.path().to_owned());
        Ok(Broken { path, line: place.and_then(|place| place.line), record, why, good })
    }

    /// Holds every so many signatures behind this record against the keys, up to the first that does not hold.
    fn sweep(&self, files: &LogFiles, good: Option<u64>, stride: u64) -> Result<Swept, LogError> {
        let mut swept = Swept { good, bad: None, next: None };
        let (mut scan, mut signed) = (Scan::new(files.clone()), 0);
        for _ in 0..self.records {
            let Step::Line(parts, place) = scan.step()? else {
                break;
            };
            if good.is_some_and(|good| parts.record <= good) {
                continue;
            }
            if parts.record > self.last.record {
                break;
            }
            swept.next.get_or_insert_with(|| place.clone());
            signed += u64::from(parts.signature.is_some());
            if parts.signature.is_none() || !signed.is_multiple_of(stride) {
                continue;
            }
            match signature_of(self.keys, parts) {
                Some(Err(why)) => {
                    swept.bad = Some(why);
                    break;
                }
                _ => (swept.good, swept.next) = (Some(parts.record), None),
            }
        }
        Ok(swept)
    }
}

/// Whether segments were dropped meanwhile, up to the one at hand: nothing older is left.
fn was_overtaken(files: &LogFiles, stop: &Stop) -> Result<bool, LogError> {
    let Why::Number { expected, found } = stop.why else {
        return Ok(false);
    };
    Ok(found > expected && files.segments()?.first().is_none_or(|oldest| *oldest >= found))
}

/// How many signatures are tried before those between two of them.
const SAMPLES: u64 = 1024;

struct Swept {
    /// The last signed record that holds.
    good: Option<u64>,
    /// What is wrong with the first that does not.
    bad: Option<Distrust>,
    /// Where the first record behind the good one stands.
    next: Option<Place>,
}

fn signature_of(keys: &HostKeys, parts: Parts<'_>) -> Option<Result<String, Distrust>> {
    Some(keys.verify(NAMESPACE, &parts.message(), parts.signature?))
}

fn is_like(signature: &str, alike: &[u8]) -> bool {
    !alike.is_empty() && signature.as_bytes().starts_with(alike)
}

impl From<Flaw> for Why {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::NoRecord => Why::NotARecord,
            Flaw::TooLong => Why::TooLong,
            Flaw::CutOff => Why::CutOff,
        }
    }
}

#[cfg(test)]
mod tests;
