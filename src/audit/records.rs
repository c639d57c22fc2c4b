use std::path::PathBuf;

use anyhow::bail;
use ledger::{Broken, Head, HostKeys, Line, Position, Reader, Told, Unverified, Verified};
use serde_json::{Map, Value};

use super::lines::{self, Lines};
use crate::acts;
use crate::page::shown;
use crate::progress::Progress;

/// A log in a folder, and whose signatures are believed in it.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) folder: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) keys: HostKeys,
}

/// Whether a log is whole.
#[derive(Debug)]
pub(crate) enum Soundness {
    Sound(Verified),
    Broken(Box<Broken>),
}

/// What stands in a log.
#[derive(Debug)]
pub(crate) enum Entry {
    Record(Record),
    /// A line that is no record.
    Damaged,
}

/// A record with the fields of its writer and those of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// As it says itself.
    pub(crate) number: u64,
    /// A signature of this host vouches for it.
    pub(crate) vouched: bool,
    pub(crate) fields: Map<String, Value>,
}

impl Log {
    /// Reads all of it. Fails where it cannot be read.
    pub(crate) fn verify(&self) -> anyhow::Result<Soundness> {
        let _progress = Progress::of("verifying signatures and hashes");
        let verified = match self.name {
            acts::LEDGER => ledger::verify_acts(&self.folder, self.name, &self.keys, |_| {}),
            _ => ledger::verify(&self.folder, self.name, &self.keys, |_| {}),
        };
        match verified {
            Ok(verified) => Ok(Soundness::Sound(verified)),
            Err(Unverified::Broken(broken)) => Ok(Soundness::Broken(broken)),
            Err(Unverified::Unread(error)) => Err(error.into()),
        }
    }

    /// What is left out of it: sentences without their full stops.
    pub(crate) fn strangers(&self) -> anyhow::Result<Vec<String>> {
        let strangers = ledger::strangers(&self.folder, self.name)?;
        Ok(strangers.iter().map(|stranger| shown(&stranger.to_string())).collect())
    }

    /// The record with this number and its hash; `None` where there is no such record.
    pub(crate) fn head_at(&self, record: u64) -> anyhow::Result<Option<Head>> {
        let mut reader = Reader::new(&self.folder, self.name, Position::default());
        while let Some(told) = reader.read()? {
            if let Told::Line(line) = told
                && line.record == record
            {
                return Ok(Some(line.position.after));
            }
        }
        Ok(None)
    }

    /// Its records in their order: of a sound log those that were verified, of a broken one all that still can be read.
    pub(crate) fn records(&self, soundness: &Soundness) -> Records<'_> {
        let (vouched, head) = match soundness {
            Soundness::Sound(verified) => (verified.head.record, Some(verified.head)),
            Soundness::Broken(broken) => (broken.good.unwrap_or(0), None),
        };
        let reader = Box::new(Reader::new(&self.folder, self.name, Position::default()));
        Records { log: self, stage: Stage::Vouched { reader, vouched }, head }
    }
}

/// Reads records; memory does not grow with the log.
pub(crate) struct Records<'a> {
    log: &'a Log,
    stage: Stage,
    /// Of a sound log.
    head: Option<Head>,
}

enum Stage {
    /// Up to this record.
    Vouched {
        reader: Box<Reader>,
        vouched: u64,
    },
    Unvouched(Lines),
    Over,
}

impl Records<'_> {
    fn step(&mut self) -> anyhow::Result<Option<Entry>> {
        loop {
            match &mut self.stage {
                Stage::Vouched { reader, vouched } if reader.position().after.record < *vouched => {
                    match reader.read()? {
                        Some(Told::Line(line)) if line.record == *vouched => {
                            let head = line.position.after;
                            if self.head.is_some_and(|verified| verified != head) {
                                self.changed()?;
                            }
                            return Ok(Some(vouched_for(&line)));
                        }
                        Some(Told::Line(line)) => return Ok(Some(vouched_for(&line))),
                        // Dropped before, or meanwhile.
                        Some(Told::Missed { .. }) => {}
                        None => self.changed()?,
                    }
                }
                Stage::Vouched { reader, .. } => {
                    let position = reader.position();
                    self.stage = match self.head {
                        Some(_) => Stage::Over,
                        None => Stage::Unvouched(Lines::behind(&self.log.folder, self.log.name, position)?),
                    };
                }
                Stage::Unvouched(lines) => return Ok(lines.next()?.map(|line| unvouched(&line))),
                Stage::Over => return Ok(None),
            }
        }
    }

    fn changed(&self) -> anyhow::Result<()> {
        let Log { folder, name, .. } = self.log;
        bail!(
            "{}: it was changed while it was read: run this again",
            folder.join(format!("{name}.jsonl")).display()
        )
    }
}

impl Iterator for Records<'_> {
    type Item = anyhow::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            self.stage = Stage::Over;
        }
        step
    }
}

fn vouched_for(line: &Line) -> Entry {
    record(&line.whole, true)
}

fn unvouched(line: &lines::Line) -> Entry {
    match line {
        lines::Line::Whole(bytes) => record(bytes, false),
        lines::Line::Damaged => Entry::Damaged,
    }
}

fn record(line: &[u8], vouched: bool) -> Entry {
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else { return Entry::Damaged };
    match fields.get("record").and_then(Value::as_u64) {
        Some(number) => Entry::Record(Record { number, vouched, fields }),
        None => Entry::Damaged,
    }
}

impl Record {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// Of an object within it.
    pub(crate) fn text_in(&self, field: &str, inner: &str) -> Option<&str> {
        self.fields.get(field)?.get(inner)?.as_str()
    }

    pub(crate) fn texts(&self, field: &str) -> impl Iterator<Item = &str> {
        self.fields.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    pub(crate) fn time(&self) -> Option<jiff::Timestamp> {
        self.text("time")?.parse().ok()
    }
}
