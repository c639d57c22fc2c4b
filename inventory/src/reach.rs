use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UnknownWord;

/// Who can connect, as far as addresses tell. Ordered from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reach {
    /// Nobody: its namespace has no address that it could be reached by.
    Isolated,
    /// Processes of the same network namespace.
    Loopback,
    /// Hosts on the same link (169.254.0.0/16, fe80::/10, link-local multicast).
    Link,
    /// Private networks (RFC 1918, RFC 4193, RFC 6598).
    Private,
    /// Everybody.
    Public,
}

impl Reach {
    /// All of them, narrowest first.
    pub const ALL: [Reach; 5] =
        [Reach::Isolated, Reach::Loopback, Reach::Link, Reach::Private, Reach::Public];

    /// The word used in files, labels and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reach::Isolated => "isolated",
            Reach::Loopback => "loopback",
            Reach::Link => "link",
            Reach::Private => "private",
            Reach::Public => "public",
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reach {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Reach::ALL.into_iter().find(|reach| reach.as_str() == word);
        found.ok_or_else(|| UnknownWord { word: word.to_owned(), set: "reach" })
    }
}
