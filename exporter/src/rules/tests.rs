use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::fixtures::{everybody, now};

const GOOD: &str = "[[approval]]\nid = \"ssh\"\nlisten = \"tcp/*:22\"\nprogram = \"/usr/sbin/sshd\"\nreason = \"r\"\nby = \"alice\"\n";

pub(crate) fn policy() -> Policy {
    let policy = Policy::new(None, Default::default(), everybody().into());
    Policy { mode: Mode::Enforce, ..policy }
}

pub(crate) fn no_baseline() -> LoadOutcome {
    LoadOutcome { policy: Ok(policy()), baseline: Ok(None) }
}

/// One that approves sshd on port 22.
pub(crate) fn good_baseline() -> LoadOutcome {
    baseline_of(GOOD)
}

fn baseline_of(text: &str) -> LoadOutcome {
    let texts = vec![SourceText { path: "/etc/portledger/baseline.toml".into(), text: text.to_owned() }];
    let baseline = parse(&texts, &everybody()).unwrap();
    LoadOutcome { policy: Ok(policy()), baseline: Ok(Some(BaselineSet { texts, baseline, git: None })) }
}

fn bad_baseline() -> LoadOutcome {
    LoadOutcome { policy: Ok(policy()), baseline: Err("baseline.toml:1:1: no".to_owned()) }
}

pub(crate) fn rules(state: &Path, load: impl FnMut() -> LoadOutcome + Send + 'static) -> Rules {
    Rules::read(Box::new(load), state.to_owned(), now()).unwrap()
}

type Slot = Arc<Mutex<fn() -> LoadOutcome>>;

/// Rules that load what was last put into the slot.
fn slotted(state: &Path, first: fn() -> LoadOutcome) -> (Rules, Slot) {
    let slot = Arc::new(Mutex::new(first));
    let load = slot.clone();
    (rules(state, move || (load.lock().unwrap())()), slot)
}

#[test]
fn observes_until_there_is_a_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rules, next) = slotted(folder.path(), no_baseline);
    assert_eq!((rules.policy().mode, rules.status().revision), (Mode::Observe, None));
    assert!(rules.status().baseline.successful);
    *next.lock().unwrap() = good_baseline;
    rules.reload(now());
    assert_eq!((rules.policy().mode, rules.status().approvals), (Mode::Enforce, 1));
    assert!(rules.status().revision.is_some());
}

#[test]
fn keeps_the_last_good_baseline_when_the_files_are_bad_or_gone() {
    for broken in [bad_baseline, no_baseline] {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, next) = slotted(folder.path(), good_baseline);
        let good = first.status();
        *next.lock().unwrap() = broken;
        first.reload(now() + std::time::Duration::from_secs(60));
        let expected =
            RulesStatus { baseline: Reload { successful: false, ..good.baseline }, ..good.clone() };
        assert_eq!(
            (first.status(), first.policy().mode),
            (RulesStatus { config: first.status().config, ..expected }, Mode::Enforce)
        );
        drop(first);
        let restarted = rules(folder.path(), broken);
        assert_eq!((restarted.status().revision, restarted.status().approvals), (good.revision, 1));
        assert_eq!(restarted.status().baseline, Reload { successful: false, succeeded_at: None });
        assert_eq!(restarted.policy().mode, Mode::Enforce);
    }
}

#[test]
fn takes_the_files_again_when_they_are_mended() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rules, next) = slotted(folder.path(), bad_baseline);
    assert!(!rules.status().baseline.successful);
    assert_eq!(rules.policy().mode, Mode::Observe, "nothing was ever approved here");
    *next.lock().unwrap() = good_baseline;
    rules.reload(now());
    assert_eq!(rules.status().baseline, Reload { successful: true, succeeded_at: Some(now()) });
}

#[test]
fn keeps_the_last_good_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (mut rules, next) = slotted(folder.path(), good_baseline);
    *next.lock().unwrap() =
        || LoadOutcome { policy: Err("portledger.toml:1:1: no".to_owned()), ..good_baseline() };
    rules.reload(now());
    assert!(!rules.status().config.successful && rules.status().baseline.successful);
    assert_eq!((rules.policy().mode, rules.status().approvals), (Mode::Enforce, 1));
}

#[test]
fn does_not_start_with_a_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let load = || LoadOutcome { policy: Err("portledger.toml:1:1: no".to_owned()), baseline: Ok(None) };
    let refused = Rules::read(Box::new(load), folder.path().to_owned(), now());
    assert_eq!(refused.err().as_deref(), Some("portledger.toml:1:1: no"));
}
