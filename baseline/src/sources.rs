mod reached;

use std::fs::{File, ReadDir};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::SourceText;
use crate::diagnostic::shown_path;
use crate::walk;

/// Where the files of a baseline are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    files: Vec<PathBuf>,
    /// Each `*.toml` in it is one of the set.
    directory: Option<PathBuf>,
    /// Whether one file may be missing where another is there.
    each_must_exist: bool,
    /// Whose files are believed besides root's; anybody's where there is none.
    trusted_uid: Option<u32>,
    /// Whether a file, or the folder, may be a symbolic link where anybody's files are believed.
    links: bool,
}

/// A baseline file that is not used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", shown_path(.path))]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// Why, and what to do.
    pub kind: ReadErrorKind,
}

/// Why a baseline file is not used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReadErrorKind {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is missing, and other files of the set are there")]
    Missing,
    #[error("it is no regular file")]
    NotAFile,
    #[error(
        "it belongs to uid {owner}, who could approve anything: give it to root, as in `chown root FILE`"
    )]
    Owner { owner: u32 },
    #[error("others may write to it (mode {mode:04o}): take that away, as in `chmod go-w FILE`")]
    Mode { mode: u32 },
    #[error(
        "{} belongs to uid {owner}, who could put another file there: give it to root, as in `chown root {}`",
        shown_path(.folder), shown_path(.folder)
    )]
    FolderOwner { folder: PathBuf, owner: u32 },
    #[error(
        "others may put another file there, for they may write to {} (mode {mode:04o}): take that away, as in `chmod go-w {}`",
        shown_path(.folder), shown_path(.folder)
    )]
    FolderMode { folder: PathBuf, mode: u32 },
    #[error(
        "{} is a symbolic link of uid {owner}, who could lead it elsewhere: give it to root, as in `chown -h root {}`",
        shown_path(.link), shown_path(.link)
    )]
    LinkOwner { link: PathBuf, owner: u32 },
    #[error(
        "it is a symbolic link, by which whoever made the checkout could have any file read: put the file itself there"
    )]
    Link,
    #[error("a symbolic link on the way to it leads nowhere: put back what it leads to, or remove the link")]
    LeadsNowhere,
    #[error("it is larger than {MAX_FILE} bytes")]
    TooLarge,
    #[error("with it the files of the baseline are larger than {MAX_SET} bytes")]
    SetTooLarge,
    #[error("there are more than {MAX_FILES} files in it")]
    TooMany,
    #[error("it is no UTF-8 at line {line}, byte {column}")]
    NotUtf8 { line: usize, column: usize },
}

impl ReadErrorKind {
    fn is_missing(&self) -> bool {
        matches!(self, ReadErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// In `baseline.d`: late, so that it is read by people last.
const LOCAL: &str = "90-local.toml";
/// Of one file, in bytes.
const MAX_FILE: u64 = 8 << 20;
/// Of all files together.
const MAX_SET: usize = 64 << 20;
/// In the folder.
const MAX_FILES: usize = 1000;

impl Sources {
    /// `baseline.toml` and `baseline.d/*.toml` of a folder, each of which may be missing. Files must belong to root or
    /// to `trusted_uid`.
    pub fn of_folder(folder: &Path, trusted_uid: u32) -> Self {
        Sources {
            files: vec![folder.join("baseline.toml")],
            directory: Some(folder.join("baseline.d")),
            each_must_exist: false,
            trusted_uid: Some(trusted_uid),
            links: false,
        }
    }

    /// These files: all of them, or none where there is no baseline yet.
    pub fn named(files: Vec<PathBuf>, trusted_uid: u32) -> Self {
        Sources {
            files,
            directory: None,
            each_must_exist: true,
            trusted_uid: Some(trusted_uid),
            links: false,
        }
    }

    /// The same, whoever owns the files: those of a checkout, by which no host is judged. None of them may be a symbolic
    /// link: whoever made the checkout would say what is read.
    pub fn of_anybody(self) -> Self {
        Sources { trusted_uid: None, ..self }
    }

    /// Likewise, links and all: what is installed.
    pub fn installed_by_anybody(self) -> Self {
        Sources { trusted_uid: None, links: true, ..self }
    }

    /// The first file of the set.
    pub fn default_file(&self) -> Option<&Path> {
        self.files.first().map(PathBuf::as_path)
    }

    /// Where the files of the set are, or will be: files, and a folder of them.
    pub fn places(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().chain(&self.directory).cloned()
    }

    /// The file that approvals are added to where nobody says another: in a folder that configuration management may
    /// write, one of this host's own.
    pub fn local_file(&self) -> Option<PathBuf> {
        match &self.directory {
            Some(directory) => Some(directory.join(LOCAL)),
            None => self.default_file().map(Path::to_owned),
        }
    }

    /// Whether approvals that are added to this file are this host's own, so that they must not stay for ever.
    pub fn is_local(&self, path: &Path) -> bool {
        self.directory.as_ref().is_some_and(|directory| directory.join(LOCAL) == path)
    }

    /// A file of this path as the set calls it; `None` where it would not be one of the set.
    pub fn spelled(&self, path: &Path) -> Option<PathBuf> {
        let whole = |path: &Path| std::path::absolute(path).ok();
        let is_same = |one: &Path, other: &Path| {
            one == other || whole(one).is_some_and(|one| whole(other) == Some(one))
        };
        if let Some(file) = self.files.iter().find(|file| is_same(file, path)) {
            return Some(file.clone());
        }
        let directory = self.directory.as_deref()?;
        let is_in_directory = is_same(path.parent()?, directory);
        let is_read = path.extension().is_some_and(|extension| extension == "toml");
        Some(directory.join(path.file_name()?)).filter(|_| is_in_directory && is_read)
    }

    /// Reads the set. `None` where there is no file at all.
    pub fn read(&self) -> Result<Option<Vec<SourceText>>, ReadError> {
        let mut texts = Vec::new();
        let mut missing = None;
        let mut size = 0;
        let in_directory =
            self.directory.as_deref().map(|path| self.list(path)).transpose()?.unwrap_or_default();
        for path in self.files.iter().chain(&in_directory) {
            match read_as(path, self.flags(), self.trusted_uid)? {
                Some(source) => {
                    size += source.text.len();
                    if size > MAX_SET {
                        return Err(at(path, ReadErrorKind::SetTooLarge));
                    }
                    texts.push(source);
                }
                None => missing = missing.or(Some(path)),
            }
        }
        match missing {
            _ if texts.is_empty() => Ok(None),
            Some(path) if self.each_must_exist => Err(at(path, ReadErrorKind::Missing)),
            _ => Ok(Some(texts)),
        }
    }

    fn flags(&self) -> OFlags {
        if self.links { OFlags::empty() } else { flags_for(self.trusted_uid) }
    }

    fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
        let opened = match open(directory, self.flags() | OFlags::DIRECTORY, self.trusted_uid) {
            Err(kind) if kind.is_missing() => return Ok(Vec::new()),
            opened => opened.map_err(|kind| at(directory, kind))?,
        };
        check_trust(&opened, self.trusted_uid).map_err(|kind| at(directory, kind))?;
        let entries: ReadDir = directory.read_dir().map_err(|error| at(directory, error.into()))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| at(directory, error.into()))?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
            if files.len() > MAX_FILES {
                return Err(at(directory, ReadErrorKind::TooMany));
            }
        }
        files.sort();
        Ok(files)
    }
}

/// Reads one file as sudo reads its own: what is opened is judged, with each folder on the way to it, not what the path
/// was. `None` where there is none.
pub fn read_trusted(path: &Path, trusted_uid: u32) -> Result<Option<SourceText>, ReadError> {
    read(path, Some(trusted_uid))
}

/// Likewise, of a file that need not be text.
pub fn read_trusted_bytes(path: &Path, trusted_uid: u32) -> Result<Option<Vec<u8>>, ReadError> {
    bytes_of(path, OFlags::empty(), Some(trusted_uid))
}

/// Reads one file, whoever owns it, and no symbolic link. `None` where there is none.
pub fn read_of_anybody(path: &Path) -> Result<Option<SourceText>, ReadError> {
    read(path, None)
}

/// As [`read_trusted`]; whoever owns the file where nobody is to be trusted.
pub(crate) fn read(path: &Path, trusted_uid: Option<u32>) -> Result<Option<SourceText>, ReadError> {
    read_as(path, flags_for(trusted_uid), trusted_uid)
}

/// Where links are not judged, they are not followed.
fn flags_for(trusted_uid: Option<u32>) -> OFlags {
    if trusted_uid.is_some() { OFlags::empty() } else { OFlags::NOFOLLOW }
}

fn read_as(path: &Path, flags: OFlags, trusted_uid: Option<u32>) -> Result<Option<SourceText>, ReadError> {
    let Some(bytes) = bytes_of(path, flags, trusted_uid)? else { return Ok(None) };
    let text = text(bytes).map_err(|kind| at(path, kind))?;
    Ok(Some(SourceText { path: path.to_owned(), text }))
}

fn bytes_of(path: &Path, flags: OFlags, trusted_uid: Option<u32>) -> Result<Option<Vec<u8>>, ReadError> {
    // Not to hang on a pipe that somebody put there.
    let mut file = match open(path, flags | OFlags::NONBLOCK, trusted_uid) {
        Err(kind) if kind.is_missing() => return Ok(None),
        opened => opened.map_err(|kind| at(path, kind))?,
    };
    let bytes = check_file(&file, trusted_uid).and_then(|()| read_bytes(&mut file));
    bytes.map(Some).map_err(|kind| at(path, kind))
}

/// By its path alone where nobody is to be trusted.
fn open(path: &Path, flags: OFlags, trusted_uid: Option<u32>) -> Result<File, ReadErrorKind> {
    match trusted_uid {
        Some(trusted_uid) => walk::open(path, flags, trusted_uid),
        None => {
            let all = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
            match rustix::fs::open(path, all, Mode::empty()) {
                Ok(opened) => Ok(File::from(opened)),
                Err(_) if flags.contains(OFlags::NOFOLLOW) && path.is_symlink() => Err(ReadErrorKind::Link),
                Err(error) => Err(io::Error::from(error).into()),
            }
        }
    }
}

fn check_file(file: &File, trusted_uid: Option<u32>) -> Result<(), ReadErrorKind> {
    if !file.metadata()?.is_file() {
        return Err(ReadErrorKind::NotAFile);
    }
    check_trust(file, trusted_uid)
}

fn check_trust(file: &File, trusted_uid: Option<u32>) -> Result<(), ReadErrorKind> {
    let Some(trusted_uid) = trusted_uid else { return Ok(()) };
    let metadata = file.metadata()?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != 0 && owner != trusted_uid {
        return Err(ReadErrorKind::Owner { owner });
    }
    let by_group = mode & 0o020 != 0 && metadata.gid() != 0;
    if mode & 0o002 != 0 || by_group {
        return Err(ReadErrorKind::Mode { mode });
    }
    Ok(())
}

fn read_bytes(file: &mut File) -> Result<Vec<u8>, ReadErrorKind> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ReadErrorKind::TooLarge);
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> Result<String, ReadErrorKind> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = valid.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        ReadErrorKind::NotUtf8 { line, column }
    })
}

fn at(path: &Path, kind: ReadErrorKind) -> ReadError {
    ReadError { path: path.to_owned(), kind }
}
