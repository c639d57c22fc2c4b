mod built_in;
mod facts;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use inventory::{Protocol, Reach};

pub(crate) use self::facts::{Facts, severity_of};
use crate::{DriftKind, Pattern, PortPattern, ProgramPattern, Severity};

/// How grave drift is: the first rule that matches decides.
///
/// Each process that holds a socket is judged by itself, and the gravest counts: a rule that makes a trusted program's drift
/// harmless says nothing of whoever holds the socket beside it. Rules never change what is drift, nor its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeverityRules(Arc<[SeverityRule]>);

/// A severity, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeverityRule {
    /// All of it must be so.
    pub of: Traits,
    /// How grave that is.
    pub is: Severity,
}

/// What a rule asks of a drift and a process that holds it. An empty list, and `None`, ask nothing; of what is not known
/// neither yes nor no is true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The drift's gravest kind is one of these.
    pub kind: Vec<DriftKind>,
    /// Its reach is one of these; what is missing has none.
    pub reach: Vec<Reach>,
    /// It is bound to all addresses.
    pub wildcard: Option<bool>,
    /// The user's name, or its number, matches one of these.
    pub user: Vec<Pattern>,
    /// The effective uid is 0.
    pub root: Option<bool>,
    /// The program matches one of these.
    pub program: Vec<ProgramPattern>,
    /// The file that runs is one of these.
    pub file: Vec<RunningFile>,
    /// The program is a shell or another interpreter.
    pub interpreter: Option<bool>,
    /// The program's path is below [`Traits::HOMES`].
    pub home: Option<bool>,
    /// The program's path is below [`Traits::TEMPORARY`].
    pub temporary: Option<bool>,
    /// The port is one of these.
    pub port: Vec<PortPattern>,
    /// The protocol is one of these.
    pub protocol: Vec<Protocol>,
    /// The team of the approval that is nearest is one of these.
    pub team: Vec<String>,
}

impl Traits {
    /// Folders in which users keep what is theirs.
    pub const HOMES: [&str; 3] = ["/home/", "/root/", "/var/home/"];
    /// Folders in which everybody, or every user, may put a program, and which nobody backs up.
    pub const TEMPORARY: [&str; 4] = ["/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/"];

    /// It would match everything.
    pub fn is_empty(&self) -> bool {
        *self == Traits::default()
    }
}

/// What is known of the file that a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunningFile {
    /// The one at its path on the host.
    Host,
    /// Root's, and replaced on disk by root.
    Replaced,
    /// It has no name any more, and nothing of root's replaced it.
    Deleted,
    /// Another stands at its path on the host, or none: a container's, a chroot's, or a lie.
    Foreign,
    /// It never was a file.
    Memfd,
    /// It could not be compared, or the process not be seen.
    Unknown,
}

impl RunningFile {
    /// All of them.
    pub const ALL: [RunningFile; 6] = [
        RunningFile::Host,
        RunningFile::Replaced,
        RunningFile::Deleted,
        RunningFile::Foreign,
        RunningFile::Memfd,
        RunningFile::Unknown,
    ];

    /// The word in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunningFile::Host => "host",
            RunningFile::Replaced => "replaced",
            RunningFile::Deleted => "deleted",
            RunningFile::Foreign => "foreign",
            RunningFile::Memfd => "memfd",
            RunningFile::Unknown => "unknown",
        }
    }
}

impl FromStr for RunningFile {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = RunningFile::ALL.into_iter().find(|known| known.as_str() == word);
        known.ok_or_else(|| {
            format!("`{}` is none of host, replaced, deleted, foreign, memfd, unknown", word.escape_debug())
        })
    }
}

impl Default for SeverityRules {
    fn default() -> Self {
        SeverityRules::before_built_in(Vec::new())
    }
}

impl SeverityRules {
    /// These, and behind them what holds where none of them matches.
    pub fn before_built_in(mut own: Vec<SeverityRule>) -> Self {
        own.extend(built_in::rules());
        SeverityRules(own.into())
    }

    /// In the order in which they are asked.
    pub fn rules(&self) -> &[SeverityRule] {
        &self.0
    }

    fn of(&self, facts: &Facts<'_>) -> Severity {
        let decides = self.0.iter().find(|rule| facts.have(&rule.of));
        // The built-in rules leave no kind out.
        decides.map_or(Severity::Warning, |rule| rule.is)
    }
}

impl fmt::Display for SeverityRule {
    /// As a table of portledger.toml.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traits { kind, reach, wildcard, user, root, program, file, .. } = &self.of;
        let Traits { interpreter, home, temporary, port, protocol, team, .. } = &self.of;
        writeln!(f, "[[severity]]")?;
        list(f, "kind", kind)?;
        list(f, "reach", reach)?;
        truth(f, "wildcard", *wildcard)?;
        list(f, "user", user)?;
        truth(f, "root", *root)?;
        list(f, "program", program)?;
        list(f, "file", file.iter().map(|file| file.as_str()))?;
        truth(f, "interpreter", *interpreter)?;
        truth(f, "home", *home)?;
        truth(f, "temporary", *temporary)?;
        list(f, "port", port)?;
        list(f, "protocol", protocol.iter().map(|protocol| protocol.as_str()))?;
        list(f, "team", team)?;
        writeln!(f, "is = \"{}\"", self.is)
    }
}

fn truth(f: &mut fmt::Formatter<'_>, key: &str, value: Option<bool>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(f, "{key} = {value}"))
}

fn list(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    values: impl IntoIterator<Item = impl fmt::Display>,
) -> fmt::Result {
    let values: Vec<String> =
        values.into_iter().map(|value| toml::Value::String(value.to_string()).to_string()).collect();
    if values.is_empty() { Ok(()) } else { writeln!(f, "{key} = [{}]", values.join(", ")) }
}
