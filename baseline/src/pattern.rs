use std::fmt;

use glob::MatchOptions;
use inventory::{NetNs, NetNsKind, RawText};

/// `*` and `?` stop at `/`.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A glob over the escaped text of a name: [`RawText::escaped`] is injective, so no other bytes can match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    glob: glob::Pattern,
    literal: bool,
}

impl Pattern {
    /// Reads a glob. Fails with a sentence about what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let literal = !text.contains(['*', '?', '[', ']']);
        match glob::Pattern::new(text) {
            Ok(glob) => Ok(Pattern { glob, literal }),
            Err(error) => Err(format!("{} at character {}", error.msg, error.pos + 1)),
        }
    }

    /// Matches this name and no other.
    pub fn exactly(name: &RawText) -> Self {
        Pattern::exactly_text(&name.escaped())
    }

    /// Matches this text, which is escaped already, and no other.
    pub(crate) fn exactly_text(text: &str) -> Self {
        let escaped = glob::Pattern::escape(text);
        let literal = escaped == text;
        // An escaped text is a valid glob; the default one matches nothing but the empty name.
        Pattern { glob: glob::Pattern::new(&escaped).unwrap_or_default(), literal }
    }

    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        self.glob.as_str()
    }

    /// The only text that it matches, where it has no wildcard.
    pub(crate) fn literal(&self) -> Option<&str> {
        self.literal.then(|| self.glob.as_str())
    }

    pub(crate) fn matches(&self, escaped: &str) -> bool {
        match self.literal() {
            Some(literal) => literal == escaped,
            None => self.glob.matches_with(escaped, OPTIONS),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which programs an approval is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProgramPattern {
    /// `kernel`: sockets that no process has.
    Kernel,
    /// Programs by their path.
    Path(Pattern),
}

impl ProgramPattern {
    /// Reads the word `kernel` or a glob over paths. Fails with a sentence about what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text == "kernel" {
            return Ok(ProgramPattern::Kernel);
        }
        if !text.starts_with(['/', '*', '[', '?']) {
            return Err(format!("`{text}` is no path from the root, and not the word `kernel`"));
        }
        Pattern::new(text).map(ProgramPattern::Path)
    }
}

impl fmt::Display for ProgramPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramPattern::Kernel => f.pad("kernel"),
            ProgramPattern::Path(pattern) => pattern.fmt(f),
        }
    }
}

/// Which network namespaces an approval or a scope is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetNsPattern {
    /// `host`.
    Host,
    /// `container`: of any container or pod.
    Container,
    /// `any`.
    Any,
    /// By name, the host's excepted.
    Name(Pattern),
}

impl NetNsPattern {
    /// Reads a word or a glob.
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(match text {
            "host" => NetNsPattern::Host,
            "container" => NetNsPattern::Container,
            "any" => NetNsPattern::Any,
            name => NetNsPattern::Name(Pattern::new(name)?),
        })
    }

    /// Matches the namespaces of this kind and name, of a kind other than `Host` by name alone.
    pub fn exactly(kind: NetNsKind, name: &RawText) -> Self {
        if kind == NetNsKind::Host {
            return NetNsPattern::Host;
        }
        let escaped = name.escaped();
        match escaped.as_str() {
            // A namespace can be called like one of the words: a class of one character is not that word.
            "host" => NetNsPattern::Name(Pattern::class_first("[h]ost")),
            "container" => NetNsPattern::Name(Pattern::class_first("[c]ontainer")),
            "any" => NetNsPattern::Name(Pattern::class_first("[a]ny")),
            _ => NetNsPattern::Name(Pattern::exactly(name)),
        }
    }

    pub(crate) fn matches(&self, kind: NetNsKind, escaped: &str) -> bool {
        match self {
            NetNsPattern::Any => true,
            NetNsPattern::Host => kind == NetNsKind::Host,
            NetNsPattern::Container => kind == NetNsKind::Container,
            NetNsPattern::Name(pattern) => kind != NetNsKind::Host && pattern.matches(escaped),
        }
    }

    pub(crate) fn matches_namespace(&self, netns: &NetNs) -> bool {
        self.matches(netns.kind, &netns.name.escaped())
    }
}

impl Pattern {
    fn class_first(glob: &str) -> Self {
        Pattern { glob: glob::Pattern::new(glob).unwrap_or_default(), literal: false }
    }
}

impl fmt::Display for NetNsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetNsPattern::Host => f.pad("host"),
            NetNsPattern::Container => f.pad("container"),
            NetNsPattern::Any => f.pad("any"),
            NetNsPattern::Name(pattern) => pattern.fmt(f),
        }
    }
}

/// Which hosts an approval is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `@web`: every host that names the group in its configuration.
    Group(String),
    /// By name.
    Name(Pattern),
}

impl HostPattern {
    /// Reads `@group` or a glob over the host's name.
    pub fn new(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some("") => Err("a group wants a name after `@`".to_owned()),
            Some(group) => Ok(HostPattern::Group(group.to_owned())),
            None => Ok(HostPattern::Name(Pattern::new(text)?)),
        }
    }

    /// Matches the host of this name and no other.
    pub fn exactly(name: &RawText) -> Self {
        let pattern = Pattern::exactly(name);
        // A host can be called as a group is written: a class of one character is no group.
        match pattern.as_str().strip_prefix('@') {
            Some(rest) => HostPattern::Name(Pattern::class_first(&format!("[@]{rest}"))),
            None => HostPattern::Name(pattern),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Group(group) => write!(f, "@{group}"),
            HostPattern::Name(pattern) => pattern.fmt(f),
        }
    }
}
