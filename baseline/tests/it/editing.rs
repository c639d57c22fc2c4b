//! Edits that leave what they do not touch.

use std::time::Duration;

use baseline::edit::{self, EditError, add, remove, render};
use baseline::{Approval, CannotApprove, Request, When, approval_json, propose};
use inventory::{ProgramFile, Unattributed};

use crate::world::{World, program, read, source};

const FILE: &str = "# The web hosts.\n# Ask the web team.\n\n[defaults]\nteam   =   'web' # odd spacing\n\n\
                    # sshd, as everywhere\n[[approval]]\nid = \"ssh\"     # kept\nlisten = [\n  \"tcp/*:22\", # both families\n]\n\
                    program = \"/usr/sbin/sshd\"\n\n\n# a section\n\n# nginx\n# of the shop\n[[approval]]\n\
                    listen = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nid = \"nginx\"\n# still about nginx\n\n\
                    [[scope]]\nnetns = \"red\"\njudged = true # end";

#[test]
fn a_removed_approval_takes_its_own_comment_and_nothing_else() {
    let without = remove(&source("b.toml", FILE), "nginx").unwrap();
    let expected = FILE.replace(
        "# nginx\n# of the shop\n[[approval]]\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nid = \"nginx\"\n",
        "",
    );
    assert_eq!(without, expected);
    let without = remove(&source("b.toml", &without), "ssh").unwrap();
    let expected = "# The web hosts.\n# Ask the web team.\n\n[defaults]\nteam   =   'web' # odd spacing\n\n\
                    \n# a section\n\n# still about nginx\n\n[[scope]]\nnetns = \"red\"\njudged = true # end";
    assert_eq!(without, expected);
}

#[test]
fn the_comment_at_the_top_is_about_the_file() {
    let text = "# The web hosts.\n[[approval]]\nid = \"a\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n";
    assert_eq!(remove(&source("b.toml", text), "a").unwrap(), "# The web hosts.\n");
}

#[test]
fn an_approval_is_found_from_its_header_to_its_last_value() {
    let file = source("b.toml", FILE);
    let nginx = edit::find(&file, "nginx").unwrap();
    assert_eq!(nginx.line, 20);
    assert_eq!(
        nginx.text,
        "[[approval]]\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nid = \"nginx\"\n"
    );
    let ssh = edit::find(&file, "ssh").unwrap();
    assert!(ssh.line == 8 && ssh.text.ends_with("program = \"/usr/sbin/sshd\"\n"), "{ssh:?}");
    assert_eq!(edit::find(&file, "scope"), None);
    assert_eq!(edit::find(&source("b.toml", "[[approval]\n"), "nginx"), None);
}

#[test]
fn an_added_approval_leaves_every_byte_before_it() {
    for text in [FILE, "# only a comment, without an end of line", "\r\n# from elsewhere\r\n"] {
        let mut approval = read("[[approval]]\nid = \"new\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n")
            .unwrap()
            .approvals()[0]
            .clone();
        approval.reason = Some("two\nlines, \"quoted\" and 'quoted' \\ \u{1b}".to_owned());
        let added = add(&source("b.toml", text), &approval).unwrap();
        assert!(added.starts_with(text));
        let back = read(&added).unwrap();
        assert_eq!(back.approval("new").unwrap().reason, approval.reason);
        let removed = remove(&source("b.toml", &added), "new").unwrap();
        assert_eq!(removed.trim_end(), text.trim_end(), "there and back");
    }
}

#[test]
fn the_first_approval_starts_a_file() {
    let approval =
        read("[[approval]]\nid = \"new\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n").unwrap().approvals()[0]
            .clone();
    let text = add(&source("b.toml", ""), &approval).unwrap();
    assert_eq!(
        text,
        "# What is approved to listen. `portledger approve` and `revoke` keep comments and order.\n\n\
         [[approval]]\nid = \"new\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n"
    );
}

#[test]
fn refuses_what_it_would_break() {
    let approval =
        read("[[approval]]\nid = \"ssh\"\nlisten = \"tcp/*:1\"\nuser = \"root\"\n").unwrap().approvals()[0]
            .clone();
    let message = |edited: Result<String, EditError>| edited.unwrap_err().to_string();
    assert_eq!(message(add(&source("b.toml", FILE), &approval)), "b.toml holds an approval `ssh` already");
    assert_eq!(message(remove(&source("b.toml", FILE), "other")), "b.toml holds no approval `other`");
    let broken = message(add(&source("b.toml", "x = "), &approval));
    assert!(broken.starts_with("b.toml:1:5: "), "{broken}");
    let inline = "approval = [{ id = \"a\", listen = \"tcp/*:1\", user = \"root\" }]\n";
    assert!(message(add(&source("b.toml", inline), &approval)).contains("write each as a table"));
    assert!(message(remove(&source("b.toml", inline), "a")).contains("write each as a table"));
}

fn request() -> Request {
    Request {
        reason: "netcat for the demo".to_owned(),
        by: "alice".to_owned(),
        at: std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600),
        expires: When::parse("2027-01-04"),
        hosts: Vec::new(),
        id: None,
    }
}

#[test]
fn what_is_proposed_covers_the_drift() {
    let mut world = World::new();
    world.listen("tcp/0.0.0.0:4444").by(program("/usr/bin/nc").uid(1000));
    world.listen("tcp/[::]:4444").v6_only().by(program("/usr/bin/nc").uid(1000));
    let approval =
        propose(&world.judged(), &world.inventory(), &world.policy().baseline, &world.accounts, request())
            .unwrap();
    assert_eq!(
        render(&approval),
        "[[approval]]\nid = \"nc\"\nlisten = \"tcp/*:4444\"\nprogram = \"/usr/bin/nc\"\nuser = \"alice\"\n\
         reach = \"public\"\nreason = \"netcat for the demo\"\nby = \"alice\"\nat = 2026-11-21T09:00:00Z\n\
         expires = 2027-01-04\n"
    );
    world.baseline(&render(&approval));
    assert_eq!(world.verdict(), "approved nc");
    let again =
        propose(&world.judged(), &world.inventory(), &world.policy().baseline, &world.accounts, request())
            .unwrap();
    assert_eq!(again.id, "nc-4444", "the name is taken");
}

#[test]
fn says_why_nothing_could_be_proposed() {
    let why = |change: &dyn Fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        propose(&world.judged(), &world.inventory(), &world.policy().baseline, &world.accounts, request())
            .unwrap_err()
    };
    let nc = || program("/usr/bin/nc");
    assert_eq!(
        why(&|world| drop(world.listen("tcp/0.0.0.0:1").unattributed(Unattributed::InFlight).clone())),
        CannotApprove::Unattributed(Unattributed::InFlight)
    );
    assert_eq!(
        why(&|world| drop(world.listen("tcp/0.0.0.0:1").by(nc().file(ProgramFile::Foreign)).clone())),
        CannotApprove::NotHostFile("/usr/bin/nc".to_owned())
    );
    let gone = nc().file(ProgramFile::Deleted { replaced: false });
    assert_eq!(
        why(&|world| drop(world.listen("tcp/0.0.0.0:1").by(gone.clone()).clone())),
        CannotApprove::NoFile("/usr/bin/nc".to_owned())
    );
    assert_eq!(
        why(&|world| drop(world.listen("tcp/0.0.0.0:1").by(nc().unreadable()).clone())),
        CannotApprove::NoProgram(100)
    );
}

#[test]
fn records_hold_whatever_is_approved() {
    let mut long = read(FILE).unwrap().approval("ssh").unwrap().clone();
    assert_eq!(approval_json(&long)["listen"], serde_json::json!(["tcp/*:22"]));
    long.reason = Some("because ".repeat(100_000));
    let told = approval_json(&long);
    assert!(told.to_string().len() < 1000 && told["too_long"] == true && told["id"] == "ssh", "{told}");
    assert_eq!(told["canonical_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn signing_touches_the_keys_of_the_signature_and_nothing_else() {
    let text = "# ours\n[[approval]]\nid = \"ssh\" # the door\nlisten = \"tcp/*:22\"\nreason = 'old'\nby = \"learn\"\n# after\n\n\
                [[approval]]\nid = \"web\"\nlisten = [\n  \"tcp/*:80\", # plain\n]";
    let file = source("b.toml", text);
    let ssh = Approval {
        serial: 3,
        by: Some("alice".to_owned()),
        at: When::parse("2026-11-21T09:00:00Z"),
        reason: Some("new".to_owned()),
        signature: Some("QQ==".to_owned()),
        ..read(text).unwrap().approval("ssh").unwrap().clone()
    };
    let signed = edit::sign(&file, &ssh).unwrap();
    assert_eq!(
        signed,
        "# ours\n[[approval]]\nid = \"ssh\" # the door\nlisten = \"tcp/*:22\"\nreason = \"new\"\nby = \"alice\"\nserial = 3\n\
         at = 2026-11-21T09:00:00Z\nsignature = \"QQ==\"\n# after\n\n\
         [[approval]]\nid = \"web\"\nlisten = [\n  \"tcp/*:80\", # plain\n]"
    );
    assert_eq!(read(&signed).unwrap().approval("ssh"), Some(&ssh));
    // Taken away again, and on a last line without an end.
    let unsigned = Approval { signature: None, ..ssh };
    assert!(!edit::sign(&source("b.toml", &signed), &unsigned).unwrap().contains("signature"));
    let web = Approval {
        signature: Some("QQ==".to_owned()),
        ..read(text).unwrap().approval("web").unwrap().clone()
    };
    let signed = edit::sign(&file, &web).unwrap();
    assert!(signed.ends_with("]\nserial = 1\nsignature = \"QQ==\"\n"), "{signed}");
    assert_eq!(read(&signed).unwrap().approval("web"), Some(&web));
}
