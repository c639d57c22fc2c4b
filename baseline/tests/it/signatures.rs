//! What signatures are worth: each story edits one thing.

use std::sync::Arc;

use baseline::{
    Approval, Approvers, NAMESPACE, Signatures, SourceText, Trust, canonical, countersigned, edit, parse,
};
use signing::{AllowedSigners, RevokedKeys};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

use crate::world::{World, everybody, program, read, source};

/// Somebody with a key.
struct Person {
    name: &'static str,
    key: PrivateKey,
}

impl Person {
    fn new(name: &'static str) -> Self {
        Person { name, key: PrivateKey::random(&mut ssh_key::rand_core::OsRng, Algorithm::Ed25519).unwrap() }
    }

    fn line(&self, options: &str) -> String {
        format!("{} {options} {}\n", self.name, self.key.public_key().to_openssh().unwrap())
    }

    fn sign_for(&self, namespace: &str, text: &str) -> String {
        let signature = self.key.sign(namespace, HashAlg::Sha512, text.as_bytes()).unwrap();
        let pem = signature.to_pem(LineEnding::LF).unwrap();
        pem.lines().filter(|line| !line.starts_with('-')).collect()
    }

    fn sign(&self, text: &str) -> String {
        self.sign_for(NAMESPACE, text)
    }
}

const WEB: &str = "[[approval]]\nid = \"web\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\nreach = \"public\"\n\
                   reason = \"the shop\"\nby = \"alice@example.org\"\nat = 2026-11-20T09:00:00Z\n";

fn alice() -> Person {
    Person::new("alice@example.org")
}

fn bob() -> Person {
    Person::new("bob@example.org")
}

fn trust(signers: &str) -> Trust {
    let zone = jiff::tz::TimeZone::UTC;
    let signers = AllowedSigners::parse(signers.as_bytes(), &zone).unwrap();
    Trust { signatures: Signatures::Required, signers: Arc::new(signers), ..everybody() }
}

fn only(text: &str) -> Approval {
    read(text).unwrap().approvals()[0].clone()
}

/// The text with this person's signature of it, made as the command makes it.
fn signed_by(person: &Person, text: &str) -> String {
    let signature = person.sign(&canonical(&only(text)));
    edit::sign(&source("b.toml", text), &Approval { signature: Some(signature), ..only(text) }).unwrap()
}

fn countersigned_by(person: &Person, text: &str) -> String {
    let approval = only(text);
    let at = baseline::When::parse("2026-11-20T10:00:00Z");
    let signature = person.sign(&countersigned(&approval, person.name, at));
    let counter = baseline::Countersignature { by: person.name.to_owned(), at, signature };
    edit::sign(&source("b.toml", text), &Approval { countersigned: vec![counter], ..approval }).unwrap()
}

/// What a host says where nginx listens and this is its baseline.
fn verdict(text: &str, trust: &Trust) -> String {
    told(text, trust).0
}

fn told(text: &str, trust: &Trust) -> (String, String) {
    let mut world = World::new();
    world.listen("tcp/0.0.0.0:80").by(program("/usr/sbin/nginx"));
    let texts: Vec<SourceText> = vec![source("baseline.toml", text)];
    let baseline = parse(&texts, trust).unwrap();
    let policy = baseline::Policy::new(Some(baseline), world.host.clone(), Arc::new(trust.clone()));
    let assessment = baseline::assess(&world.inventory(), &policy, &world.accounts, world.now);
    let verdict = &assessment.services[0].verdict;
    let differs = assessment.findings().next().map(|finding| finding.differs.join("; "));
    (crate::world::word(verdict), differs.unwrap_or_default())
}

#[test]
fn a_signed_approval_counts_and_an_unsigned_one_is_told_as_such() {
    let alice = alice();
    let trust = trust(&alice.line(""));
    assert_eq!(verdict(&signed_by(&alice, WEB), &trust), "approved web");
    let (verdict, why) = told(WEB, &trust);
    assert_eq!(verdict, "untrusted critical (web)");
    assert!(why.contains("is not signed: `portledger approve web --reason TEXT`"), "{why}");
}

#[test]
fn whoever_edits_what_was_signed_breaks_it() {
    let alice = alice();
    let trust = trust(&alice.line(""));
    let text = signed_by(
        &alice,
        &WEB.replace("reach =", "hosts = [\"web1\", \"web2\"]\nexpires = 2027-01-01\nreach ="),
    );
    assert_eq!(verdict(&text, &trust), "approved web");
    for (from, to) in [
        ("id = \"web\"", "id = \"web2\""),
        ("serial = 1", "serial = 2"),
        ("tcp/*:80", "tcp/*:79-81"),
        ("\"/usr/sbin/nginx\"", "\"/usr/sbin/ngin?\""),
        ("reach = \"public\"\n", ""),
        ("hosts = [\"web1\", \"web2\"]\n", ""),
        ("hosts = [\"web1\"", "hosts = [\"*\""),
        ("expires = 2027-01-01", "expires = 2028-01-01"),
        ("expires = 2027-01-01\n", ""),
        ("2026-11-20T09:00:00Z", "2026-11-20T09:00:01Z"),
        ("by = \"alice", "user = \"root\"\nby = \"alice"),
        ("by = \"alice", "required = true\nby = \"alice"),
    ] {
        let edited = text.replace(from, to);
        assert_ne!(edited, text, "{from}");
        let (verdict, why) = told(&edited, &trust);
        assert!(
            verdict.starts_with("untrusted") || verdict.starts_with("user_changed"),
            "{from} -> {to}: {verdict} {why}"
        );
    }
    // Words for people and the order of a list are no part of it, nor how it is laid out.
    for (from, to) in [
        ("the shop", "the new shop"),
        ("[\"web1\", \"web2\"]", "[\n  \"web2\", # second\n  \"web1\",\n]"),
        ("reason =", "team = \"web\"\nreason ="),
    ] {
        let edited = text.replace(from, to);
        assert_ne!(edited, text, "{from}");
        assert_eq!(verdict(&edited, &trust), "approved web", "{from} -> {to}");
    }
}

#[test]
fn hosts_that_a_file_says_for_all_are_signed_too() {
    let alice = alice();
    let trust = trust(&alice.line(""));
    let text = signed_by(&alice, &format!("[defaults]\nhosts = \"web1\"\n\n{WEB}"));
    assert_eq!(verdict(&text, &trust), "approved web");
    let widened = text.replace("hosts = \"web1\"", "hosts = \"*\"");
    assert!(verdict(&widened, &trust).starts_with("untrusted"));
}

#[test]
fn each_reason_not_to_trust_a_signature_is_told() {
    let (alice, mallory) = (alice(), Person::new("alice@example.org"));
    let signed = signed_by(&alice, WEB);
    let text = only(WEB);
    let with = |signature: String| {
        edit::sign(&source("b.toml", WEB), &Approval { signature: Some(signature), ..text.clone() }).unwrap()
    };
    let cases = [
        (signed_by(&mallory, WEB), alice.line(""), "is not one of an allowed signer"),
        (signed.clone(), alice.line("valid-before=\"20261101\""), "could sign only until"),
        (signed.clone(), alice.line("valid-after=\"20261201\""), "may sign only since"),
        (signed.clone(), alice.line("namespaces=\"git\""), "may not sign for"),
        (signed.clone(), alice.line("").replace("alice@", "carol@"), "is not that of"),
        (with(alice.sign_for("git", &canonical(&text))), alice.line(""), "git"),
        (
            with("bm90IGEgc2lnbmF0dXJl".to_owned()),
            alice.line(""),
            "the signature of alice@example.org does not count",
        ),
        (signed.replace("at = 2026-11-20T09:00:00Z\n", ""), alice.line(""), "does not say `at`"),
    ];
    for (text, signers, expected) in cases {
        let (verdict, why) = told(&text, &trust(&signers));
        assert!(verdict.starts_with("untrusted critical"), "{expected}: {verdict}");
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn two_people_are_two_people() {
    let (alice, bob) = (alice(), bob());
    let both = Trust { approvers: Approvers::Two, ..trust(&(alice.line("") + &bob.line(""))) };
    let first = signed_by(&alice, WEB);
    let (verdict_of_one, why) = told(&first, &both);
    assert_eq!(verdict_of_one, "untrusted critical (web)");
    assert!(
        why.contains("waits for another approver, bob@example.org: `portledger countersign web`"),
        "{why}"
    );
    assert_eq!(verdict(&countersigned_by(&bob, &first), &both), "approved web");

    // Nobody is sent who would be refused.
    let patterns =
        alice.line("").replace("alice@example.org", "al*@example.org,!bob@example.org") + &bob.line("");
    let (_, why) = told(&first, &Trust { approvers: Approvers::Two, ..trust(&patterns) });
    assert!(why.contains("waits for another approver, bob@example.org: `"), "{why}");
    let revoked_keys =
        Arc::new(RevokedKeys::parse(bob.key.public_key().to_openssh().unwrap().as_bytes()).unwrap());
    let (_, why) = told(&first, &Trust { revoked_keys, ..both.clone() });
    assert!(
        why.ends_with("approver, and nobody else may sign: add a second person's key to allowed_signers"),
        "{why}"
    );

    let again = countersigned_by(&alice, &first);
    let (verdict_of_twice, why) = told(&again, &both);
    assert!(verdict_of_twice.starts_with("untrusted") && why.contains("signed it already"), "{why}");
    // One key under two names is one person.
    let one_key = Person { name: "bob@example.org", key: alice.key.clone() };
    let names = Trust { approvers: Approvers::Two, ..trust(&(alice.line("") + &one_key.line(""))) };
    let (verdict_of_names, why) = told(&countersigned_by(&one_key, &first), &names);
    assert!(verdict_of_names.starts_with("untrusted") && why.contains("the same key"), "{why}");
    // What was countersigned was this text.
    let moved = countersigned_by(&bob, &first).replace("2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z");
    assert!(verdict(&moved, &both).starts_with("untrusted"));
}

#[test]
fn two_are_asked_for_where_exposed() {
    let (alice, bob) = (alice(), bob());
    let exposed = Trust { approvers: Approvers::TwoWhereExposed, ..trust(&(alice.line("") + &bob.line(""))) };
    let counts = |change: &dyn Fn(&str) -> String| {
        let text = signed_by(&alice, &change(WEB));
        let baseline = parse(&[source("b.toml", &text)], &exposed).unwrap();
        baseline.standing("web").unwrap().distrust.is_none()
    };
    for (listen, reach, expected) in [
        ("tcp/*:80", "private", false),
        ("tcp/[::]:80", "loopback", false),
        ("tcp/0.0.0.0/0:80", "private", false),
        ("tcp/198.51.100.7:80", "", false),
        ("tcp/10.0.0.1:80", "public", false),
        ("tcp/10.0.0.0/7:80", "", false),
        // A private address may be published, or translated one to one.
        ("tcp/10.0.0.1:80", "", false),
        ("tcp/10.0.0.0/8:80", "", false),
        ("tcp/private:80", "", false),
        ("tcp/private:80", "private", true),
        ("tcp/169.254.0.0/16:80", "", true),
        ("tcp/198.51.100.7:80", "private", true),
        ("tcp/loopback:80", "", true),
    ] {
        let reach_line = if reach.is_empty() { String::new() } else { format!("reach = \"{reach}\"\n") };
        let change =
            |text: &str| text.replace("tcp/*:80", listen).replace("reach = \"public\"\n", &reach_line);
        assert_eq!(counts(&change), expected, "{listen} {reach}");
    }
}

#[test]
fn what_was_revoked_never_counts_again() {
    let alice = alice();
    let trust = trust(&alice.line(""));
    let signed = signed_by(&alice, WEB);
    let pasted = signed.clone() + "\n[[revoked]]\nid = \"web\"\nserial = 1\n";
    let (verdict_of_pasted, why) = told(&pasted, &trust);
    assert_eq!(verdict_of_pasted, "untrusted critical (web)");
    assert!(why.contains("was revoked"), "{why}");
    // The host remembers, also where nothing has to be signed and the file says nothing of it any more.
    let withdrawn = Arc::new([("web".to_owned(), 1)].into());
    for trust in [trust.clone(), everybody()] {
        let remembering = Trust { withdrawn: Arc::clone(&withdrawn), ..trust };
        assert!(verdict(&signed, &remembering).starts_with("untrusted"));
        let anew = signed_by(&alice, &WEB.replace("listen", "serial = 2\nlisten"));
        assert_eq!(verdict(&anew, &remembering), "approved web");
    }
    let next = read(&pasted).unwrap().next_serial(&only(WEB), &trust);
    assert_eq!(next, 2);
}

#[test]
fn nobody_hides_grave_drift_behind_an_approval_that_does_not_count() {
    let alice = alice();
    let trust = trust(&alice.line(""));
    // Signed for another program; pasted beside it, for the one that runs.
    let signed = signed_by(&alice, &WEB.replace("nginx", "httpd"));
    let pasted = WEB.replace("\"web\"", "\"harmless\"");
    let (verdict, why) = told(&format!("{signed}\n{pasted}"), &trust);
    assert_eq!(verdict, "program_changed+untrusted critical (web)");
    assert!(why.contains("it would be covered, but approval `harmless` is not signed"), "{why}");
    // One that would not even cover says nothing.
    let elsewhere = pasted.replace("nginx", "caddy");
    assert_eq!(told(&elsewhere, &trust).0, "unapproved critical");
}

#[test]
fn a_scope_that_nobody_signed_silences_nothing() {
    let alice = alice();
    let scope = "[[scope]]\nlisten = \"tcp/*:80\"\njudged = false\nreason = \"quiet\"\n";
    assert_eq!(verdict(scope, &trust(&alice.line(""))), "unapproved critical");
    let baseline = parse(&[source("b.toml", scope)], &trust(&alice.line(""))).unwrap();
    assert!(baseline.warnings()[0].message.contains("not in force"));
    assert_eq!(verdict(scope, &everybody()), "unjudged");
}

#[test]
fn a_key_that_is_said_to_be_of_two_people_is_no_second_person() {
    let (alice, bob) = (alice(), bob());
    let of_both = |one: &str, other: &str| {
        let line =
            |who: &str, person: &Person| format!("{who} {}\n", person.key.public_key().to_openssh().unwrap());
        Trust { approvers: Approvers::Two, ..trust(&(line(one, &alice) + &line(other, &bob))) }
    };
    let text = countersigned_by(&bob, &signed_by(&alice, WEB));
    for (one, other, counts) in [
        ("alice@example.org", "bob@example.org", true),
        ("*@example.org", "*@example.org", false),
        ("alice@example.org", "alice@example.org,bob@example.org", false),
        ("alice@example.org,bob@example.org", "bob@example.org", false),
    ] {
        let (verdict, why) = told(&text, &of_both(one, other));
        assert_eq!(verdict == "approved web", counts, "{one} {other}: {verdict} {why}");
    }
}

#[test]
fn recorded_signatures_decide_nothing() {
    let alice = alice();
    let recorded = Trust { signatures: Signatures::Recorded, ..trust(&alice.line("")) };
    let text = signed_by(&alice, WEB).replace("tcp/*:80", "tcp/*:79-80");
    assert_eq!(verdict(&text, &recorded), "approved web");
    let baseline = parse(&[source("b.toml", &text)], &recorded).unwrap();
    assert!(baseline.standing("web").unwrap().signed[0].wrong.is_some());
}

#[test]
fn a_required_service_by_an_approval_that_does_not_count_is_not_missing() {
    let alice = alice();
    let trust = trust(&alice.line(""));
    let text = WEB.replace("reach", "required = true\nreach");
    let world = World::new();
    let baseline = parse(&[source("b.toml", &text)], &trust).unwrap();
    let policy = baseline::Policy::new(Some(baseline), world.host.clone(), Arc::new(trust));
    let assessment = baseline::assess(&world.inventory(), &policy, &world.accounts, world.now);
    assert!(assessment.absent.is_empty());
}
