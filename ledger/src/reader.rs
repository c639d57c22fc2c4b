use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::LogError;
use crate::files::LogFiles;
use crate::head::{Head, LineHash};
use crate::line::{MAX_LINE, Parts};
use crate::scan::{Flaw, Place, Scan, Step};
use crate::tail;

/// How far a log was read. Kept over restarts, it makes a [`Reader`] go on there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The last record that was read; number 0 where there was none.
    pub after: Head,
    /// The first record of the file in which the next is looked for first.
    pub segment: u64,
    /// Where in it, in bytes.
    pub offset: u64,
}

/// A record, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub record: u64,
    /// The hash of the line before.
    pub previous: LineHash,
    /// SSHSIG as base64 on one line; where there is none, a later record of the same batch has one.
    pub signature: Option<String>,
    /// The writer's object, without the chain's fields.
    pub body: Vec<u8>,
    /// All of it, without the newline.
    pub whole: Vec<u8>,
    /// Where to go on after it.
    pub position: Position,
}

/// What a reader tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The next record.
    Line(Box<Line>),
    /// These records were not read and are gone: their segments were dropped.
    Missed {
        /// The first of them.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// Reads a log in its order, and what is appended later. Each record that it tells was acknowledged and hangs on the one
/// before; who signed is the matter of [`verify`](crate::verify()).
pub struct Reader {
    files: LogFiles,
    scan: Option<Scan>,
    position: Position,
    /// A signed record up to which all was acknowledged.
    vouched: u64,
    /// Records before the next were missed: its link leads to nothing that is known.
    missed: bool,
    /// The scan is behind the last record that was read.
    found: bool,
}

impl Reader {
    /// Begins after what was read before: with the oldest record where `from` is the default. The log need not exist yet.
    pub fn new(folder: &Path, name: &str, from: Position) -> Self {
        Reader {
            files: LogFiles::new(folder, name),
            scan: None,
            position: from,
            vouched: 0,
            missed: false,
            found: false,
        }
    }

    /// How far it has read.
    pub fn position(&self) -> Position {
        self.position
    }

    /// What comes next; `None` where all that is there by now was read. It may be called again at any time. After an error
    /// it begins anew behind the last record that it told.
    pub fn read(&mut self) -> Result<Option<Told>, LogError> {
        let mut scan = match self.scan.take() {
            Some(scan) => scan,
            None => self.find()?,
        };
        let told = self.next(&mut scan)?;
        self.scan = Some(scan);
        Ok(told)
    }

    fn find(&mut self) -> Result<Scan, LogError> {
        let mut scan = Scan::new(self.files.clone());
        let Position { after, segment, offset } = self.position;
        self.vouched = 0;
        self.found = after.record == 0 || scan.seek_behind(segment, offset, after.hash)?;
        if !self.found {
            scan.seek_near(after.record)?;
        }
        Ok(scan)
    }

    fn next(&mut self, scan: &mut Scan) -> Result<Option<Told>, LogError> {
        let after = self.position.after;
        loop {
            let line = match scan.step()? {
                Step::Line(parts, _) => Line::of(parts),
                Step::Flaw(flaw) => {
                    return scan.place().map_or(Ok(None), |place| Err(place.damaged(&flaw)));
                }
                Step::End | Step::Unfinished if self.found => return Ok(None),
                Step::End | Step::Unfinished => {
                    return Err(LogError::Rewritten { path: self.files.current(), record: after.record });
                }
            };
            let Some(here) = scan.place().cloned() else {
                return Ok(None);
            };
            if line.record > after.record {
                return self.tell(scan, &here, line);
            }
            let head = Head { record: line.record, hash: crate::line::hash(&line.whole) };
            if self.found || (line.record == after.record && head != after) {
                return Err(rewritten(&here, line.record));
            }
            self.found = line.record == after.record;
        }
    }

    /// A record after those that were read.
    fn tell(&mut self, scan: &mut Scan, here: &Place, mut line: Line) -> Result<Option<Told>, LogError> {
        let after = self.position.after;
        self.found = true;
        if line.record > after.record + 1 && !self.missed {
            if here.offset > 0 {
                return Err(here.damaged(&format!("record {} follows record {}", line.record, after.record)));
            }
            self.missed = true;
            scan.rewind(here);
            return Ok(Some(Told::Missed { from: after.record + 1, to: line.record - 1 }));
        }
        if line.previous != after.hash && !self.missed {
            return Err(rewritten(here, line.record));
        }
        if line.signature.is_none() && line.record > self.vouched {
            let Some(record) = scan.vouched_for_by(here)? else {
                scan.rewind(here);
                return Ok(None);
            };
            self.vouched = record;
        }
        if let Some(next) = scan.next_place() {
            let after = Head { record: line.record, hash: crate::line::hash(&line.whole) };
            line.position =
                Position { after, segment: next.first.unwrap_or(line.record), offset: next.offset };
        }
        self.missed = false;
        self.position = line.position;
        Ok(Some(Told::Line(Box::new(line))))
    }
}

impl Line {
    fn of(parts: Parts<'_>) -> Self {
        Line {
            record: parts.record,
            previous: parts.previous,
            signature: parts.signature.map(str::to_owned),
            body: parts.body(),
            whole: parts.whole.to_owned(),
            position: Position::default(),
        }
    }
}

/// The newest signed record, found at the end of the files; `None` where there is none. Proves nothing: see
/// [`verify`](crate::verify()).
pub fn last(folder: &Path, name: &str) -> Result<Option<Line>, LogError> {
    let end = tail::newest(&LogFiles::new(folder, name))?;
    Ok(end.and_then(|end| Parts::of(&end.line).map(Line::of)))
}

fn rewritten(here: &Place, record: u64) -> LogError {
    LogError::Rewritten { path: here.path().to_owned(), record }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Flaw::NoRecord => to.write_str("it is no record"),
            Flaw::TooLong => write!(to, "it is longer than {MAX_LINE} bytes"),
            Flaw::CutOff => to.write_str("its end is missing"),
        }
    }
}

#[cfg(test)]
mod tests;
