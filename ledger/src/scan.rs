//! The lines of a log from file to file, while its writer appends, rotates and drops.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{LineNumber, LogError, fail};
use crate::files::{self, LogFiles};
use crate::head::LineHash;
use crate::line::{MAX_LINE, Parts};
use crate::tail;

/// What stands at the next place.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Line(Parts<'a>, &'a Place),
    /// No record: the log cannot be read further.
    Flaw(Flaw),
    /// A line without its newline, at the end of the current file: it may become whole.
    Unfinished,
    /// All was read that is there by now.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    NoRecord,
    TooLong,
    /// A line without its newline in a file to which nobody appends any more.
    CutOff,
}

/// Where a line begins.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    file: Arc<Opened>,
    /// What the file's name says, or else its first line, once it was read.
    pub(crate) first: Option<u64>,
    pub(crate) offset: u64,
    /// Counted from 1, where the file was read from its start.
    pub(crate) line: Option<u64>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    path: PathBuf,
}

pub(crate) struct Scan {
    files: LogFiles,
    at: Option<At>,
    /// The number of the record that was read last.
    last: u64,
    buffer: Vec<u8>,
}

struct At {
    reader: BufReader<FromOffset>,
    /// Of the line that comes next.
    place: Place,
    /// Of the line that was read last.
    read: Place,
    /// It was no longer the current file when it was last read to its end: what it has is all.
    over: bool,
}

/// Reads without moving anybody else's place in the file.
struct FromOffset {
    file: Arc<Opened>,
    offset: u64,
}

impl Read for FromOffset {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.file.read_at(buffer, self.offset)?;
        self.offset += as_u64(read);
        Ok(read)
    }
}

impl Scan {
    /// From the oldest record there is.
    pub(crate) fn new(files: LogFiles) -> Self {
        Scan { files, at: None, last: 0, buffer: Vec::new() }
    }

    /// Goes to this place in the file that begins with this record; false where the line before it is not the one with
    /// this hash.
    pub(crate) fn seek_behind(&mut self, first: u64, offset: u64, line: LineHash) -> Result<bool, LogError> {
        match self.open_first(first)? {
            Some((path, file)) if tail::line_before(&path, &file, offset)? == Some(line) => {
                self.go_to(path, file, first, offset);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Goes to the segment in which this record is, or was; to the oldest file where there is no such segment.
    pub(crate) fn seek_near(&mut self, record: u64) -> Result<(), LogError> {
        let segments = self.files.segments()?;
        if let Some(first) = segments.iter().rfind(|first| **first <= record)
            && let Some((path, file)) = self.open_first(*first)?
        {
            self.go_to(path, file, *first, 0);
        }
        Ok(())
    }

    fn go_to(&mut self, path: PathBuf, file: File, first: u64, offset: u64) {
        let line = (offset == 0).then_some(1);
        self.rewind(&Place { file: Arc::new(Opened { file, path }), first: Some(first), offset, line });
    }

    /// The file that begins with this record.
    fn open_first(&self, first: u64) -> Result<Option<(PathBuf, File)>, LogError> {
        let path = self.files.segment(first);
        if self.files.segments()?.contains(&first)
            && let Some(file) = files::open_to_read(&path)?
        {
            return Ok(Some((path, file)));
        }
        let path = self.files.current();
        match files::open_to_read(&path)? {
            Some(file) if tail::first_record(&path, &file)? == Some(first) => Ok(Some((path, file))),
            _ => Ok(None),
        }
    }

    /// Reads on from here.
    pub(crate) fn rewind(&mut self, place: &Place) {
        let reader = FromOffset { file: place.file.clone(), offset: place.offset };
        let reader = BufReader::with_capacity(BUFFER, reader);
        self.at = Some(At { reader, place: place.clone(), read: place.clone(), over: false });
    }

    /// Where the last line that was read begins.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.at.as_ref().map(|at| &at.read)
    }

    /// Where the next one does.
    pub(crate) fn next_place(&self) -> Option<&Place> {
        self.at.as_ref().map(|at| &at.place)
    }

    pub(crate) fn step(&mut self) -> Result<Step<'_>, LogError> {
        let read = self.read_on()?;
        let Some(at) = &mut self.at else {
            return Ok(Step::End);
        };
        Ok(match read {
            ReadLine::Line => match Parts::of(&self.buffer[..self.buffer.len() - 1]) {
                Some(parts) => {
                    at.place.first.get_or_insert(parts.record);
                    self.last = parts.record;
                    Step::Line(parts, &at.read)
                }
                None => Step::Flaw(Flaw::NoRecord),
            },
            ReadLine::TooLong => Step::Flaw(Flaw::TooLong),
            ReadLine::Unfinished if at.over => Step::Flaw(Flaw::CutOff),
            ReadLine::Unfinished => Step::Unfinished,
            ReadLine::End => Step::End,
        })
    }

    /// Reads a line into the buffer, from the next file where one has ended.
    fn read_on(&mut self) -> Result<ReadLine, LogError> {
        loop {
            let Some(at) = &mut self.at else {
                match self.open_after(0)? {
                    true => continue,
                    false => return Ok(ReadLine::End),
                }
            };
            at.read = at.place.clone();
            let read = read_line(&mut at.reader, &mut self.buffer).map_err(fail(at.place.path(), "read"))?;
            match read {
                ReadLine::Line => {
                    at.place = at.place.after(self.buffer.len());
                    return Ok(read);
                }
                ReadLine::End if at.over => {
                    let first = at.place.first.unwrap_or(self.last);
                    if !self.open_after(first)? {
                        return Ok(read);
                    }
                }
                ReadLine::TooLong => return Ok(read),
                ReadLine::Unfinished if at.over => return Ok(read),
                ReadLine::End | ReadLine::Unfinished => {
                    let place = at.place.clone();
                    let over = !is_at(&place.file.file, &self.files.current())?;
                    self.rewind(&place);
                    match &mut self.at {
                        Some(at) if over => at.over = true,
                        _ => return Ok(read),
                    }
                }
            }
        }
    }

    /// The next signed record in the file of this place. A batch is one write, but not one read: `None` where more of it
    /// may come.
    pub(crate) fn vouched_for_by(&self, from: &Place) -> Result<Option<u64>, LogError> {
        let over = !is_at(&from.file.file, &self.files.current())?;
        let reader = FromOffset { file: from.file.clone(), offset: from.offset };
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let (mut place, mut buffer) = (from.clone(), Vec::new());
        loop {
            let read = read_line(&mut reader, &mut buffer).map_err(fail(from.path(), "read"))?;
            let parts = Parts::of(buffer.strip_suffix(b"\n").unwrap_or_default());
            match (read, parts) {
                (ReadLine::Line, Some(Parts { signature: Some(_), record, .. })) => return Ok(Some(record)),
                (ReadLine::Line, Some(_)) => place = place.after(buffer.len()),
                (ReadLine::Line, None) => return Err(place.damaged(&Flaw::NoRecord)),
                (ReadLine::TooLong, _) => return Err(place.damaged(&Flaw::TooLong)),
                _ if over => return Err(place.damaged(&Flaw::CutOff)),
                _ => return Ok(None),
            }
        }
    }

    /// Opens the file that follows the one with this first record, if there is one.
    fn open_after(&mut self, first: u64) -> Result<bool, LogError> {
        loop {
            let next = self.files.segments()?.into_iter().find(|segment| *segment > first);
            let path = next.map_or_else(|| self.files.current(), |next| self.files.segment(next));
            let file = files::open_to_read(&path)?;
            // What was current may have become a segment meanwhile, and a segment may have been dropped.
            if next.is_none() && self.files.segments()?.iter().any(|segment| *segment > first) {
                continue;
            }
            match (file, next) {
                (Some(file), _) => {
                    self.rewind(&Place {
                        file: Arc::new(Opened { file, path }),
                        first: next,
                        offset: 0,
                        line: Some(1),
                    });
                    return Ok(true);
                }
                (None, Some(_)) => {}
                (None, None) => return Ok(false),
            }
        }
    }
}

impl Place {
    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Where the line behind this one begins, which has so many bytes with its newline.
    pub(crate) fn after(&self, length: usize) -> Place {
        let (offset, line) = (self.offset + as_u64(length), self.line.map(|line| line + 1));
        Place { offset, line, ..self.clone() }
    }

    pub(crate) fn damaged(&self, what: &impl ToString) -> LogError {
        let line = self.line.map_or(LineNumber::AtByte(self.offset), LineNumber::At);
        LogError::Damaged { path: self.path().to_owned(), line, what: what.to_string() }
    }

    /// Whether both are in one file.
    pub(crate) fn is_beside(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }
}

const BUFFER: usize = 256 << 10;

enum ReadLine {
    /// With its newline.
    Line,
    Unfinished,
    TooLong,
    End,
}

fn read_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<ReadLine> {
    buffer.clear();
    let most = MAX_LINE + 1;
    reader.take(as_u64(most)).read_until(b'\n', buffer)?;
    Ok(match buffer.last() {
        None => ReadLine::End,
        Some(b'\n') => ReadLine::Line,
        Some(_) if buffer.len() >= most => ReadLine::TooLong,
        Some(_) => ReadLine::Unfinished,
    })
}

fn is_at(file: &File, path: &Path) -> Result<bool, LogError> {
    let ours = files::meta(path, file)?;
    Ok(files::meta_at(path)?.is_some_and(|there| files::is_same(&there, &ours)))
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
