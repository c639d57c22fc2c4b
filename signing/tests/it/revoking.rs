use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, proptest};
use signing::{PublicKey, RevokedError, RevokedKeys};

use crate::security_key::strings;
use crate::world::{NAMESPACE, STRONG, TEXT, World};

const HEADER: &[u8] = b"SSHKRL\n\0\0\0\0\x01--------________........\0\0\0\0\0\0\0\0";

/// A KRL with one section.
fn krl(kind: u8, section: &[u8]) -> Vec<u8> {
    [HEADER, &[kind], &strings(&[section])].concat()
}

/// Whether ssh-keygen, too, believes the key no more; its file of revoked keys is `revoked`.
fn agreed(world: &World, name: &str) -> bool {
    let key = world.public(name);
    world.write("signature", world.armor(name, &[]));
    world.write("allowed", format!("alice {key}\n"));
    let words = ["-Y", "verify", "-n", NAMESPACE, "-I", "alice", "-f", "allowed", "-s", "signature"];
    let verified =
        |more: &[&str]| world.try_run("ssh-keygen", &[&words, more].concat(), "UTC0", TEXT).status.success();
    assert!(verified(&[]));
    let revoked = RevokedKeys::parse(&std::fs::read(world.path("revoked")).unwrap()).unwrap();
    assert_eq!(revoked.contains(&key), !verified(&["-r", "revoked"]), "{name}");
    revoked.contains(&key)
}

#[test]
fn revokes_what_ssh_keygen_revokes() {
    let Some(world) = World::new() else { return };
    let keys: Vec<(&str, PublicKey)> =
        STRONG.iter().map(|(name, kind)| (*name, world.key(name, kind))).collect();
    for (name, key) in &keys {
        let sha256 = format!("hash: {}\n", key.fingerprint());
        let files = [
            ("key.pub in a KRL", format!("{key} with a comment\n")),
            ("key: in a KRL", format!("key: {key}\n")),
            ("its SHA-1 in a KRL", format!("sha1: {key}\n")),
            ("its SHA-256 in a KRL", format!("sha256: {key}\n")),
            ("its fingerprint in a KRL", sha256),
        ];
        for (how, text) in files {
            world.write("specification", text);
            world.run("ssh-keygen", &["-q", "-k", "-f", "revoked", "-z", "7", "specification"], "");
            for (other, _) in &keys {
                assert_eq!(agreed(&world, other), other == name, "{other} by {how} of {name}");
            }
        }
        world.write("revoked", format!("# gone\n\n \t{key} alice\n"));
        for (other, _) in &keys {
            assert_eq!(agreed(&world, other), other == name, "{other} by a list with {name}");
        }
    }
    for nothing in ["", "# nobody\n"] {
        world.write("revoked", nothing);
        assert!(!agreed(&world, keys[0].0));
    }
}

#[test]
fn what_revokes_certificates_is_passed_over() {
    let Some(world) = World::new() else { return };
    let key = world.key("alice", STRONG[0].1);
    world.key("authority", STRONG[0].1);
    world.write("specification", format!("serial: 1-9\nid: alice\nsha256: {key}\n"));
    let words = ["-q", "-k", "-f", "revoked", "-s", "authority.pub", "specification"];
    world.run("ssh-keygen", &words, "");
    assert!(agreed(&world, "alice"));
    assert!(!agreed(&world, "authority"));
}

#[test]
fn says_what_it_cannot_tell() {
    let extension = |critical: u8| {
        let name = strings(&[b"new@example.org"]);
        krl(255, &[&name[..], &[critical], &strings(&[b"value"])].concat())
    };
    let signed = [HEADER, &[4], &strings(&[b"key", b"signature"])].concat();
    let broken = RevokedError::Broken;
    let cases = [
        (krl(1, b"anything"), Ok(())),
        (krl(2, b""), Ok(())),
        (extension(0), Ok(())),
        (signed.clone(), Ok(())),
        (signed[..signed.len() - 1].to_vec(), Err(broken("it ends early"))),
        (HEADER[..HEADER.len() - 1].to_vec(), Err(broken("it ends early"))),
        (HEADER.iter().copied().chain([2]).collect(), Err(broken("it ends early"))),
        (krl(2, b"\0\0\0\x02x"), Err(broken("a section ends early"))),
        (krl(3, &strings(&[&[0; 32]])), Err(broken("a hash is not as long as its kind"))),
        (krl(5, &strings(&[&[0; 20]])), Err(broken("a hash is not as long as its kind"))),
        (krl(255, b"\0"), Err(broken("an extension is not whole"))),
        (extension(1), Err(RevokedError::Extension("new@example.org".to_owned()))),
        (krl(6, b""), Err(RevokedError::Section(6))),
        (b"SSHKRL\n\0\0\0\0\x02".to_vec(), Err(RevokedError::Version(2))),
        (b"# x\n\xff".to_vec(), Err(RevokedError::NotUtf8(2))),
        (vec![b' '; (16 << 20) + 1], Err(RevokedError::TooLarge)),
    ];
    for (file, expected) in cases {
        assert_eq!(RevokedKeys::parse(&file).map(drop), expected);
    }
    let told = RevokedKeys::parse(b"\nssh-ed25519\n").unwrap_err().to_string();
    assert!(told.starts_with("line 2 of the revoked keys: it is no public key"), "{told}");
}

proptest! {
    #[test]
    fn garbage_revokes_nothing_unheard(bytes in vec(any::<u8>(), 1..300), kind in any::<u8>()) {
        let is_list = bytes.split(|byte| *byte == b'\n').all(|line| {
            let line = line.trim_ascii();
            line.is_empty() || line.starts_with(b"#")
        });
        prop_assert!(is_list || RevokedKeys::parse(&bytes).is_err());
        let read = RevokedKeys::parse(&krl(kind, &bytes));
        prop_assert!(matches!(kind, 1..=5 | 255) || read.is_err());
    }
}
