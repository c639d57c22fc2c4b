use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use baseline::{BrokenRegister, Register};

use crate::scribe::{MAX_REGISTER, REGISTER};
use crate::state::{self, StateError};

/// Why it is not known which drifts `serve` has open.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum OpenDriftsError {
    #[error("{0} cannot be read as this user: run as root")]
    Denied(PathBuf),
    #[error(transparent)]
    State(StateError),
    #[error("{path}: {error}")]
    Broken { path: PathBuf, error: BrokenRegister },
}

/// The drifts that `serve` has open, as it last wrote them down; `None` where it wrote nothing. The exporter's user
/// could have written anything: it is for people and their monitoring to see, never to decide by what is approved.
pub fn open_drifts(state: &Path) -> Result<Option<Register>, OpenDriftsError> {
    let content = state::read(state, REGISTER, MAX_REGISTER).map_err(|error| match error {
        StateError::Io { path, error, .. } if error.kind() == ErrorKind::PermissionDenied => {
            OpenDriftsError::Denied(path)
        }
        other => OpenDriftsError::State(other),
    })?;
    let Some(content) = content else { return Ok(None) };
    let read = Register::from_json(&String::from_utf8_lossy(&content));
    read.map(Some).map_err(|error| OpenDriftsError::Broken { path: state.join(REGISTER), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_damaged_are_not_the_same() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open_drifts(folder.path()).unwrap().is_none());
        std::fs::write(folder.path().join(REGISTER), "{").unwrap();
        let told = open_drifts(folder.path()).unwrap_err().to_string();
        assert!(told.contains("register.json: the open drifts cannot be read"), "{told}");
    }
}
