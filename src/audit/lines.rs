use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ledger::{MAX_LINE, Position, segments};
use rustix::fs::OFlags;

/// The lines of a log that nobody vouches for, whatever is wrong with them.
pub(crate) struct Lines {
    /// Still to be read, the next one last.
    files: Vec<(PathBuf, u64)>,
    open: Option<(PathBuf, BufReader<File>)>,
}

/// One of them.
pub(crate) enum Line {
    /// Without its newline.
    Whole(Vec<u8>),
    /// Longer than any record.
    Damaged,
}

impl Lines {
    /// Those that stand behind what was read before.
    pub(crate) fn behind(folder: &Path, name: &str, position: Position) -> anyhow::Result<Self> {
        let segments = segments(folder, name)?;
        let in_segment = segments.contains(&position.segment);
        let later = segments.into_iter().filter(|first| *first >= position.segment);
        let offset_of = |first: u64| if first == position.segment { position.offset } else { 0 };
        let segment = |first| (folder.join(format!("{name}.jsonl.{first}")), offset_of(first));
        let mut files: Vec<(PathBuf, u64)> = later.map(segment).collect();
        let in_current = position.after.record > 0 && !in_segment;
        files.push((folder.join(format!("{name}.jsonl")), if in_current { position.offset } else { 0 }));
        files.reverse();
        Ok(Lines { files, open: None })
    }

    /// The next one; `None` at the end.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            if self.open.is_none() {
                let Some((path, offset)) = self.files.pop() else { return Ok(None) };
                self.open = open(&path, offset).with_context(|| path.display().to_string())?;
                continue;
            }
            let Some((path, reader)) = &mut self.open else { continue };
            match read_line(reader).with_context(|| path.display().to_string())? {
                Some(line) => return Ok(Some(line)),
                None => self.open = None,
            }
        }
    }
}

/// Whoever may write to the folder makes nobody wait or read elsewhere. `None` where there is none.
fn open(path: &Path, offset: u64) -> io::Result<Option<(PathBuf, BufReader<File>)>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok(Some((path.to_owned(), BufReader::new(file))))
}

fn read_line(reader: &mut BufReader<File>) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
    if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Line::Whole(line)));
    }
    if line.len() <= MAX_LINE {
        return Ok(Some(Line::Whole(line)));
    }
    skip_line(reader)?;
    Ok(Some(Line::Damaged))
}

fn skip_line(reader: &mut BufReader<File>) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let newline = buffer.iter().position(|byte| *byte == b'\n');
        let (length, over) = newline.map_or((buffer.len(), buffer.is_empty()), |at| (at + 1, true));
        reader.consume(length);
        if over {
            return Ok(());
        }
    }
}
