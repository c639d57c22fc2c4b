use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{anyhow, bail};
use baseline::{Approvers, Signatures, Trust, load_withdrawn, read_trusted_bytes};
use jiff::tz::TimeZone;
use signing::{AllowedSigners, RevokedError, RevokedKeys};

use crate::arguments::Shared;
use crate::config::{ApproversFor, Config, Count};
use crate::paths::{Paths, trusted_owner};
use crate::say::aside;

/// Whose word counts by the configuration that the flags name, or the one that is installed.
pub(crate) fn of(shared: &Shared) -> anyhow::Result<Arc<Trust>> {
    let paths = Paths::of(shared)?;
    Ok(Arc::new(trust(&paths, &Config::load(&paths)?)?))
}

/// Whose word counts, as the configuration and the files that it names say.
pub(crate) fn trust(paths: &Paths, config: &Config) -> anyhow::Result<Trust> {
    let time_zone = TimeZone::system();
    let approvers = match (config.approvers, config.approvers_for) {
        (Count::One, _) => Approvers::One,
        (Count::Two, ApproversFor::All) => Approvers::Two,
        (Count::Two, ApproversFor::Exposed) => Approvers::TwoWhereExposed,
    };
    let signatures = config.signatures;
    let withdrawn = Arc::new(load_withdrawn(&paths.state, trusted_owner())?);
    if signatures == Signatures::Off {
        return Ok(Trust { withdrawn, ..Trust::in_everybody(time_zone) });
    }
    let signers = allowed_signers(paths, config, &time_zone)?;
    let revoked_keys = Arc::new(revoked_keys(paths, config)?);
    Ok(Trust { signatures, approvers, signers: Arc::new(signers), revoked_keys, withdrawn, time_zone })
}

/// Where it stands, whether or not it is there.
pub(crate) fn signers_path(paths: &Paths, config: &Config) -> PathBuf {
    config.allowed_signers.clone().unwrap_or_else(|| beside(&paths.config, "allowed_signers"))
}

/// Likewise, of the keys that never count.
pub(crate) fn revoked_path(paths: &Paths, config: &Config) -> PathBuf {
    config.revoked_keys.clone().unwrap_or_else(|| beside(&paths.config, "revoked_keys"))
}

fn allowed_signers(paths: &Paths, config: &Config, zone: &TimeZone) -> anyhow::Result<AllowedSigners> {
    let path = signers_path(paths, config);
    let Some(bytes) = read_trusted_bytes(&path, trusted_owner())? else {
        if config.allowed_signers.is_none() && config.signatures != Signatures::Required {
            return Ok(AllowedSigners::default());
        }
        bail!(
            "{}: it is missing, and says whose signature counts: write a line for each approver, as in `alice@example.org \
             ssh-ed25519 AAAA...`",
            path.display()
        );
    };
    let signers = AllowedSigners::parse(&bytes, zone).map_err(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(|wrong| format!("{}:{wrong}", path.display())).collect();
        anyhow!("{}", told.join("\n"))
    })?;
    for warning in signers.warnings() {
        aside(format_args!("portledger: {}:{warning}", path.display()));
    }
    Ok(signers)
}

fn revoked_keys(paths: &Paths, config: &Config) -> anyhow::Result<RevokedKeys> {
    let path = revoked_path(paths, config);
    let Some(bytes) = read_trusted_bytes(&path, trusted_owner())? else {
        if config.revoked_keys.is_none() {
            return Ok(RevokedKeys::default());
        }
        bail!("{}: it is missing, and says which keys must not count", path.display());
    };
    RevokedKeys::parse(&bytes).map_err(|error| match error {
        RevokedError::Line { line, why } => anyhow!("{}:{line}: {why}", path.display()),
        RevokedError::NotUtf8(line) => anyhow!("{}:{line}: it is no UTF-8", path.display()),
        of_the_whole => anyhow!("{}: {of_the_whole}", path.display()),
    })
}

fn beside(config: &Path, name: &str) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(name)
}
