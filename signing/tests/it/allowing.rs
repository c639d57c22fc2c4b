use jiff::Timestamp;
use jiff::tz::TimeZone;
use signing::{AllowedSigners, NotAllowed};

use crate::world::{NAMESPACE, STRONG, TEXT, World};

const NOW: &str = "2024-07-01T12:00:00Z";
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn parse(text: &str) -> Result<AllowedSigners, Vec<String>> {
    let read = AllowedSigners::parse(text.as_bytes(), &TimeZone::posix(ZONE).unwrap());
    read.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// What ssh-keygen says of a file, and we of the same: `<A>` and `<B>` in it are the keys.
struct Case {
    file: &'static str,
    principal: &'static str,
    at: &'static str,
    allowed: bool,
}

const fn case(file: &'static str, principal: &'static str, allowed: bool) -> Case {
    Case { file, principal, at: NOW, allowed }
}

const fn timed(file: &'static str, at: &'static str, allowed: bool) -> Case {
    Case { file, principal: "alice", at, allowed }
}

const AGREED: &[Case] = &[
    case("alice <A>", "alice", true),
    case("alice <A>", "bob", false),
    case("alice <B>", "alice", false),
    case("alice <B>\nalice <A>", "alice", true),
    case("# alice\n\n  \t\n \talice \t <A> a comment, with \"quotes\"\r\n", "alice", true),
    case("alice,bob <A>", "bob", true),
    case("*@example.org <A>", "alice@example.org", true),
    case("*@example.org <A>", "alice@example.com", false),
    case("?lice <A>", "alice", true),
    case("!alice,* <A>", "alice", false),
    case("*,!alice <A>", "bob", true),
    case("\"alice\" <A>", "alice", true),
    case("\"alice smith,bob\" <A>", "alice smith", true),
    case("\"alice\"<A>", "alice", true),
    case("ALICE <A>", "alice", false),
    case("* <A>", "", true),
    case("alice namespaces=\"baseline@*\" <A>", "alice", true),
    case("alice namespaces=\"file,!baseline@portledger,*\" <A>", "alice", false),
    case("alice namespaces=\"file\" <A>", "alice", false),
    case("alice namespaces=\"file\" <A>\nalice <A>", "alice", true),
    case("alice <A>\nalice namespaces=\"file\" <A>", "alice", true),
    case("alice NameSpaces=\"file,baseline@portledger\" <A>", "alice", true),
    case("alice namespaces=\"a\\\"b,*\" <A>", "alice", true),
    case("alice namespaces=\"a b,*\" <A>", "alice", true),
    case("alice cert-authority <A>", "alice", false),
    case("alice CERT-Authority,namespaces=\"*\" <A>", "alice", false),
    case("alice cert-authority <A>\nalice <A>", "alice", true),
    timed("alice valid-after=\"20240701120000Z\" <A>", "2024-07-01T12:00:00Z", true),
    timed("alice valid-after=\"20240701120000Z\" <A>", "2024-07-01T11:59:59Z", false),
    timed("alice valid-before=\"20240701120000Z\" <A>", "2024-07-01T12:00:00Z", true),
    timed("alice valid-before=\"20240701120000Z\" <A>", "2024-07-01T12:00:01Z", false),
    timed("alice valid-after=\"20240101utc\",VALID-before=\"20250101z\" <A>", "2024-07-01T12:00:00Z", true),
    timed("alice valid-before=\"202401011200\" <A>", "2024-01-01T11:00:00Z", true),
    timed("alice valid-before=\"202401011200\" <A>", "2024-01-01T11:00:01Z", false),
    timed("alice valid-before=\"202407011200\" <A>", "2024-07-01T11:00:00Z", true),
    timed("alice valid-before=\"202407011200\" <A>", "2024-07-01T11:00:01Z", false),
    timed("alice valid-before=\"20240701\" <A>", "2024-06-30T23:00:00Z", true),
    timed("alice valid-before=\"20240701\" <A>", "2024-06-30T23:00:01Z", false),
    timed("alice valid-before=\"20240331023000\" <A>", "2024-03-31T01:30:00Z", true),
    timed("alice valid-before=\"20240331023000\" <A>", "2024-03-31T01:30:01Z", false),
    timed("alice valid-before=\"20241027023000\" <A>", "2024-10-27T01:30:00Z", true),
    timed("alice valid-before=\"20241027023000\" <A>", "2024-10-27T01:30:01Z", false),
    timed("alice valid-before=\"20240101Z\" <A>\nalice valid-after=\"20240601Z\" <A>", NOW, true),
];

#[test]
fn allows_what_ssh_keygen_allows() {
    let Some(world) = World::new() else { return };
    let (a, b) = (world.key("a", STRONG[0].1), world.key("b", STRONG[1].1));
    world.write("signature", world.armor("a", &[]));
    for Case { file, principal, at, allowed } in AGREED {
        let text = file.replace("<A>", &a.to_string()).replace("<B>", &b.to_string());
        world.write("allowed", &text);
        let moment: Timestamp = at.parse().unwrap();
        let time = format!("verify-time={}Z", moment.strftime("%Y%m%d%H%M%S"));
        let common = ["-f", "allowed", "-s", "signature", "-O", &time];
        let verify = [&["-Y", "verify", "-n", NAMESPACE, "-I", principal][..], &common].concat();
        let theirs = world.try_run("ssh-keygen", &verify, ZONE, TEXT);
        let told = String::from_utf8_lossy(&theirs.stderr).into_owned();
        assert_eq!(theirs.status.success(), *allowed, "ssh-keygen on {file:?} at {at}: {told}");
        let signers = parse(&text).unwrap();
        let ours = signers.allows(principal, &a, NAMESPACE, moment);
        assert_eq!(ours.is_ok(), *allowed, "{file:?} at {at}: {ours:?}");

        let find = [&["-Y", "find-principals"][..], &common].concat();
        let found = world.try_run("ssh-keygen", &find, ZONE, "");
        let found = String::from_utf8(found.stdout).unwrap();
        let ours = signers.principals(&a, NAMESPACE, moment).unwrap_or_default();
        // The namespace is not asked for there.
        if !file.contains("file") {
            let theirs: Vec<&str> = found.lines().collect();
            assert!(
                ours.starts_with(&theirs) && ours.is_empty() == theirs.is_empty(),
                "{file:?}: {ours:?}, {theirs:?}"
            );
        }
    }
}

#[test]
fn says_why_a_key_may_not() {
    let Some(world) = World::new() else { return };
    let (a, b) = (world.key("a", STRONG[0].1), world.key("b", STRONG[1].1));
    let name = a.fingerprint();
    let now: Timestamp = NOW.parse().unwrap();
    let cases = [
        (format!("alice {b}"), format!("the key {name} is not one of an allowed signer")),
        (
            format!("bob {a}\n\"*,!alice\" {a}"),
            format!("the key {name} is not that of \"alice\": it belongs to \"bob,*,!alice\""),
        ),
        (
            format!("alice namespaces=\"file,git\" {a}"),
            format!("the key {name} may not sign for \"baseline@portledger\", only for \"file,git\""),
        ),
        (
            format!("alice valid-after=\"20250101Z\" {a}"),
            format!("the key {name} may sign only since 2025-01-01T00:00:00Z"),
        ),
        (
            format!("alice namespaces=\"file\" {a}\nalice valid-before=\"20240101Z\" {a}\nbob {a}"),
            format!("the key {name} could sign only until 2024-01-01T00:00:00Z"),
        ),
        (
            format!("alice valid-before=\"20240101Z\" {a}\nalice namespaces=\"file\" {a}"),
            format!("the key {name} could sign only until 2024-01-01T00:00:00Z"),
        ),
    ];
    for (file, expected) in cases {
        let told = parse(&file).unwrap().allows("alice", &a, NAMESPACE, now).unwrap_err();
        assert_eq!(told.to_string(), expected);
    }
    let told = parse("").unwrap().principals(&a, NAMESPACE, now).unwrap_err();
    assert_eq!(told, NotAllowed::UnknownKey { key: name });
}

#[test]
fn tells_every_mistake_and_its_place() {
    let Some(world) = World::new() else { return };
    let (a, weak) = (world.key("a", STRONG[0].1), world.key("weak", &["-t", "rsa", "-b", "1024"]));
    let certificate =
        format!("ssh-ed25519-cert-v01@openssh.com {}", a.to_string().split_once(' ').unwrap().1);
    let broken = a.to_string().replace("AAAA", "AAAB");
    let cases = [
        (format!("alice,,bob {a}"), "1:1: an empty principal: it would match nothing"),
        (format!("\n \"\" {a}"), "2:2: an empty principal: it would match nothing"),
        (format!("\"alice {a}"), "1:1: the quotes around the principals do not end"),
        (format!("alice foo {a}"), "1:7: unknown option, or unknown type of key: \"foo\""),
        (
            format!("alice cert-authorityx {a}"),
            "1:7: unknown option, or unknown type of key: \"cert-authorityx\"",
        ),
        (format!("älice cert-authority, {a}"), "1:22: an option is missing beside a comma"),
        (format!("alice cert-authority=\"\" {a}"), "1:7: the option cert-authority takes no value"),
        (
            format!("alice namespaces {a}"),
            "1:7: the option namespaces wants a value, as in namespaces=\"...\"",
        ),
        (format!("alice namespaces=x {a}"), "1:7: the value \"x\" does not stand in quotes as a whole"),
        (
            format!("alice namespaces=\"x\"y {a}"),
            "1:7: the value \"\\\"x\\\"y\" does not stand in quotes as a whole",
        ),
        (format!("alice namespaces=\"x {a}"), "1:7: the quotes that begin here do not end"),
        (format!("alice namespaces=\"\" {a}"), "1:7: an empty namespace: it would match nothing"),
        (
            format!("alice namespaces=\"a\",namespaces=\"b\" {a}"),
            "1:22: the option namespaces stands here twice",
        ),
        (
            format!("alice valid-after=\"20240230\" {a}"),
            "1:7: valid-after wants a time after 1970 as YYYYMMDD[HHMM[SS]], with Z after it for UTC; this is \"20240230\"",
        ),
        (
            format!("alice valid-after=\"20240102\",valid-before=\"20240102\" {a}"),
            "1:7: valid-before is not later than valid-after: the key could never sign",
        ),
        (
            format!("alice {weak}"),
            "1:7: this key can sign nothing: RSA keys of less than 2048 bits can be broken",
        ),
        (format!("alice {broken}"), "1:7: the key is damaged: copy it again from the file that ends in .pub"),
        (
            format!("alice {certificate}"),
            "1:7: certificates (\"ssh-ed25519-cert-v01@openssh.com\") are not supported: name the plain key",
        ),
        ("alice".to_owned(), "1:6: the key is missing: `principals type base64` is wanted"),
        ("alice cert-authority".to_owned(), "1:21: the key is missing: `principals type base64` is wanted"),
        (
            "alice ssh-ed25519".to_owned(),
            "1:7: it is no public key: `type base64` is wanted, as in a file that ends in .pub",
        ),
        (format!("ali\0ce {a}"), "1:1: the line holds a NUL byte"),
        ("\n".repeat(10_001), "10001:1: the file has more than 10000 lines"),
        ("#".repeat((1 << 20) + 1), "1:1: the file is larger than 1048576 bytes"),
    ];
    for (file, expected) in cases {
        let told = parse(&file).map(drop).unwrap_err();
        assert_eq!(told, [expected], "{}", file.chars().take(80).collect::<String>());
    }
    let told = parse(&format!("a, foo,bar {a}\nb {a}\nc x {a}\n")).map(drop).unwrap_err();
    assert_eq!(told.len(), 4, "{told:?}");
    let utf8 = AllowedSigners::parse(b"# \xff\n\xc3\xa4\xff x y\n", &TimeZone::UTC).unwrap_err();
    assert_eq!(utf8[0].to_string(), "2:2: the line is no UTF-8");
    assert!(parse(&"\n".repeat(10_000)).is_ok());
}

#[test]
fn says_of_authorities_that_they_trust_nobody() {
    let Some(world) = World::new() else { return };
    let a = world.key("a", STRONG[0].1);
    let signers = parse(&format!("# alice\n alice cert-authority {a}\n")).unwrap();
    let told: Vec<String> = signers.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("2:2: cert-authority trusts nobody here"), "{told:?}");
}
