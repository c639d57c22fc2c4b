use std::future::ready;

use super::super::fixtures::SECRET;
use super::*;

/// `secret` as libcrypt hashes it.
const OF_5: &str = "abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

fn users(pairs: &[(&str, &str)]) -> Users {
    Users::new(pairs.iter().copied()).unwrap()
}

/// Nobody else waits.
async fn verify(passwords: &Passwords, users: &Users, user: &str, password: &[u8]) -> Login {
    passwords.verify(users, (user, password), ready(Some(()))).await
}

#[test]
fn takes_the_versions_that_are_in_use() {
    for version in ["2a", "2b", "2y", "2x", "2"] {
        let hash = Hash::parse(&format!("${version}$05${OF_5}x")).unwrap();
        assert_eq!((hash.fits(b"secret"), hash.fits(b"Secret"), hash.cost), (true, false, 5), "{version}");
    }
    assert!(Hash::parse(SECRET).unwrap().fits(b"secret"));
}

/// passlib before 1.7.3 wrote such salts, and others know how to read them.
#[test]
fn takes_a_salt_whose_last_bits_are_chance() {
    let padded = format!("$2y$05${}", OF_5.replacen("uuOQ", "uvOQ", 1));
    assert_ne!(padded, format!("$2y$05${OF_5}"));
    assert!(Hash::parse(&padded).unwrap().fits(b"secret"));
}

#[test]
fn refuses_what_go_refuses_and_nothing_else() {
    let tail = "abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
    for (text, expected) in [
        ("doe".to_owned(), Err("3 bytes are too few")),
        (String::new(), Err("0 bytes are too few")),
        (format!("$2y$32${tail}"), Err("a cost of 32 is not within 4 to 31")),
        (format!("$2y$03${tail}"), Err("a cost of 3 is not")),
        (format!("$2y$xx${tail}"), Err("its cost is no number")),
        (format!("$3y$10${tail}"), Err("no bcrypt hash of version 2")),
        (format!("!2y$10${tail}"), Err("begins with `$`")),
        (format!("$2y$10${tail}trailing"), Ok(true)),
        (format!("$2y$10${}", &tail[..52]), Ok(false)),
        (format!("$2y$10$!!!{}", &tail[3..]), Ok(false)),
        (format!("$2y$10$é{}é", &tail[3..]), Ok(false)),
    ] {
        match (Hash::parse(&text), expected) {
            (Ok(hash), Ok(fits_something)) => assert_eq!(hash.fits_something, fits_something, "{text}"),
            (Err(error), Err(says)) => assert!(error.contains(says), "{text}: {error}"),
            (found, expected) => panic!("{text}: {found:?} is not {expected:?}"),
        }
    }
    let error = Users::new([("john", "doe")].into_iter()).unwrap_err();
    assert_eq!(
        error,
        "basic_auth_users: john: 3 bytes are too few for a bcrypt hash; `htpasswd -nBC 10 USER` makes one"
    );
}

#[test]
fn an_unknown_user_takes_as_long_as_most_others() {
    let five = format!("$2y$05${OF_5}");
    let users = users(&[("alice", SECRET), ("bob", &five), ("carol", &five)]);
    assert_eq!(users.of("alice").map(|(hash, known)| (hash.cost, known)), Some((4, true)));
    assert_eq!(users.of("mallory").map(|(hash, known)| (hash.cost, known)), Some((5, false)));
    let (decoy, _) = users.of("mallory").unwrap();
    assert!(decoy.text.parse::<HashParts>().is_ok(), "the decoy is a hash and costs what one costs");
    assert!(Users::default().of("anybody").is_none());
}

#[test]
fn whose_hash_is_not_whole_is_shut_out_and_named() {
    let users = users(&[("alice", SECRET), ("bob", &SECRET[..59])]);
    assert_eq!(users.shut_out().collect::<Vec<_>>(), ["bob"]);
    assert!(!users.of("bob").unwrap().1);
}

#[tokio::test]
async fn the_right_password_is_known_after_one_hash() {
    let users = users(&[("alice", SECRET)]);
    let passwords = Passwords::new();
    let login = |password: &'static [u8], turn| passwords.verify(&users, ("alice", password), ready(turn));
    assert_eq!(login(b"secret", Some(())).await, Login::Right);
    // Whoever is known need not wait, even where nobody else has a turn.
    assert_eq!(login(b"secret", None).await, Login::Right);
    assert_eq!(login(b"wrong", None).await, Login::Busy);
}

#[tokio::test]
async fn nobody_else_is_admitted() {
    let users = users(&[("alice", SECRET)]);
    let passwords = Passwords::new();
    for (user, password) in [
        ("alice", &b"wrong"[..]),
        ("alice", b""),
        ("Alice", b"secret"),
        ("mallory", b"secret"),
        ("", b""),
        // What the decoy was made of.
        ("mallory", b"fakepassword"),
        // One part is not taken for the end of another (CVE-2022-46146).
        ("alice$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", b"secret"),
    ] {
        for _ in 0..2 {
            assert_eq!(verify(&passwords, &users, user, password).await, Login::Wrong, "{user}");
        }
    }
    assert_eq!(verify(&passwords, &Users::default(), "alice", b"secret").await, Login::Wrong);
    assert!(passwords.known.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_password_that_was_changed_admits_no_more() {
    let passwords = Passwords::new();
    assert_eq!(verify(&passwords, &users(&[("alice", SECRET)]), "alice", b"secret").await, Login::Right);
    let changed = SECRET.replace("WIrW", "WIra");
    assert_eq!(verify(&passwords, &users(&[("alice", &changed)]), "alice", b"secret").await, Login::Wrong);
    assert_eq!(verify(&passwords, &users(&[("bob", SECRET)]), "alice", b"secret").await, Login::Wrong);
}

#[test]
fn what_is_known_is_bounded() {
    let passwords = Passwords::new();
    for number in 0..=255u8 {
        passwords.learn([number; 32]);
        passwords.learn([number; 32]);
    }
    assert_eq!(passwords.known.lock().unwrap().len(), MAX_KNOWN);
    assert!(passwords.knows(&[255; 32]) && !passwords.knows(&[0; 32]));
}
