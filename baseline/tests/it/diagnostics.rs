//! One bad file for each mistake, with the exact message expected.

use std::fs;
use std::path::Path;

use baseline::{Accounts, parse};

use crate::world::{everybody, read, source, told};

#[test]
fn each_mistake_is_told_exactly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let wrong = parse(&[source(name, &text)], &everybody()).expect_err(name);
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap_or_default();
        assert_eq!(told(&wrong), expected, "{name}");
    }
    assert!(seen > 40, "only {seen} files in {}", folder.display());
}

#[test]
fn a_duplicate_id_names_both_places_in_whatever_order_the_files_come() {
    let text = "[[approval]]\nid = \"ssh\"\nlisten = \"tcp/*:22\"\nprogram = \"/usr/sbin/sshd\"\n";
    let (one, other) = (source("/b/one.toml", text), source("/b/two.toml", text));
    let expected = "/b/two.toml:2:6: duplicate id `ssh`: it also stands at /b/one.toml:2:6\n  \
                    2 | id = \"ssh\"\n    |      ^^^^^\n";
    assert_eq!(told(&parse(&[one.clone(), other.clone()], &everybody()).unwrap_err()), expected);
    assert_eq!(told(&parse(&[other, one], &everybody()).unwrap_err()), expected);
}

#[test]
fn an_approval_that_approves_anything_is_a_warning() {
    let baseline = read("[[approval]]\nid = \"all\"\nlisten = \"tcp/*:*\"\n").unwrap();
    assert_eq!(
        told(baseline.warnings()),
        "baseline.toml:2:6: `all` approves whatever listens there: it names no program, unit, user, group, image or \
         service\n  2 | id = \"all\"\n    |      ^^^^^\n"
    );
    let narrow = read("[[approval]]\nid = \"a\"\nlisten = \"tcp/*:*\"\nuser = \"root\"\n").unwrap();
    assert_eq!(narrow.warnings(), []);
}

#[test]
fn an_unknown_account_is_told_where_it_is_named() {
    let text = "[[approval]]\nid = \"a\"\nlisten = \"tcp/*:80\"\nuser = [\"root\", 1000, \"wwwdata\"]\ngroup = \"web\"\n";
    let baseline = read(text).unwrap();
    let (users, groups) = baseline.accounts_named();
    assert_eq!(users, ["root".to_owned(), "wwwdata".to_owned()].into(), "a uid needs no name");
    assert_eq!(groups, ["web".to_owned()].into());
    let accounts = Accounts::default().with_user("root", 0).with_group("web", []);
    let unknown: Vec<String> = baseline.unknown_accounts(&accounts).map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        ["baseline.toml:4:23: this host has no user `wwwdata`, so that nothing can match it\n  \
          4 | user = [\"root\", 1000, \"wwwdata\"]\n    |                       ^^^^^^^^^"]
    );
}

#[test]
fn arguments_alone_are_no_restraint_of_an_interpreter() {
    let text = |also: &str| {
        format!(
            "[[approval]]\nid = \"app\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/bin/python3\"\n\
             arguments = \"python3 /opt/app.py\"\n{also}"
        )
    };
    assert_eq!(
        told(read(&text("")).unwrap().warnings()),
        "baseline.toml:5:13: arguments are what the process says of itself: add `user` or `unit`\n  \
         5 | arguments = \"python3 /opt/app.py\"\n    |             ^^^^^^^^^^^^^^^^^^^^^\n",
    );
    for also in ["user = \"alice\"", "unit = \"app.service\"", "image = \"app\"", "service = \"app\""] {
        assert_eq!(read(&text(also)).unwrap().warnings(), [], "{also}");
    }
    assert_eq!(read(&text("").replace("python3", "nginx")).unwrap().warnings(), []);
}
