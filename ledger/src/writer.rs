use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::error::{LineNumber, LogError, fail};
use crate::files::{self, LogFiles};
use crate::head::Head;
use crate::host_key::HostKey;
use crate::line;
use crate::tail;

/// The namespace of the signatures in logs.
pub(crate) const NAMESPACE: &str = "log@portledger";

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// In bytes: before the current file would be longer it becomes a segment, unless a single batch is.
    pub segment: u64,
    /// How many older segments stay beside the current file, at least one; all where `None`.
    pub segments: Option<usize>,
    /// Permissions of new files, before the umask.
    pub mode: u32,
    /// Whether what was appended is on the disk when [`Writer::append`] returns.
    pub synced: bool,
}

/// Whoever alone appends to a log while it lives.
#[derive(Debug)]
pub struct Writer {
    files: LogFiles,
    key: HostKey,
    keeping: Keeping,
    head: Head,
    current: Option<Current>,
    cut_off: u64,
    /// Held for its lock.
    _lock: File,
}

/// The file that grows.
#[derive(Debug)]
struct Current {
    file: File,
    length: u64,
    /// Its first record; of an empty file, the next there will be.
    first: u64,
}

impl Writer {
    /// Waits at most so long for another writer, cuts off what was never acknowledged, and goes on from the last record,
    /// which a key of this host must have signed.
    pub fn open(
        folder: &Path,
        name: &str,
        key: HostKey,
        keeping: Keeping,
        wait: Duration,
    ) -> Result<Self, LogError> {
        let files = LogFiles::new(folder, name);
        let lock = files::lock(&files.lock(), &files.current(), wait)?;
        let (head, current, cut_off) = (Head::default(), None, 0);
        let mut writer = Writer { files, key, keeping, head, current, cut_off, _lock: lock };
        writer.head = writer.look()?;
        Ok(writer)
    }

    /// The newest record; number 0 where there is none yet.
    pub fn head(&self) -> Head {
        self.head
    }

    /// How many bytes at the end of the log were never acknowledged, and are gone.
    pub fn cut_off(&self) -> u64 {
        self.cut_off
    }

    /// Appends these objects, each a record, all or none of them. An error leaves the log as it was, and the next call
    /// may succeed.
    pub fn append<B: AsRef<[u8]>>(&mut self, bodies: &[B]) -> Result<Head, LogError> {
        if let Some(wrong) = bodies.iter().position(|body| !line::is_body(body.as_ref())) {
            return Err(LogError::Body(wrong));
        }
        let Some((text, head)) = self.lines(bodies)? else {
            return Ok(self.head);
        };
        self.settle()?;
        if self.current.as_ref().is_some_and(|current| self.is_full(current, text.len())) {
            self.rotate()?;
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        // Where the file cannot be brought back to what it was, the next call looks at it anew.
        self.write(&mut current, &text)?;
        self.current = Some(current);
        self.head = head;
        Ok(head)
    }

    /// What a batch looks like, and its last record.
    fn lines<B: AsRef<[u8]>>(&self, bodies: &[B]) -> Result<Option<(Vec<u8>, Head)>, LogError> {
        let mut text = Vec::new();
        let mut head = self.head;
        for (place, body) in bodies.iter().enumerate() {
            let start = text.len();
            let record = head.record + 1;
            line::append(&mut text, body.as_ref(), record, head.hash);
            if place + 1 == bodies.len() {
                let signature = self.key.sign(NAMESPACE, &text[start..]).map_err(LogError::Signing)?;
                line::sign(&mut text, &signature);
            }
            head = Head { record, hash: line::hash(&text[start..]) };
            text.push(b'\n');
        }
        Ok((!bodies.is_empty()).then_some((text, head)))
    }

    /// The file must still be the one that was written last, and as long.
    fn settle(&mut self) -> Result<(), LogError> {
        let path = self.files.current();
        if let Some(current) = &self.current
            && let Some(there) = files::meta_at(&path)?
            && files::is_same(&there, &files::meta(&path, &current.file)?)
            && there.len() == current.length
        {
            return Ok(());
        }
        let found = self.look()?;
        if found == self.head {
            return Ok(());
        }
        self.current = None;
        Err(LogError::Torn { path, ours: self.head, found })
    }

    /// Opens the current file, where there is one, cuts off what was never acknowledged, and returns the newest record.
    fn look(&mut self) -> Result<Head, LogError> {
        self.current = None;
        let segments = self.files.segments()?;
        for first in &segments {
            let path = self.files.segment(*first);
            files::meta_at(&path)?.map_or(Ok(()), |meta| files::check_ours(&path, &meta))?;
        }
        let path = self.files.current();
        let file = files::open_to_append(&path)?;
        let own = file.as_ref().map_or(Ok(None), |file| tail::of_file(&path, file))?;
        let length = own.as_ref().map_or(0, |end| end.length);
        let (path, end) = match (own, segments.last()) {
            (None, Some(first)) => (self.files.segment(*first), Some(self.end_of_segment(*first)?)),
            (own, _) => (path, own),
        };
        let head = end.as_ref().map(|end| end.head).unwrap_or_default();
        if let Some(end) = end {
            self.check_signed(&path, &end.line)?;
        }
        if let Some(file) = file {
            self.current = Some(self.cut(file, length, head)?);
        }
        Ok(head)
    }

    /// A segment was whole when it became one.
    fn end_of_segment(&self, first: u64) -> Result<tail::End, LogError> {
        let path = self.files.segment(first);
        let file = files::open_to_read(&path)?;
        let end = file.as_ref().map_or(Ok(None), |file| tail::of_file(&path, file))?;
        let length = file.map_or(Ok(0), |file| files::meta(&path, &file).map(|meta| meta.len()))?;
        end.filter(|end| end.length == length).ok_or_else(|| LogError::Damaged {
            path,
            line: LineNumber::Last,
            what: "it is not a whole signed record".to_owned(),
        })
    }

    fn check_signed(&self, path: &Path, line: &[u8]) -> Result<(), LogError> {
        let Some(parts) = line::Parts::of(line) else {
            return Ok(());
        };
        let checked =
            self.key.believed().verify(NAMESPACE, &parts.message(), parts.signature.unwrap_or_default());
        let (path, record, ours) = (path.to_owned(), parts.record, self.key.fingerprint());
        match checked {
            Err(why) => Err(LogError::Unvouched { path, record, why }),
            Ok(newer) if self.key.believed().is_older(&ours, &newer) => {
                Err(LogError::GivenUp { path, record, newer, ours })
            }
            Ok(_) => Ok(()),
        }
    }

    fn cut(&mut self, file: File, length: u64, head: Head) -> Result<Current, LogError> {
        let path = self.files.current();
        let there = files::meta(&path, &file)?.len();
        if there > length {
            file.set_len(length).and_then(|()| file.sync_all()).map_err(fail(&path, "truncate"))?;
            self.cut_off += there - length;
        }
        let first = match length {
            0 => head.record + 1,
            _ => tail::first_record(&path, &file)?.ok_or_else(|| LogError::Damaged {
                path: path.clone(),
                line: LineNumber::At(1),
                what: "it is no record".to_owned(),
            })?,
        };
        Ok(Current { file, length, first })
    }

    fn is_full(&self, current: &Current, more: usize) -> bool {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        current.length > 0 && current.length.saturating_add(more) > self.keeping.segment
    }

    /// What becomes a segment is on the disk before: its name must not outlive what is in it.
    fn rotate(&mut self) -> Result<(), LogError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let (from, to) = (self.files.current(), self.files.segment(current.first));
        // The current file grows past its bound, rather than that a stranger stops the log or his file is written over.
        if self.files.strangers()?.iter().any(|stranger| stranger.path == to) {
            return Ok(());
        }
        current.file.sync_all().map_err(fail(&from, "sync"))?;
        if files::meta_at(&to)?.is_some() {
            return Err(fail(&to, "rename")(std::io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&from, &to).map_err(fail(&from, "rename"))?;
        self.current = None;
        self.files.sync_folder()?;
        self.drop_oldest()
    }

    fn drop_oldest(&self) -> Result<(), LogError> {
        let Some(keep) = self.keeping.segments else {
            return Ok(());
        };
        let segments = self.files.segments()?;
        for first in segments.iter().rev().skip(keep.max(1)).rev() {
            let path = self.files.segment(*first);
            fs::remove_file(&path).map_err(fail(&path, "remove"))?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<Current, LogError> {
        let file = files::create(&self.files.current(), self.keeping.mode)?;
        if self.keeping.synced {
            self.files.sync_folder()?;
        }
        Ok(Current { file, length: 0, first: self.head.record + 1 })
    }

    /// All of it or nothing.
    fn write(&self, current: &mut Current, text: &[u8]) -> Result<(), LogError> {
        let path = self.files.current();
        let mut file = &current.file;
        let written =
            file.write_all(text).map_err(fail(&path, "write")).and_then(|()| match self.keeping.synced {
                true => file.sync_data().map_err(fail(&path, "sync")),
                false => Ok(()),
            });
        if let Err(error) = written {
            // Half a batch is not signed: where it cannot be cut off now, the next look at the file does.
            return file.set_len(current.length).map_err(fail(&path, "truncate")).and(Err(error));
        }
        current.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
