//! Where to go on in a log that cannot be read on in its order: somebody damaged, cut or replaced it. What stands behind the
//! damage is exported all the same; that the chain is broken is the matter of those who verify it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ledger::{Head, LineHash, MAX_LINE, Position};
use rustix::fs::OFlags;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::receiver::Log;

/// Where a log goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resumed {
    /// With these records, in this order; at least one.
    With(Vec<Found>),
    /// The record that was read last is not in it: it is another log, to be read from its start.
    Anew,
    /// There is nothing behind the damage yet.
    Nowhere,
}

/// A record, as it stands in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) line: Vec<u8>,
    /// Behind it.
    pub(crate) position: Position,
}

/// How much is taken at once, in bytes; at least a record.
const MAX_FOUND: usize = 256 << 10;

/// The records that follow this one, whatever stands in between. A batch of which no record is signed is not there yet.
pub(crate) fn behind(folder: &Path, log: Log, after: Head) -> io::Result<Resumed> {
    let mut search = Search { after, read: Read::Nothing, found: Vec::new(), bytes: 0, acknowledged: 0 };
    for path in files(folder, log)? {
        // It may have been dropped meanwhile.
        let Some(file) = open(&path)? else { continue };
        if search.file(BufReader::with_capacity(MAX_FOUND, file))? {
            break;
        }
    }
    search.found.truncate(search.acknowledged);
    Ok(match search.read {
        Read::Older | Read::Another => Resumed::Anew,
        _ if search.found.is_empty() => Resumed::Nowhere,
        _ => Resumed::With(search.found),
    })
}

/// The older segments by their first record, then the current file.
fn files(folder: &Path, log: Log) -> io::Result<Vec<PathBuf>> {
    let current = format!("{}.jsonl", log.as_str());
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let first =
            name.to_str().and_then(|name| name.strip_prefix(&current)?.strip_prefix('.')?.parse().ok());
        segments.extend(first.map(|first: u64| (first, folder.join(&name))));
    }
    segments.sort_unstable();
    Ok(segments.into_iter().map(|(_, path)| path).chain([folder.join(current)]).collect())
}

fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

struct Search {
    after: Head,
    read: Read,
    found: Vec<Found>,
    bytes: usize,
    /// How many of those that were found a signed one vouches for.
    acknowledged: usize,
}

/// What was read by now, as to the record that was read last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Nothing,
    /// Only records before it.
    Older,
    /// Another of its number.
    Another,
    /// Itself, or newer ones and none of its number, which may be damaged: nothing contradicts.
    Behind,
}

/// The chain's fields of a line.
#[derive(Deserialize)]
struct Chain {
    record: u64,
    #[serde(rename = "previous")]
    _previous: LineHash,
    signature: Option<IgnoredAny>,
}

impl Search {
    /// True where that is enough.
    fn file(&mut self, mut file: impl BufRead) -> io::Result<bool> {
        let (mut offset, mut first, mut line) = (0, None, Vec::new());
        loop {
            line.clear();
            let most = u64::try_from(MAX_LINE + 1).unwrap_or(u64::MAX);
            let read = file.by_ref().take(most).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(false);
            }
            offset += u64::try_from(read).unwrap_or(u64::MAX);
            // What is longer than a line comes in pieces, none of which is a record.
            let Some(whole) = line.strip_suffix(b"\n") else { continue };
            let Ok(chain) = serde_json::from_slice::<Chain>(whole) else { continue };
            let segment = *first.get_or_insert(chain.record);
            self.line(whole, &chain, segment, offset);
            if self.bytes >= MAX_FOUND && self.acknowledged > 0 {
                return Ok(true);
            }
        }
    }

    fn line(&mut self, whole: &[u8], chain: &Chain, segment: u64, offset: u64) {
        let head = Head { record: chain.record, hash: LineHash(Sha256::digest(whole).into()) };
        self.read = match self.read {
            Read::Another if head != self.after => Read::Another,
            Read::Behind => Read::Behind,
            _ if head == self.after || head.record > self.after.record => Read::Behind,
            _ if head.record == self.after.record => Read::Another,
            _ => Read::Older,
        };
        if self.read != Read::Behind {
            return;
        }
        let last = self.found.last().map_or(self.after.record, |found| found.position.after.record);
        // What a batch without end has is not kept for ever.
        if head.record <= last || self.bytes >= 2 * MAX_FOUND + MAX_LINE {
            return;
        }
        self.bytes += whole.len();
        let position = Position { after: head, segment, offset };
        self.found.push(Found { line: whole.to_owned(), position });
        if chain.signature.is_some() {
            self.acknowledged = self.found.len();
        }
    }
}

#[cfg(test)]
mod tests;
