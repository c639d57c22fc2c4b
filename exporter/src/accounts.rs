use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use baseline::{Accounts, Baseline};
use inventory::{Inventory, Workload};
use nix::unistd::{Group, Uid, User};
use tracing::warn;

/// How long an account that is not there is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(60);
/// How long the members of a group are taken as they were.
const MEMBERS_FOR: Duration = Duration::from_secs(600);
/// How many absent ones are remembered: any user can hold sockets under the 65,536 uids of a user namespace.
const MAX_ABSENT: usize = 65_536;

/// Account names and numbers as the host's name services tell them, asked once each.
///
/// What was found stays for the life of the process: a directory that is out of reach for a minute must not change
/// who a service belongs to. Only the members of groups are asked for again.
#[derive(Debug, Default)]
pub struct AccountBook {
    by_uid: HashMap<u32, Entry>,
    by_name: HashMap<String, Entry>,
    groups: HashMap<String, Members>,
    absent: HashMap<Question, Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    uid: u32,
    gid: u32,
}

#[derive(Clone, Debug)]
struct Members {
    gid: u32,
    listed: BTreeSet<u32>,
    asked: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Uid(u32),
    User(String),
    Group(String),
}

impl AccountBook {
    /// Knows nobody yet.
    pub fn new() -> Self {
        AccountBook::default()
    }

    /// The accounts that `baseline` names and those that hold a socket of `inventory`, or in whose login it is held. What cannot be found stays out.
    pub fn resolve(&mut self, inventory: &Inventory, baseline: &Baseline) -> Accounts {
        let (users, groups) = baseline.accounts_named();
        let mut found = BTreeMap::new();
        for uid in uids_in(inventory) {
            found.extend(self.user_by_uid(uid).map(|entry| (entry.name.clone(), entry)));
        }
        // By name, for a uid may have several.
        for name in users {
            found.extend(self.user_by_name(&name).map(|entry| (entry.name.clone(), entry)));
        }
        let mut accounts = Accounts::default();
        for group in groups {
            if let Some(members) = self.members(&group, found.values()) {
                accounts = accounts.with_group(&group, members);
            }
        }
        found.into_values().fold(accounts, |accounts, entry| accounts.with_user(&entry.name, entry.uid))
    }

    fn user_by_uid(&mut self, uid: u32) -> Option<Entry> {
        if let Some(known) = self.by_uid.get(&uid) {
            return Some(known.clone());
        }
        let found = self.ask(Question::Uid(uid), || User::from_uid(Uid::from_raw(uid)))?;
        Some(self.remember(&found))
    }

    fn user_by_name(&mut self, name: &str) -> Option<Entry> {
        if let Some(known) = self.by_name.get(name) {
            return Some(known.clone());
        }
        let found = self.ask(Question::User(name.to_owned()), || User::from_name(name))?;
        Some(self.remember(&found))
    }

    fn remember(&mut self, user: &User) -> Entry {
        let entry = Entry { name: user.name.clone(), uid: user.uid.as_raw(), gid: user.gid.as_raw() };
        self.by_uid.insert(entry.uid, entry.clone());
        self.by_name.insert(entry.name.clone(), entry.clone());
        entry
    }

    /// Whom the group lists, and who of `present` has it as primary group.
    fn members<'a>(
        &mut self,
        group: &str,
        present: impl Iterator<Item = &'a Entry>,
    ) -> Option<BTreeSet<u32>> {
        if self.groups.get(group).is_none_or(|members| members.asked.elapsed() >= MEMBERS_FOR) {
            self.ask_members(group);
        }
        let members = self.groups.get(group)?;
        let primary = present.filter(|entry| entry.gid == members.gid).map(|entry| entry.uid);
        Some(members.listed.iter().copied().chain(primary).collect())
    }

    /// Without an answer the one before stays.
    fn ask_members(&mut self, group: &str) {
        let Some(found) = self.ask(Question::Group(group.to_owned()), || Group::from_name(group)) else {
            return;
        };
        let listed = found.mem.iter().filter_map(|name| Some(self.user_by_name(name)?.uid)).collect();
        let members = Members { gid: found.gid.as_raw(), listed, asked: Instant::now() };
        self.groups.insert(group.to_owned(), members);
    }

    /// Asks the name services, unless they said no a moment ago.
    fn ask<T>(&mut self, question: Question, ask: impl FnOnce() -> nix::Result<Option<T>>) -> Option<T> {
        if self.absent.get(&question).is_some_and(|since| since.elapsed() < ABSENT_FOR) {
            return None;
        }
        let answer = ask();
        if let Err(error) = &answer {
            warn!("the name services cannot be asked for {question:?}: {error}");
        }
        match answer.ok().flatten() {
            Some(found) => {
                self.absent.remove(&question);
                Some(found)
            }
            None => {
                if self.absent.len() >= MAX_ABSENT {
                    self.absent.clear();
                }
                self.absent.insert(question, Instant::now());
                None
            }
        }
    }
}

/// The name of one user; `None` where the name services know none.
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// The number of one user; `None` where the name services know none.
pub fn user_id(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

fn uids_in(inventory: &Inventory) -> BTreeSet<u32> {
    let mut uids = BTreeSet::new();
    for listener in &inventory.listeners {
        uids.insert(listener.uid);
        uids.extend(listener.holders.known().iter().flat_map(|holder| {
            let login = match &holder.workload {
                Workload::Session(session) => Some(session.uid),
                _ => None,
            };
            std::iter::once(holder.uid).chain(login)
        }));
    }
    uids
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use baseline::{SourceText, parse};
    use inventory::{Holder, Holders, Protocol};

    use super::*;
    use crate::fixtures;

    /// No account has it: systemd's dynamic range ends before, and what other ranges there are begin far after.
    const NOBODYS: u32 = 65_533;

    #[test]
    fn asks_for_who_listens_and_whom_the_baseline_names() {
        let text = "[[approval]]\nid = \"a\"\nlisten = \"tcp/*:22\"\nprogram = \"/bin/a\"\n\
                    user = [\"root\", \"no-such-user\"]\ngroup = [\"root\", \"no-such-group\"]\n";
        let baseline =
            parse(&[SourceText { path: "b.toml".into(), text: text.to_owned() }], &fixtures::everybody())
                .unwrap();
        let stranger = Holder { uid: NOBODYS, ..Holder::clone(&fixtures::holder(b"/bin/a")) };
        let holders = Holders::Known(vec![fixtures::holder(b"/bin/a"), stranger.into()]);
        let listener = fixtures::listener(1, Protocol::Tcp, Ipv4Addr::UNSPECIFIED, 22, holders);
        let accounts = AccountBook::new().resolve(&fixtures::inventory(vec![listener]), &baseline);
        assert_eq!((accounts.name(0), accounts.uid("root")), (Some("root"), Some(0)));
        assert_eq!((accounts.name(NOBODYS), accounts.uid("no-such-user")), (None, None));
        let unknown: Vec<String> =
            baseline.unknown_accounts(&accounts).map(|each| each.message.clone()).collect();
        assert_eq!(unknown.len(), 2, "{unknown:?}");
    }

    #[test]
    fn counts_those_in_whose_primary_group_it_is() {
        let mut book = AccountBook::new();
        let root = book.user_by_uid(0).unwrap();
        assert!(book.members("root", [&root].into_iter()).unwrap().contains(&0));
        assert_eq!(book.members("no-such-group", [&root].into_iter()), None);
    }

    #[test]
    fn asks_again_only_after_a_while() {
        let mut book = AccountBook::new();
        let absent = Question::User("no-such-user".to_owned());
        assert!(book.ask::<()>(absent.clone(), || Ok(None)).is_none());
        assert!(book.ask(absent, || Ok(Some(()))).is_none(), "it said no a moment ago");
    }
}
