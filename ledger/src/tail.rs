//! The end of a file, read backwards: it tells the newest record however long the log is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{LineNumber, LogError, fail};
use crate::files::{LogFiles, meta, open_to_read};
use crate::head::{Head, LineHash};
use crate::line::{MAX_LINE, Parts, hash};

/// The last signed record of a file.
pub(crate) struct End {
    pub(crate) head: Head,
    /// Its line, without the newline.
    pub(crate) line: Vec<u8>,
    /// Where the next line begins. What stands there was never acknowledged.
    pub(crate) length: u64,
}

/// The last signed record of a log; `None` where there is none.
pub(crate) fn newest(files: &LogFiles) -> Result<Option<End>, LogError> {
    // Somebody may rotate the files meanwhile: what was current is then the newest segment.
    let current = of_path(&files.current())?;
    if current.is_some() {
        return Ok(current);
    }
    let Some(first) = files.segments()?.pop() else {
        return of_path(&files.current());
    };
    of_path(&files.segment(first))
}

fn of_path(path: &Path) -> Result<Option<End>, LogError> {
    match open_to_read(path)? {
        Some(file) => of_file(path, &file),
        None => Ok(None),
    }
}

/// `None` where the file has no signed record.
pub(crate) fn of_file(path: &Path, file: &File) -> Result<Option<End>, LogError> {
    let mut length = match newline_before(path, file, meta(path, file)?.len())? {
        Some(newline) => newline + 1,
        None => return Ok(None),
    };
    while length > 0 {
        let start = newline_before(path, file, length - 1)?.map_or(0, |newline| newline + 1);
        let line = line_at(path, file, start, length - 1)?;
        let damaged = |what: &str| LogError::Damaged {
            path: path.to_owned(),
            line: LineNumber::Last,
            what: what.to_owned(),
        };
        let parts = Parts::of(&line).ok_or_else(|| damaged("it is no record"))?;
        if parts.signature.is_some() {
            let head = Head { record: parts.record, hash: parts.hash() };
            return Ok(Some(End { head, line, length }));
        }
        length = start;
    }
    Ok(None)
}

/// Whether the first line of a file is a record; `None` where there is no file, or no whole line in it.
pub fn begins_with_record(path: &Path) -> Result<Option<bool>, LogError> {
    let line = open_to_read(path)?.map_or(Ok(None), |file| first_line(path, &file))?;
    Ok(line.map(|line| Parts::of(&line).is_some()))
}

/// The first record of a file that has one.
pub(crate) fn first_record(path: &Path, file: &File) -> Result<Option<u64>, LogError> {
    let line = first_line(path, file)?;
    Ok(line.and_then(|line| Parts::of(&line).map(|parts| parts.record)))
}

fn first_line(path: &Path, file: &File) -> Result<Option<Vec<u8>>, LogError> {
    let mut start = vec![0; MAX_LINE + 1];
    let mut filled = 0;
    while filled < start.len() && !start[..filled].contains(&b'\n') {
        let chunk = (filled + CHUNK).min(start.len());
        match file.read_at(&mut start[filled..chunk], as_u64(filled)).map_err(fail(path, "read"))? {
            0 => break,
            read => filled += read,
        }
    }
    start.truncate(start[..filled].iter().position(|byte| *byte == b'\n').unwrap_or_default());
    Ok((!start.is_empty()).then_some(start))
}

/// The hash of the line that ends before this place, if one does.
pub(crate) fn line_before(path: &Path, file: &File, end: u64) -> Result<Option<LineHash>, LogError> {
    if end > meta(path, file)?.len()
        || newline_before(path, file, end)?.map(|newline| newline + 1) != Some(end)
    {
        return Ok(None);
    }
    let start = newline_before(path, file, end - 1)?.map_or(0, |newline| newline + 1);
    Ok(Some(hash(&line_at(path, file, start, end - 1)?)))
}

/// So little that a batch is gone through backwards in passing, line by line.
const CHUNK: usize = 4096;

/// Where the last newline stands before this place.
fn newline_before(path: &Path, file: &File, mut end: u64) -> Result<Option<u64>, LogError> {
    let mut chunk = [0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(as_u64(CHUNK));
        let wanted = usize::try_from(end - start).unwrap_or(CHUNK);
        let chunk = &mut chunk[..wanted];
        file.read_exact_at(chunk, start).map_err(fail(path, "read"))?;
        if let Some(place) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(start + as_u64(place)));
        }
        end = start;
    }
    Ok(None)
}

fn line_at(path: &Path, file: &File, start: u64, end: u64) -> Result<Vec<u8>, LogError> {
    let length = usize::try_from(end - start).ok().filter(|length| *length <= MAX_LINE);
    let Some(length) = length else {
        let what = format!("it is longer than {MAX_LINE} bytes");
        return Err(LogError::Damaged { path: path.to_owned(), line: LineNumber::Last, what });
    };
    let mut line = vec![0; length];
    file.read_exact_at(&mut line, start).map_err(fail(path, "read"))?;
    Ok(line)
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
