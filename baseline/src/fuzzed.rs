//! What strangers write and this crate reads, each as a function of bytes that panics where something does not hold.
#![allow(clippy::expect_used)]

use std::fmt::{Debug, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

pub use crate::git_commit::fuzzed as git;
use crate::{
    Approval, HostPattern, Listen, NetNsPattern, Pattern, ProgramPattern, Register, SourceText, Trust,
    Wanted, When, Written, approval_json, approval_of_json, edit, format, parse,
};

/// Every input by the name of its target.
#[cfg(test)]
const ALL: &[short::Input] =
    &[("baseline_files", files), ("baseline_words", words), ("baseline_git", git), ("baseline_state", state)];

/// A file of a baseline. Whatever is wrong with it is told harmlessly; a good one means the same in its form, in the record
/// of each approval, and where an approval is written anew.
pub fn files(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let file = source(text);
    let trust = Trust::in_everybody(TimeZone::UTC);
    let baseline = match parse(std::slice::from_ref(&file), &trust) {
        Ok(baseline) => baseline,
        Err(wrong) => {
            assert!(!wrong.is_empty());
            return wrong.iter().for_each(|one| harmless(&one.to_string()));
        }
    };
    baseline.warnings().iter().for_each(|warning| harmless(&warning.to_string()));
    if let Ok(formed) = format(&file) {
        assert_eq!(format(&source(&formed)).as_ref(), Ok(&formed), "a form has itself for its form");
        let again = parse(&[source(&formed)], &trust).expect("what was formed is a baseline");
        assert_eq!(again.approvals(), baseline.approvals());
    }
    for approval in baseline.approvals() {
        let told = approval_json(approval);
        if told.get("too_long").is_none() {
            assert_eq!(approval_of_json(&told).as_ref(), Ok(approval));
        }
        assert_eq!(only(&edit::render(approval), &trust), *approval);
        assert!(edit::holds(&file, &approval.id));
        if let Ok(without) = edit::remove(&file, &approval.id) {
            let left = parse(&[source(&without)], &trust).expect("the others are as they were");
            assert!(left.approval(&approval.id).is_none());
            assert_eq!(left.approvals().len() + 1, baseline.approvals().len());
        }
    }
}

/// Patterns, times and other words of a file: what was read and is written again is read the same.
pub fn words(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    same(text, |text| Pattern::new(text).ok());
    same(text, |text| NetNsPattern::new(text).ok());
    same(text, |text| HostPattern::new(text).ok());
    same(text, |text| Listen::from_str(text).ok());
    same(text, |text| Wanted::from_str(text).ok());
    same(text, When::parse);
    if let Ok(pattern) = Pattern::new(text) {
        // A glob has no more turns than it has letters to go back to.
        let _matches = pattern.matches(&text.chars().take(64).collect::<String>());
        assert!(Pattern::exactly_text(text).matches(text) || text.is_empty());
        assert!(matches!(ProgramPattern::Path(pattern), ProgramPattern::Path(_)));
    }
}

/// Files of the state folder, which the exporter's user could have written: what is read and written again is the same.
pub fn state(bytes: &[u8]) {
    crate::withdrawn::fuzzed(bytes);
    crate::last_good::fuzzed(bytes);
    let Ok(register) = Register::from_json(&String::from_utf8_lossy(bytes)) else { return };
    let mut written = Vec::new();
    register.write_json(NOW, &mut written).expect("what was read can be written");
    let text = String::from_utf8(written).expect("JSON is text");
    let mut again = Vec::new();
    let read = Register::from_json(&text).expect("what was written can be read");
    read.write_json(NOW, &mut again).expect("and written again");
    assert_eq!(text.as_bytes(), again);
}

const NOW: Written = Written { at: SystemTime::UNIX_EPOCH, since_boot: Duration::ZERO };

fn source(text: &str) -> SourceText {
    SourceText { path: PathBuf::from("/etc/portledger/baseline.toml"), text: text.to_owned() }
}

fn only(text: &str, trust: &Trust) -> Approval {
    let baseline = parse(&[source(text)], trust).expect("what is rendered is a baseline");
    assert_eq!(baseline.approvals().len(), 1);
    baseline.approvals()[0].clone()
}

fn same<T: PartialEq + Debug + Display>(text: &str, read: impl Fn(&str) -> Option<T>) {
    if let Some(one) = read(text) {
        let written = one.to_string();
        assert_eq!(read(&written).as_ref(), Some(&one), "{written:?}");
    }
}

fn harmless(text: &str) {
    assert!(text.chars().all(|one| one == '\n' || inventory::is_seen(one)), "{text:?} would be obeyed");
}

#[cfg(test)]
#[path = "../../fuzz/short.rs"]
mod short;

#[test]
fn what_strangers_write_is_survived() {
    short::run(ALL, 3_000);
}
