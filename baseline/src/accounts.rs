use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The users and groups of this host, as whoever reads them filled it: uids are compared, names are for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    uids: BTreeMap<String, u32>,
    names: BTreeMap<u32, String>,
    members: BTreeMap<String, BTreeSet<u32>>,
}

impl Accounts {
    /// Adds a user. Where several share a uid, the name that sorts first stands for it.
    #[must_use]
    pub fn with_user(mut self, name: &str, uid: u32) -> Self {
        let shown = self.names.entry(uid).or_insert_with(|| name.to_owned());
        if name < shown.as_str() {
            name.clone_into(shown);
        }
        self.uids.insert(name.to_owned(), uid);
        self
    }

    /// Adds a group with the uids of all its members, those included whose primary group it is.
    #[must_use]
    pub fn with_group(mut self, name: &str, uids: impl IntoIterator<Item = u32>) -> Self {
        self.members.entry(name.to_owned()).or_default().extend(uids);
        self
    }

    /// The uid of a user.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.uids.get(name).copied()
    }

    /// The user's name.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.names.get(&uid).map(String::as_str)
    }

    /// The user's name, else the number.
    pub fn word(&self, uid: u32) -> String {
        self.name(uid).map_or_else(|| uid.to_string(), str::to_owned)
    }

    /// The groups with the uids of their members.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &BTreeSet<u32>)> {
        self.members.iter().map(|(name, uids)| (name.as_str(), uids))
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.members.contains_key(group)
    }

    pub(crate) fn is_member(&self, uid: u32, group: &str) -> bool {
        self.members.get(group).is_some_and(|uids| uids.contains(&uid))
    }
}

/// A user as an approval names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum User {
    /// By number: the same on every host.
    Uid(u32),
    /// By name: whatever uid the host gives it.
    Name(String),
}

impl User {
    /// Digits alone are a uid.
    pub fn new(word: &str) -> Self {
        word.parse().map_or_else(|_| User::Name(word.to_owned()), User::Uid)
    }

    pub(crate) fn is(&self, uid: u32, accounts: &Accounts) -> bool {
        match self {
            User::Uid(own) => *own == uid,
            User::Name(name) => accounts.uid(name) == Some(uid),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Uid(uid) => uid.fmt(f),
            User::Name(name) => f.pad(name),
        }
    }
}
