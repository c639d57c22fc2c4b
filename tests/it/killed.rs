//! Acts of people that are killed at each call that they make on a file: what was acknowledged holds, and what was not
//! leaves nothing half done.

use std::collections::BTreeMap;
use std::fs;

use baseline::{SourceText, Trust, parse};
use jiff::tz::TimeZone;
use ledger::{Act, ActKind, HostKeys, verify};
use sha2::{Digest, Sha256};

use crate::world::{CALLS, Host, Person, Puppet, Told};

/// Withdrawn by the act after the one that was killed.
const SPARE: &str =
    "[[approval]]\nid = \"spare\"\nlisten = \"tcp/*:9\"\nprogram = \"/bin/spare\"\nreason = \"r\"\n";
const REVOKE_SPARE: [&str; 2] = ["revoke", "spare"];

/// A host that demands signatures, where an `app` that nobody approved listens on 8080.
struct Shop {
    host: Host,
    people: [Person; 2],
    _app: Puppet,
}

impl Shop {
    fn where_one_approves() -> Option<Self> {
        Shop::of("")
    }

    fn where_two_approve() -> Option<Self> {
        Shop::of("approvers = 2\n")
    }

    fn of(config: &str) -> Option<Self> {
        let host = Host::new().filter(Host::lets_tamper)?;
        let people = ["alice", "bob"].map(|name| host.person(name));
        host.demands_signatures(&people.each_ref(), config);
        host.write("etc/baseline.toml", SPARE);
        let app = host.listen("tcp 0.0.0.0:8080").by("app");
        Some(Shop { host, people, _app: app })
    }
}

fn approve<'a>(drift: &'a str, by: &'a Person) -> [&'a str; 8] {
    ["approve", drift, "--reason", "the shop", "--name", "shop", "--key", by.key()]
}

/// An act that is killed again and again.
struct Story<'a> {
    host: &'a Host,
    verb: &'a [&'a str],
    kind: ActKind,
    /// The baseline that it edits; `None` where it writes one.
    baseline: Option<String>,
    /// With a ledger and a key that are made anew each time.
    first_act: bool,
    /// What is recorded holds, for the host remembers it: nothing takes it back.
    is_remembered: bool,
}

impl Story<'_> {
    /// At the first call of each kind, at the second, and so on.
    fn is_told(&self) {
        let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
        for call in CALLS {
            for nth in 1.. {
                let before = self.prepare(call, nth);
                let known = acts(self.host).len();
                let tampered = self.host.tampered(call, nth, "signal=SIGKILL", self.verb);
                let Some(place) = tampered.call else {
                    assert_eq!(tampered.told.code, 0, "{call} {nth}: {:?}", tampered.told);
                    self.settle(true);
                    break;
                };
                self.look(&place, &tampered.told, &before, known);
                kills.insert(call, nth);
            }
        }
        let all: usize = kills.values().sum();
        eprintln!("{}: {all} kills: {kills:?}", self.verb[0]);
        assert!(all > 40, "{kills:?}");
    }

    /// Each time another text: what is as it was before the last act was not done.
    fn prepare(&self, call: &str, nth: usize) -> Option<String> {
        if self.first_act {
            fs::remove_dir_all(self.host.path("state")).unwrap_or_default();
        }
        match &self.baseline {
            Some(text) => self.host.write("etc/baseline.toml", format!("# {call} {nth}\n{text}")),
            None => fs::remove_file(self.host.path("etc/baseline.toml")).unwrap_or_default(),
        }
        text(self.host)
    }

    fn look(&self, place: &str, told: &Told, before: &Option<String>, known: usize) {
        let text = text(self.host);
        let is_done = text != *before;
        if let Some(text) = &text {
            let source = SourceText { path: "baseline.toml".into(), text: text.clone() };
            let mistakes = parse(&[source], &Trust::in_everybody(TimeZone::UTC)).err();
            assert!(mistakes.is_none(), "{place}: {mistakes:?}: {text}");
            let first = before.as_ref().and_then(|before| before.lines().next()).unwrap_or_default();
            assert!(text.starts_with(first), "{place}: {text}");
        }
        assert!(is_done || told.stdout.is_empty(), "{place}: acknowledged and not done: {told:?}");
        let acts = acts(self.host);
        let recorded = acts.get(known);
        let change = recorded.and_then(|act| act.file.clone());
        let tells = recorded.is_none_or(|act| act.act == self.kind) && acts.len() <= known + 1;
        assert!(tells, "{place}: {acts:#?}");
        if let Some(change) = &change {
            assert_eq!(change.before, before.as_deref().map(digest), "{place}");
        }
        if is_done {
            let after = change.map(|change| change.after);
            assert_eq!(after, text.as_deref().map(digest), "{place}: done and not recorded");
        }
        let is_recorded = recorded.is_some();
        let was_not_done = (!is_done && is_recorded && !self.is_remembered).then_some(acts.len() as u64);
        self.settle(is_done);
        let later = self::acts(self.host);
        let undone = later.iter().skip(acts.len()).filter(|act| act.act == ActKind::Undone);
        let undone: Vec<_> = undone.map(|act| act.of).collect();
        assert_eq!(undone, was_not_done.map(Some).into_iter().collect::<Vec<_>>(), "{place}: {later:#?}");
        if self.is_remembered {
            let memory = fs::read_to_string(self.host.path("state/ledger.revoked.json")).unwrap_or_default();
            assert_eq!(memory.contains("\"shop\":1"), is_recorded, "{place}: {memory}");
        }
    }

    /// The acts after it, which nothing that it left behind is in the way of.
    fn settle(&self, is_done: bool) {
        if self.baseline.is_none() && !is_done {
            self.host.does(self.verb);
        }
        self.host.does(&REVOKE_SPARE);
    }
}

fn text(host: &Host) -> Option<String> {
    fs::read_to_string(host.path("etc/baseline.toml")).ok()
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the ledger holds, every record of which is vouched for.
fn acts(host: &Host) -> Vec<Act> {
    let state = host.path("state");
    let Ok(ledger) = fs::read_to_string(state.join("ledger.jsonl")) else { return Vec::new() };
    let keys = HostKeys::read(&state.join("ledger.key.pub")).unwrap();
    let verified =
        verify(&state, "ledger", &keys, |_| {}).unwrap_or_else(|wrong| panic!("{wrong}: {ledger}"));
    let acts: Vec<Act> = ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verified.head.record, acts.len() as u64);
    acts
}

#[test]
fn a_revocation_that_is_killed_is_done_or_not() {
    let Some(host) = Host::new().filter(Host::lets_tamper) else { return };
    let shop =
        "\n[[approval]]\nid = \"shop\"\nlisten = \"tcp/*:80\"\nprogram = \"/bin/shop\"\nreason = \"r\"\n";
    let baseline = Some(format!("{SPARE}{shop}"));
    let verb = ["revoke", "shop", "--reason", "closed"];
    Story {
        host: &host,
        verb: &verb,
        kind: ActKind::Revoke,
        baseline,
        first_act: true,
        is_remembered: false,
    }
    .is_told();
}

/// Whatever the file says afterwards, by the next act the host remembers what was recorded.
#[test]
fn what_was_signed_is_revoked_for_good_wherever_it_is_killed() {
    let Some(Shop { host, people: [alice, _], _app }) = Shop::where_one_approves() else { return };
    host.does(&approve(&host.diff().on(8080).id(), &alice));
    let baseline = Some(host.baseline());
    let verb = ["revoke", "shop", "--reason", "stolen"];
    Story { host: &host, verb: &verb, kind: ActKind::Revoke, baseline, first_act: true, is_remembered: true }
        .is_told();
}

/// Each renewal of what is in force is killed at another call that puts a file in its place.
#[test]
fn a_renewal_that_is_killed_leaves_one_of_both_in_force() {
    let Some(Shop { host, people: [alice, _], _app }) = Shop::where_one_approves() else { return };
    host.does(&approve(&host.diff().on(8080).id(), &alice));
    let first = host.baseline();
    let renewal = ["approve", "shop", "--for", "1d", "--key", alice.key()];
    let (mut kills, mut done) = (0, 0);
    for nth in 1.. {
        fs::remove_dir_all(host.path("state")).unwrap();
        host.write("etc/baseline.toml", &first);
        let tampered = host.tampered("rename", nth, "signal=SIGKILL", &renewal);
        let Some(place) = tampered.call else { break };
        let is_done = host.baseline() != first;
        host.does(&REVOKE_SPARE);
        let undone = acts(&host).iter().any(|act| act.act == ActKind::Undone);
        assert!(!(undone && is_done), "{place}");
        host.diff().nothing_on(8080);
        host.write("etc/baseline.toml", &first);
        // Where the renewal was written, what it renewed counts no more, pasted or not.
        assert_eq!(host.diff().find(8080).is_some(), is_done, "{place}");
        (kills, done) = (kills + 1, done + usize::from(is_done));
    }
    assert!(kills > done && done > 0, "{done} of {kills}");
}

#[test]
fn a_countersignature_that_is_killed_is_there_or_not() {
    let Some(Shop { host, people: [alice, bob], _app }) = Shop::where_two_approve() else { return };
    host.does(&approve(&host.diff().on(8080).id(), &alice));
    let baseline = Some(host.baseline());
    let verb = ["countersign", "shop", "--key", bob.key()];
    Story {
        host: &host,
        verb: &verb,
        kind: ActKind::Countersign,
        baseline,
        first_act: false,
        is_remembered: false,
    }
    .is_told();
}

#[test]
fn an_approval_that_is_killed_is_there_or_not() {
    let Some(Shop { host, people: [alice, _], _app }) = Shop::where_one_approves() else { return };
    let id = host.diff().on(8080).id();
    let verb = approve(&id, &alice);
    let baseline = Some(SPARE.to_owned());
    Story {
        host: &host,
        verb: &verb,
        kind: ActKind::Approve,
        baseline,
        first_act: false,
        is_remembered: false,
    }
    .is_told();
}

#[test]
fn a_baseline_that_is_being_learned_is_there_or_not() {
    let Some(host) = Host::new().filter(Host::lets_tamper) else { return };
    let _spare = host.listen("tcp 0.0.0.0:9").by("spare");
    Story {
        host: &host,
        verb: &["learn"],
        kind: ActKind::Learn,
        baseline: None,
        first_act: false,
        is_remembered: false,
    }
    .is_told();
}
