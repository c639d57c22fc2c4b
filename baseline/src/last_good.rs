use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use inventory::RawText;
use serde::{Deserialize, Serialize};

use crate::SourceText;
use crate::diagnostic::shown_path;
use crate::store::{read_plain, write_whole};

/// The last good set could not be kept or had back.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The file could not be read or written.
    #[error("{}: {source}", shown_path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what this release writes.
    #[error("{}: it holds no baseline that was kept: {why}", shown_path(.path))]
    Content {
        /// The file.
        path: PathBuf,
        /// In which respect.
        why: String,
    },
}

const NAME: &str = "last-good-baseline.json";
/// JSON doubles what is escaped.
const MAX: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    files: Vec<KeptFile>,
}

#[derive(Serialize, Deserialize)]
struct KeptFile {
    /// Escaped: a path need not be UTF-8.
    path: String,
    text: String,
}

const VERSION: u32 = 1;

/// Keeps a set that was found good in the state folder.
pub fn keep_last_good(state: &Path, texts: &[SourceText]) -> Result<(), LastGoodError> {
    let path = state.join(NAME);
    let files = texts
        .iter()
        .map(|source| KeptFile { path: shown_path(&source.path).escaped(), text: source.text.clone() });
    let kept = Kept { version: VERSION, files: files.collect() };
    let json = serde_json::to_vec(&kept).map_err(|error| content(&path, &error.to_string()))?;
    write_whole(&path, &json).map_err(|source| LastGoodError::Io { path, source })
}

/// The set that was kept last; `None` where none ever was.
pub fn load_last_good(state: &Path) -> Result<Option<Vec<SourceText>>, LastGoodError> {
    let path = state.join(NAME);
    let bytes = match read_plain(&path, MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|source| LastGoodError::Io { path: path.clone(), source })?,
    };
    read(&bytes).map(Some).map_err(|why| content(&path, &why))
}

fn read(bytes: &[u8]) -> Result<Vec<SourceText>, String> {
    let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {}, this release reads {VERSION}", kept.version));
    }
    let texts = kept.files.into_iter().map(|file| {
        let bytes = RawText::from_escaped(&file.path)?.as_bytes().to_vec();
        Some(SourceText { path: OsString::from_vec(bytes).into(), text: file.text })
    });
    let texts: Option<Vec<SourceText>> = texts.collect();
    texts.ok_or_else(|| "a path in it is not escaped as this release does".to_owned())
}

/// A set that was kept.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(bytes: &[u8]) {
    if let Ok(texts) = read(bytes) {
        assert!(texts.iter().map(|source| source.text.len()).sum::<usize>() <= bytes.len());
    }
}

fn content(path: &Path, why: &str) -> LastGoodError {
    LastGoodError::Content { path: path.to_owned(), why: why.to_owned() }
}
