use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::state::StateError;

/// The log of events.
const EVENTS: &str = "events.jsonl";
/// The log of what was in force.
pub(crate) const RELOADS: &str = "reloads.jsonl";
/// A record is no longer.
const LONGEST: u64 = 1 << 20;

/// How much of the log of events was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastEvents {
    /// There is none: `serve` has not run with this state folder.
    NoLog,
    /// Nobody wanted more, or there was no more.
    Read,
    /// More than the bound: what is older was not read.
    TooMuch,
}

/// Gives the lines of `events.jsonl` and its older segments, newest first, until `take` has enough, and of at most `bound`
/// bytes. The exporter's user could have written anything: it is for people to see, never to decide by.
pub fn past_events(
    state: &Path,
    bound: u64,
    take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<PastEvents, StateError> {
    past(state, EVENTS, bound, take)
}

/// The oldest line of `events.jsonl` and its older segments; `None` where there is none.
pub fn oldest_event(state: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let Some(path) = segments(state, EVENTS)?.pop() else { return Ok(None) };
    let Some(file) = open(&path).map_err(|error| fail(&path, error))? else { return Ok(None) };
    let mut line = Vec::new();
    let read = io::BufReader::new(file.take(LONGEST)).read_until(b'\n', &mut line);
    read.map_err(|error| fail(&path, error))?;
    Ok((line.pop() == Some(b'\n')).then_some(line))
}

/// As [`past_events`], of another log.
pub(crate) fn past(
    state: &Path,
    file: &str,
    bound: u64,
    mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<PastEvents, StateError> {
    let segments = segments(state, file)?;
    if segments.is_empty() {
        return Ok(PastEvents::NoLog);
    }
    let mut room = bound;
    for path in segments {
        let Some(tail) = tail(&path, room).map_err(|error| fail(&path, error))? else { continue };
        room -= u64::try_from(tail.text.len()).unwrap_or(room).min(room);
        let mut lines = tail.text.split(|byte| *byte == b'\n').rev();
        // Behind the last newline there is nothing, or a line on its way.
        lines.next();
        let whole = lines.clone().count().saturating_sub(usize::from(tail.is_cut));
        if lines.take(whole).try_for_each(&mut take).is_break() {
            return Ok(PastEvents::Read);
        }
        if tail.is_cut {
            return Ok(PastEvents::TooMuch);
        }
    }
    Ok(PastEvents::Read)
}

/// The log's files, newest first: older ones end in a number that grows, and is 1 where only one is kept.
fn segments(state: &Path, file: &str) -> Result<Vec<PathBuf>, StateError> {
    let entries = match std::fs::read_dir(state) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| fail(state, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| fail(state, error))?.file_name();
        let age = name.to_str().and_then(|name| match name.strip_prefix(file)? {
            "" => Some(u64::MAX),
            number => number.strip_prefix('.')?.parse().ok(),
        });
        found.extend(age.map(|age| (age, state.join(&name))));
    }
    found.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

struct Tail {
    text: Vec<u8>,
    /// It begins somewhere in a line, or after lines that were not read.
    is_cut: bool,
}

/// The end of a file; `None` where it was taken away meanwhile.
fn tail(path: &Path, room: u64) -> io::Result<Option<Tail>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let start = file.metadata()?.len().saturating_sub(room);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(room).read_to_end(&mut text)?;
    Ok(Some(Tail { text, is_cut: start > 0 }))
}

/// `None` where it was taken away meanwhile.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.metadata()?.is_file() {
        true => Ok(Some(file)),
        false => Err(io::Error::other("it is no regular file")),
    }
}

fn fail(path: &Path, error: io::Error) -> StateError {
    StateError::Io { path: path.to_owned(), step: "read", error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &Path, bound: u64, enough: usize) -> (Vec<String>, PastEvents) {
        let mut lines = Vec::new();
        let read = past_events(folder, bound, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            if lines.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (lines, read.unwrap())
    }

    #[test]
    fn the_newest_come_first_from_all_segments() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(lines(&folder.path().join("none"), 99, 9), (vec![], PastEvents::NoLog));
        assert_eq!(lines(folder.path(), 99, 9), (vec![], PastEvents::NoLog));
        for (name, text) in [
            ("events.jsonl", "g\nh\nhalf a li"),
            ("events.jsonl.5", "c\nd\n"),
            ("events.jsonl.12", "e\nf\n"),
            ("events.jsonl.1", "a\nb\n"),
            ("events.jsonl.old", "not ours\n"),
            ("events.key", "not ours\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let oldest = oldest_event(folder.path()).unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&oldest), "a");
        let all = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        assert_eq!(lines(folder.path(), 99, 9), (all("hgfedcba"), PastEvents::Read));
        assert_eq!(lines(folder.path(), 99, 3), (all("hgf"), PastEvents::Read));
    }

    #[test]
    fn what_is_cut_is_no_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("events.jsonl"), "abc\ndef\nghi\n").unwrap();
        for (bound, told) in [(12, "ghi def abc"), (11, "ghi def"), (8, "ghi"), (3, ""), (0, "")] {
            let (lines, read) = lines(folder.path(), bound, 9);
            assert_eq!(lines.join(" "), told, "{bound}");
            assert_eq!(read == PastEvents::TooMuch, bound < 12, "{bound}");
        }
    }

    #[test]
    fn what_is_no_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("events.jsonl")).unwrap();
        let read = past_events(folder.path(), 99, |_| ControlFlow::Continue(()));
        assert!(read.unwrap_err().to_string().contains("events.jsonl"));
    }
}
