use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Sources;

impl Sources {
    /// The file of the set that a path leads to, by whatever folders, links and names; also one that is not there yet.
    /// `None` where it would not be one of the set.
    pub fn reached(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let directory = self.directory.as_deref();
        let listed = directory.map(files_in).transpose()?.unwrap_or_default();
        for file in self.files.iter().chain(&listed) {
            if is_same(file, path)? || (file.file_name() == path.file_name() && is_beside(file, path)?) {
                return Ok(Some(file.clone()));
            }
        }
        let (Some(directory), Some(name)) = (directory, path.file_name()) else { return Ok(None) };
        let is_there = is_part(Path::new(name)) && is_same(directory, folder_of(path))?;
        Ok(is_there.then(|| directory.join(name)))
    }
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match directory.read_dir() {
        Err(error) if is_nothing(&error) => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(paths?.into_iter().filter(|path| is_part(path)).collect())
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn is_beside(one: &Path, other: &Path) -> io::Result<bool> {
    is_same(folder_of(one), folder_of(other))
}

/// Both are there, and one and the same.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let known = |meta: Metadata| (meta.dev(), meta.ino());
    let (Some(one), Some(other)) = (meta(one)?, meta(other)?) else { return Ok(false) };
    Ok(known(one) == known(other))
}

fn meta(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if is_nothing(&error) => Ok(None),
        found => found.map(Some),
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
