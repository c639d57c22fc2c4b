//! The one form of a file.

use baseline::{FormatError, edit::render, format};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::{select, subsequence};

use crate::properties::approval;
use crate::world::{read, source};

fn formatted(text: &str) -> String {
    format(&source("b.toml", text)).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"))
}

#[test]
fn keys_lists_quotes_and_blanks_have_one_form() {
    let text = "# The web hosts.\n# Ask the web team.\n\n\n[ defaults ]\nteam   =   'web' # odd spacing\nhosts=[\"@web\",]\n\
                # sshd, as everywhere\n[[approval]] # first\n\
                listen = [\n  \"tcp/*:22\", # both families\n  # and sctp\n  'sctp/*:22'\n]\n\n\
                program = [ \"/usr/sbin/sshd\" ]\n# so it is called\nid = \"ssh\"     # kept\n# still about sshd\n\n\n# a section\n\n\
                # nginx\n# of the shop\n[[approval]]\nexpires = 2027-11-21 09:00:00Z\n\
                listen = [\"tcp/*:80\",\n\"tcp/*:443\"]\nprogram = \"\"\"/usr/sbin/nginx\"\"\"\nid = 'it-s'\nreason = 'it \"is\"'\nuser = [33, 'root']\n\
                [[scope]]\njudged = true # end\nnetns = \"red\"\n\n\n# the end";
    let expected = "# The web hosts.\n# Ask the web team.\n\n[defaults]\nhosts = \"@web\"\nteam = \"web\" # odd spacing\n\n\
                    # sshd, as everywhere\n[[approval]] # first\n# so it is called\nid = \"ssh\" # kept\n\
                    listen = [\n    \"tcp/*:22\", # both families\n    # and sctp\n    \"sctp/*:22\",\n]\n\
                    program = \"/usr/sbin/sshd\"\n# still about sshd\n\n# a section\n\n\
                    # nginx\n# of the shop\n[[approval]]\nid = \"it-s\"\nlisten = [\"tcp/*:80\", \"tcp/*:443\"]\n\
                    program = \"/usr/sbin/nginx\"\nuser = [33, \"root\"]\nreason = 'it \"is\"'\nexpires = 2027-11-21T09:00:00Z\n\n\
                    [[scope]]\nnetns = \"red\"\njudged = true # end\n\n# the end\n";
    assert_eq!(formatted(text), expected);
    assert_eq!(formatted(&text.replace('\n', "\r\n")), expected, "line ends of elsewhere");
    assert_eq!(formatted(expected), expected);
}

#[test]
fn what_has_no_tables_stays() {
    for text in ["", "# a\n\n# b\n", "# a\n"] {
        assert_eq!(formatted(text), text);
    }
    assert_eq!(formatted("\n\n# a"), "# a\n");
    assert_eq!(formatted("\n \n"), "");
}

#[test]
fn a_comment_stays_with_what_it_touches() {
    let one = |id: &str| format!("[[approval]]\nid = \"{id}\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n");
    for between in ["# about a\n\n", "\n# about b\n", "\n# about neither\n\n", "# about a\n\n# about b\n"] {
        let text = one("a") + between + &one("b");
        assert_eq!(formatted(&text), text);
    }
    let text = one("a") + "# about b\n" + &one("b");
    assert_eq!(formatted(&text), one("a") + "\n# about b\n" + &one("b"));
}

#[test]
fn what_is_broken_or_laid_out_otherwise_is_left_alone() {
    let wrong = |text: &str| format(&source("b.toml", text)).unwrap_err();
    let FormatError::Broken(mistakes) = wrong("[[approval]]\nid = \"a\"\n") else { panic!("it is broken") };
    assert_eq!(mistakes.len(), 1);
    for (text, place) in [
        ("approval = [{ id = \"a\", listen = \"tcp/*:1\", user = \"root\" }]\n", "b.toml:1:1"),
        ("\ndefaults.team = \"x\"\n", "b.toml:2:1"),
        ("[[\"approval\"]]\nid = \"a\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n", "b.toml:1:1"),
        ("[[approval]]\n\"id\" = \"a\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n", "b.toml:2:1"),
    ] {
        assert_eq!(wrong(text), FormatError::Unusual { place: place.to_owned() }, "{text}");
    }
}

fn comment() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "# ?[a-z\"'\\[=,#\u{e9}]{0,6} ?"]
}

/// Lines that say nothing.
fn idle() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![Just("\n".to_owned()), Just("  \n".to_owned()), comment().prop_map(|text| text + "\n")],
        0..4,
    )
    .prop_map(|lines| lines.concat())
}

/// A list written in some way, with comments in it.
fn list(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let element = (select(values), any::<bool>(), idle(), comment());
    (vec(element, 1..3), idle(), any::<bool>()).prop_map(|(elements, end, bare)| {
        if let ([(value, ..)], true) = (&elements[..], bare) {
            return format!("'{value}'");
        }
        let elements = elements.iter().map(|(value, quotes, idle, behind)| {
            let quoted = if *quotes { format!("\"{value}\"") } else { format!("'{value}'") };
            format!("{idle} {quoted} , {behind}\n")
        });
        format!("[{}{end}]", elements.collect::<String>())
    })
}

/// A table with all sorts of keys in any order.
fn table() -> impl Strategy<Value = String> {
    let keys = vec![
        ("program", list(&["/usr/sbin/nginx", "/opt/app-x*"]).boxed()),
        ("user", prop_oneof![Just("33".to_owned()), list(&["root", "1000"])].boxed()),
        ("hosts", list(&["@web", "db-*"]).boxed()),
        (
            "reason",
            select(&["\"a # b\"", "'''two\nlines # no comment'''", "'c:\\d'"][..])
                .prop_map(str::to_owned)
                .boxed(),
        ),
        (
            "expires",
            select(&["2027-11-21", "2027-11-21 09:00:00.5Z", "2027-11-21T09:00:00"][..])
                .prop_map(str::to_owned)
                .boxed(),
        ),
        ("required", Just("false".to_owned()).boxed()),
        ("unit", list(&["nginx.service"]).boxed()),
    ];
    let values: Vec<_> =
        keys.into_iter().map(|(key, value)| value.prop_map(move |value| (key, value))).collect();
    let count = values.len();
    let listen = list(&["tcp/*:80", "udp/[::1]:53"]).prop_map(|value| ("listen", value));
    (
        values,
        subsequence((0..count).collect::<Vec<_>>(), 1..=count),
        listen,
        any::<u64>(),
        vec((idle(), comment()), 10),
        comment(),
    )
        .prop_map(|(values, chosen, listen, turn, idle, behind)| {
            let mut entries: Vec<(&str, String)> = chosen.into_iter().map(|at| values[at].clone()).collect();
            entries.extend([listen, ("id", "'ID'".to_owned())]);
            let length = entries.len();
            entries.rotate_left(usize::try_from(turn).unwrap_or(0) % length);
            let lines = entries.iter().zip(idle);
            let lines =
                lines.map(|((key, value), (above, behind))| format!("{above}{key}={value} {behind}\n"));
            format!("[[ approval ]]{behind}\n{}", lines.collect::<String>())
        })
}

fn file() -> impl Strategy<Value = String> {
    (vec((idle(), table()), 0..4), idle()).prop_map(|(tables, end)| {
        let tables = tables.iter().enumerate();
        let tables = tables.map(|(place, (above, table))| {
            format!("{above}{}", table.replace("'ID'", &format!("'a{place}'")))
        });
        tables.collect::<String>() + &end
    })
}

/// Each comment of a file whose texts hold none; none of the lines of [`file`] begins as one within a text.
fn comments(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut in_text = false;
    for line in text.lines() {
        let begins = in_text;
        in_text ^= line.matches("'''").count() == 1;
        let line = if begins { line.split_once("'''").map_or("", |(_, rest)| rest) } else { line };
        let mut quote = None;
        for (at, letter) in line.char_indices() {
            match (quote, letter) {
                (None, '"' | '\'') => quote = Some(letter),
                (Some(open), letter) if open == letter => quote = None,
                (None, '#') => {
                    found.push(line[at..].trim_end().to_owned());
                    break;
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

proptest! {
    #[test]
    fn a_form_is_reached_at_once_and_means_the_same(text in file()) {
        let (before, once) = (read(&text).unwrap(), formatted(&text));
        let after = read(&once).unwrap();
        prop_assert_eq!(before.approvals(), after.approvals());
        prop_assert_eq!(before.scopes(), after.scopes());
        prop_assert_eq!(formatted(&once), once);
    }

    #[test]
    fn all_comments_are_kept(text in file().prop_filter("its texts would want a parser", |text| !text.contains("'''"))) {
        prop_assert_eq!(comments(&text), comments(&formatted(&text)));
    }

    #[test]
    fn what_is_written_is_in_that_form(approvals in vec(approval(), 1..4)) {
        let mut text = String::new();
        for (place, mut approval) in approvals.into_iter().enumerate() {
            approval.id = format!("a{place}");
            text.push_str(if place > 0 { "\n" } else { "" });
            text.push_str(&render(&approval));
        }
        prop_assert_eq!(formatted(&text), text);
    }
}
