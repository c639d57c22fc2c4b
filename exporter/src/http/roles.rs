//! What may be read by whom.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::who::{Who, shown};
use crate::web_config::WebConfig;

/// Something that may be read or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// The metrics.
    Metrics,
    /// `/api/v1/drift` and `/api/v1/status`.
    Drift,
    /// `/api/v1/listeners`, with command lines, and the front page.
    Inventory,
    /// `/-/healthy` and `/-/ready`.
    Health,
}

impl Right {
    const ALL: [Right; 4] = [Right::Metrics, Right::Drift, Right::Inventory, Right::Health];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Right::Metrics => "metrics",
            Right::Drift => "drift",
            Right::Inventory => "inventory",
            Right::Health => "health",
        }
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Right::ALL.into_iter().find(|right| right.as_str() == word);
        known.ok_or_else(|| format!("`{word}` is none of metrics, drift, inventory, health"))
    }
}

/// What some may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Names of users.
    pub users: BTreeSet<String>,
    /// Names of certificates: the common name, or an alternative name as a whole.
    pub certificates: BTreeSet<String>,
    /// What they may read.
    pub may: BTreeSet<Right>,
}

impl Role {
    fn is_for(&self, who: &Who) -> bool {
        let has = |names: &BTreeSet<String>, name: &String| names.contains(name);
        let certified = who.certificate.as_ref().is_some_and(|subject| {
            let mut names = subject.common_name.iter().chain(&subject.alternative);
            names.any(|name| has(&self.certificates, name))
        });
        certified || who.user.as_ref().is_some_and(|user| has(&self.users, user))
    }
}

/// What somebody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    may: BTreeSet<Right>,
    /// Whether of the inventory they may read the command lines too.
    pub(super) command_lines: bool,
}

impl Rights {
    /// Where nobody has a role everybody may read everything.
    pub(super) fn of(who: &Who, roles: &[Role]) -> Self {
        if roles.is_empty() {
            return Rights::all();
        }
        let own = roles.iter().filter(|role| role.is_for(who));
        Rights { may: own.flat_map(|role| role.may.iter().copied()).collect(), command_lines: true }
    }

    /// On the host itself: root and we ourselves see all, and others what the kernel shows them of other processes.
    pub(super) fn on_this_host(uid: u32, ours: u32) -> Self {
        Rights { command_lines: uid == 0 || uid == ours, ..Rights::all() }
    }

    pub(super) fn include(&self, right: Right) -> bool {
        self.may.contains(&right)
    }

    fn all() -> Self {
        Rights { may: Right::ALL.into(), command_lines: true }
    }
}

/// What is to be said of names in roles that nobody can have shown, as the web configuration is.
pub(super) fn in_vain(roles: &[Role], config: Option<&WebConfig>) -> Vec<String> {
    let users: BTreeSet<&String> = roles.iter().flat_map(|role| &role.users).collect();
    let certificates: BTreeSet<&String> = roles.iter().flat_map(|role| &role.certificates).collect();
    let is_vouched_for = config.is_some_and(|config| config.tls.as_ref().is_some_and(|tls| tls.vouches));
    let is_user = |name: &str| config.is_some_and(|config| config.users.admits(name));
    let mut said = Vec::new();
    for user in users.into_iter().filter(|user| !is_user(user)) {
        let why = match config {
            None => "there is no --web.config.file that has users",
            Some(_) => "basic_auth_users of the web configuration has no such user with a whole hash",
        };
        said.push(format!("[[web.role]] names user `{}`, whom nobody can be: {why}", shown(user)));
    }
    for certificate in certificates.into_iter().filter(|_| !is_vouched_for) {
        let name = shown(certificate);
        said.push(format!(
            "[[web.role]] names certificate `{name}`, which nobody can show: the web configuration asks for none that an \
             authority vouches for (client_auth_type)"
        ));
    }
    said
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::web_config::Subject;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn told(who: &Who) -> String {
        let roles = [
            Role {
                users: set(&["prom"]),
                certificates: set(&["prom.example"]),
                may: [Right::Metrics].into(),
            },
            Role { users: set(&["alice", "prom"]), certificates: set(&[]), may: [Right::Inventory].into() },
        ];
        let rights = Rights::of(who, &roles);
        let words = rights.may.iter().map(|right| right.as_str());
        words.collect::<Vec<_>>().join(" ")
    }

    fn certified(common_name: Option<&str>, alternative: &[&str]) -> Who {
        let alternative = alternative.iter().map(|name| (*name).to_owned()).collect();
        let subject = Subject { common_name: common_name.map(str::to_owned), alternative };
        Who { certificate: Some(Arc::new(subject)), ..Who::anonymous() }
    }

    #[test]
    fn roles_add_up_and_nobody_else_has_one() {
        let user = |name: &str| Who { user: Some(name.to_owned()), ..Who::anonymous() };
        for (who, expected) in [
            (user("prom"), "metrics inventory"),
            (user("alice"), "inventory"),
            (user("Alice"), ""),
            // A user is no certificate, and the other way round.
            (user("prom.example"), ""),
            (certified(Some("prom"), &[]), ""),
            (certified(Some("prom.example"), &[]), "metrics"),
            (certified(Some("x"), &["y", "prom.example"]), "metrics"),
            (certified(Some("not.prom.example"), &["prom.example.org"]), ""),
            (Who { uid: Some(0), ..Who::anonymous() }, ""),
            (Who::anonymous(), ""),
        ] {
            assert_eq!(told(&who), expected, "{who:?}");
        }
    }

    #[test]
    fn names_that_are_nobodys_are_told() {
        let of = |users: &[&str], certificates: &[&str]| Role {
            users: set(users),
            certificates: set(certificates),
            may: [Right::Metrics].into(),
        };
        let roles = [of(&["prom", "prometeus"], &[]), of(&["prometeus"], &["a\nb"])];
        let said = in_vain(&roles, None);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|line| !line.contains('\n')), "{said:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yml");
        let users = format!("basic_auth_users: {{prom: {}}}\n", crate::web_config::fixtures::SECRET);
        std::fs::write(&file, users).unwrap();
        let config = crate::web_config::InForce::read(&file).unwrap().last();
        let said = in_vain(&roles, Some(&config));
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("user `prometeus`, whom nobody can be: basic_auth_users"), "{said:?}");
        assert!(said[1].contains("certificate `a\\x0ab`, which nobody can show"), "{said:?}");
        assert!(in_vain(&[], None).is_empty());
    }

    #[test]
    fn without_roles_all_may_read_all() {
        assert_eq!(Rights::of(&Who::anonymous(), &[]), Rights::all());
    }

    #[test]
    fn command_lines_are_for_root_and_us() {
        for (uid, whole) in [(0, true), (62945, true), (1000, false), (u32::MAX, false)] {
            let rights = Rights::on_this_host(uid, 62945);
            assert_eq!((rights.command_lines, rights.include(Right::Inventory)), (whole, true), "{uid}");
        }
    }
}
