use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use baseline::{Approval, NAMESPACE, Signatures, Trust, canonical};
use jiff::Timestamp;
use signing::{PublicKey, Signature, Signer};

use crate::arguments::SigningOptions;

/// Who approves, and how they prove it.
pub(crate) struct Approver {
    /// The principal of the key, or the user's name where there is none.
    pub(crate) name: String,
    signer: Option<Signer>,
}

impl Approver {
    /// Whoever called sudo, else the user. It proves nothing, and says whom to ask.
    pub(crate) fn by_name() -> Self {
        Approver { name: user(), signer: None }
    }

    pub(crate) fn key(&self) -> Option<&PublicKey> {
        self.signer.as_ref().map(Signer::key)
    }

    /// Gives an approval its approver's signature, where there is a key.
    pub(crate) fn approve(&self, mut approval: Approval) -> anyhow::Result<Approval> {
        let signature = self.sign(&canonical(&approval))?;
        approval.signature = signature.map(|signature| signature.to_base64());
        Ok(approval)
    }

    /// Signs an approval's text; `None` without a key.
    pub(crate) fn sign(&self, text: &str) -> anyhow::Result<Option<Signature>> {
        let Some(signer) = &self.signer else { return Ok(None) };
        if signer.key().type_name().starts_with("sk-") && std::io::stderr().is_terminal() {
            crate::say::aside(format_args!("Touch the security key {} ...", signer.key().fingerprint()));
        }
        let signature = signer.sign(NAMESPACE, text.as_bytes());
        Ok(Some(signature.with_context(|| format!("{} could not sign", signer.key().fingerprint()))?))
    }
}

/// Finds the key to sign with: the one that is named, else one of the agent's that may sign. Where signatures are only
/// recorded and nobody names a key, there need be none.
pub(crate) fn find(trust: &Trust, options: &SigningOptions) -> anyhow::Result<Approver> {
    let wanted = options.key.as_deref();
    if trust.signatures == Signatures::Off && wanted.is_none() {
        return Ok(Approver::by_name());
    }
    let now = Timestamp::now();
    let may_sign = |key: &PublicKey| {
        let names = || trust.signers.principals(key, NAMESPACE, now).is_ok();
        !trust.revoked_keys.contains(key) && (names() || (wanted.is_some() && options.principal.is_some()))
    };
    let optional = trust.signatures != Signatures::Required && wanted.is_none();
    let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    if optional && (trust.signers.is_empty() || agent.is_none()) {
        return Ok(Approver::by_name());
    }
    let signer = match Signer::find(wanted, agent.as_deref(), may_sign, passphrase) {
        Ok(signer) => signer,
        Err(error) if optional => {
            crate::say::aside(format_args!("portledger: not signed: {error}"));
            return Ok(Approver::by_name());
        }
        Err(error) => return Err(error).context("nothing was signed"),
    };
    let name = principal(trust, signer.key(), options, now)?;
    Ok(Approver { name, signer: Some(signer) })
}

/// Whose name the signature stands for.
fn principal(
    trust: &Trust,
    key: &PublicKey,
    options: &SigningOptions,
    now: Timestamp,
) -> anyhow::Result<String> {
    if let Some(wanted) = &options.principal {
        if trust.signatures == Signatures::Required {
            trust.signers.allows(wanted, key, NAMESPACE, now)?;
        }
        return Ok(wanted.clone());
    }
    let patterns = trust.signers.principals(key, NAMESPACE, now)?;
    let plain = |name: &&&str| !name.contains(['*', '?', '!']);
    match patterns.iter().find(plain) {
        Some(name) => Ok((*name).to_owned()),
        None => bail!(
            "the key {} may sign for {}: say with --principal whose name it is",
            key.fingerprint(),
            patterns.join(", ")
        ),
    }
}

/// Asks on the terminal.
fn passphrase(path: &Path) -> std::io::Result<String> {
    write!(std::io::stderr(), "Passphrase of {}: ", path.display())?;
    rpassword::read_password()
}

/// Whoever logged in, as the kernel remembers it over su and sudo, else who called sudo, else the user.
pub(crate) fn user() -> String {
    let logged_in = crate::acts::login_uid().and_then(exporter::user_name);
    let by_sudo = || std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let me = rustix::process::getuid().as_raw();
    let own = || exporter::user_name(me).unwrap_or_else(|| format!("uid {me}"));
    logged_in.or_else(by_sudo).unwrap_or_else(own)
}
