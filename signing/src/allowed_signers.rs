mod line;
mod options;
mod pattern;
mod time;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::pattern::PatternList;
use crate::PublicKey;

/// Whose signatures count, for what and when: the file that ssh-keygen(1) defines under ALLOWED SIGNERS.
#[derive(Clone, Debug, Default)]
pub struct AllowedSigners {
    /// In the order of the file.
    rules: HashMap<PublicKey, Vec<Rule>>,
    warnings: Vec<Mistake>,
}

/// Something wrong at a place in the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// A sentence; what it quotes is escaped.
    pub message: String,
}

/// Why a signature by a key does not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotAllowed {
    /// No line has the key.
    #[error("the key {key} is not one of an allowed signer")]
    UnknownKey {
        /// Its fingerprint.
        key: String,
    },
    /// Lines have the key, and none of them this principal.
    #[error("the key {key} is not that of {principal:?}: it belongs to {owners:?}")]
    OfSomebodyElse {
        /// Its fingerprint.
        key: String,
        /// Who was said to have signed.
        principal: String,
        /// The patterns of those whose it is.
        owners: String,
    },
    /// The key may sign, but for something else.
    #[error("the key {key} may not sign for {namespace:?}, only for {allowed:?}")]
    Namespace {
        /// Its fingerprint.
        key: String,
        /// What was signed for.
        namespace: String,
        /// The patterns of what it may sign for.
        allowed: String,
    },
    /// Signed before the key could.
    #[error("the key {key} may sign only since {since}")]
    NotYet {
        /// Its fingerprint.
        key: String,
        /// When it begins.
        since: Timestamp,
    },
    /// Signed when the key could no more.
    #[error("the key {key} could sign only until {until}")]
    Expired {
        /// Its fingerprint.
        key: String,
        /// When it ended.
        until: Timestamp,
    },
}

/// What one line says of a key.
#[derive(Clone, Debug)]
struct Rule {
    principals: PatternList,
    /// `None` allows all.
    namespaces: Option<PatternList>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

/// Of the file, in bytes.
const MAX_FILE: usize = 1 << 20;
const MAX_LINES: usize = 10_000;
/// No file is told of more mistakes than a person will read.
const TOLD: usize = 50;
/// More characters of patterns no person will read.
const SHOWN: usize = 200;

impl AllowedSigners {
    /// Reads the file; everything that is wrong in it is told. Times without Z are those of `zone`, and in its standard
    /// time all year, as ssh-keygen reads them.
    pub fn parse(file: &[u8], zone: &TimeZone) -> Result<Self, Vec<Mistake>> {
        let whole = |line, message: String| Err(vec![Mistake { line, column: 1, message }]);
        if file.len() > MAX_FILE {
            return whole(1, format!("the file is larger than {MAX_FILE} bytes"));
        }
        let mut signers = AllowedSigners::default();
        let mut mistakes = Vec::new();
        let lines = file.strip_suffix(b"\n").unwrap_or(file);
        for (number, bytes) in (1..).zip(lines.split(|byte| *byte == b'\n')) {
            if number > MAX_LINES {
                return whole(number, format!("the file has more than {MAX_LINES} lines"));
            }
            match line::parse(number, bytes, zone) {
                Ok(line::Line::Nothing) => {}
                Ok(line::Line::Warning(warning)) => signers.warnings.push(warning),
                Ok(line::Line::Rule(key, rule)) => signers.rules.entry(*key).or_default().push(rule),
                Err(more) => mistakes.extend(more),
            }
        }
        mistakes.truncate(TOLD);
        signers.warnings.truncate(TOLD);
        if mistakes.is_empty() { Ok(signers) } else { Err(mistakes) }
    }

    /// Nobody may sign.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Some line has this key for this principal, whatever it is for and when.
    pub fn belongs_to(&self, key: &PublicKey, principal: &str) -> bool {
        self.rules.get(key).into_iter().flatten().any(|rule| rule.principals.matches(principal))
    }

    /// Everybody who may sign for a namespace with some of these keys at some time: the patterns that
    /// admit, as they stand.
    pub fn everybody(&self, namespace: &str, with: impl Fn(&PublicKey) -> bool) -> BTreeSet<&str> {
        let rules = self.rules.iter().filter(|(key, _)| with(key)).flat_map(|(_, rules)| rules);
        let of_namespace =
            rules.filter(|rule| rule.namespaces.as_ref().is_none_or(|allowed| allowed.matches(namespace)));
        let patterns = of_namespace.flat_map(|rule| rule.principals.patterns());
        patterns.filter(|pattern| !pattern.starts_with('!')).collect()
    }

    /// Lines that trust nobody, though their writer may think so.
    pub fn warnings(&self) -> &[Mistake] {
        &self.warnings
    }

    /// Whether what this key signed for a namespace at a moment counts as this principal's, as `ssh-keygen -Y verify`
    /// judges. Where several lines speak of both, one that allows is enough.
    pub fn allows(
        &self,
        principal: &str,
        key: &PublicKey,
        namespace: &str,
        at: Timestamp,
    ) -> Result<(), NotAllowed> {
        let rules = self.rules_of(key)?;
        let of_principal = rules.iter().filter(|rule| rule.principals.matches(principal));
        let judged = of_principal.map(|rule| rule.allows(key, namespace, at));
        // What came furthest tells most.
        let best = judged.min_by_key(|judged| judged.clone().err().map(Reverse));
        best.unwrap_or_else(|| {
            let owners: Vec<&str> = rules.iter().map(|rule| rule.principals.as_str()).collect();
            let owners = owners.join(",").chars().take(SHOWN).collect();
            let key = key.fingerprint();
            Err(NotAllowed::OfSomebodyElse { key, principal: principal.to_owned(), owners })
        })
    }

    /// Whose signature by this key for a namespace at a moment counts: the patterns of all lines that allow it.
    /// `ssh-keygen -Y find-principals` tells those of the first, whatever its namespaces are.
    pub fn principals(
        &self,
        key: &PublicKey,
        namespace: &str,
        at: Timestamp,
    ) -> Result<Vec<&str>, NotAllowed> {
        let mut found = Vec::new();
        let mut refused = None;
        for rule in self.rules_of(key)? {
            match rule.allows(key, namespace, at) {
                Ok(()) => found.extend(rule.principals.patterns()),
                Err(why) => refused = refused.max(Some(why)),
            }
        }
        match refused {
            Some(why) if found.is_empty() => Err(why),
            _ => Ok(found),
        }
    }

    fn rules_of(&self, key: &PublicKey) -> Result<&[Rule], NotAllowed> {
        let rules = self.rules.get(key).map(Vec::as_slice);
        rules.ok_or_else(|| NotAllowed::UnknownKey { key: key.fingerprint() })
    }
}

impl Rule {
    /// The key is the one that the line is about.
    fn allows(&self, key: &PublicKey, namespace: &str, at: Timestamp) -> Result<(), NotAllowed> {
        let fingerprint = || key.fingerprint();
        if let Some(allowed) = self.namespaces.as_ref().filter(|allowed| !allowed.matches(namespace)) {
            let (namespace, allowed) = (namespace.to_owned(), allowed.as_str().chars().take(SHOWN).collect());
            return Err(NotAllowed::Namespace { key: fingerprint(), namespace, allowed });
        }
        // Both moments belong to the time that is allowed, which OpenSSH counts in seconds.
        let second = at.as_second();
        if let Some(since) = self.after.filter(|since| second < since.as_second()) {
            return Err(NotAllowed::NotYet { key: fingerprint(), since });
        }
        if let Some(until) = self.before.filter(|until| second > until.as_second()) {
            return Err(NotAllowed::Expired { key: fingerprint(), until });
        }
        Ok(())
    }
}
