use base64ct::{Base64, Encoding};
use signing::{KeyError, PublicKey, Signature, SignatureError};

use crate::security_key::{SecurityKey, strings};
use crate::world::{NAMESPACE, STRONG, TEXT, World};

#[test]
fn takes_what_ssh_keygen_signs() {
    let Some(world) = World::new() else { return };
    for (name, kind) in STRONG {
        let key = world.key(name, kind);
        for hash in ["sha256", "sha512"] {
            let armor = world.armor(name, &["-O", &format!("hashalg={hash}")]);
            let signature = Signature::from_armor(&armor).unwrap();
            assert_eq!(signature.verify(NAMESPACE, TEXT.as_bytes()), Ok(()), "{name} {hash}");
            assert_eq!(signature.key(), &key);
            assert_eq!(signature.namespace(), NAMESPACE);
            assert_eq!(signature.to_armor(), armor);
            assert_eq!(Signature::from_base64(&signature.to_base64()), Ok(signature));
        }
    }
}

#[test]
fn refuses_another_text_and_another_namespace() {
    let Some(world) = World::new() else { return };
    for (name, kind) in STRONG {
        let key = world.key(name, kind).fingerprint();
        let signature = world.sign(name);
        let other = signature.verify(NAMESPACE, b"anything else");
        assert_eq!(other, Err(SignatureError::OfAnotherText(key)), "{name}");
        let told = signature.verify("file", TEXT.as_bytes()).unwrap_err().to_string();
        assert_eq!(told, "the signature was made for \"baseline@portledger\", not for \"file\"");
    }
}

#[test]
fn believes_no_weak_key() {
    let Some(world) = World::new() else { return };
    let key = world.key("weak", &["-t", "rsa", "-b", "1024"]);
    assert_eq!(key.weakness(), Some("RSA keys of less than 2048 bits can be broken"));
    let told = world.sign("weak").verify(NAMESPACE, TEXT.as_bytes()).unwrap_err();
    assert!(matches!(told, SignatureError::Weak { .. }), "{told}");
    for bits in ["2047", "2048"] {
        let key = world.key("edge", &["-t", "rsa", "-b", bits]);
        assert_eq!(key.weakness().is_some(), bits == "2047", "{bits}");
    }
}

#[test]
fn keys_are_those_of_ssh_keygen() {
    let Some(world) = World::new() else { return };
    for (name, kind) in STRONG {
        let key = world.key(name, kind);
        let told = world.run("ssh-keygen", &["-l", "-f", &format!("{name}.pub")], "").stdout;
        let told = String::from_utf8(told).unwrap();
        assert_eq!(told.split(' ').nth(1), Some(key.fingerprint().as_str()));
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

#[test]
fn certificates_are_refused_by_name() {
    let Some(world) = World::new() else { return };
    world.key("authority", STRONG[0].1);
    world.key("alice", STRONG[0].1);
    world.run("ssh-keygen", &["-q", "-s", "authority", "-I", "id", "-n", "alice", "alice.pub"], "");
    let certificate = std::fs::read_to_string(world.path("alice-cert.pub")).unwrap();
    let name = "ssh-ed25519-cert-v01@openssh.com".to_owned();
    assert_eq!(certificate.parse::<PublicKey>(), Err(KeyError::Certificate(name.clone())));
    let signed = Signature::from_armor(&world.armor("alice-cert.pub", &[]));
    assert_eq!(signed, Err(SignatureError::Key(KeyError::Certificate(name))));
}

#[test]
fn a_security_key_must_have_been_touched() {
    for key in [SecurityKey::ed25519(), SecurityKey::ecdsa()] {
        let touched = key.sign(1, TEXT);
        assert_eq!(touched.key().type_name(), key.type_name);
        assert_eq!(touched.verify(NAMESPACE, TEXT.as_bytes()), Ok(()));
        let another = touched.verify(NAMESPACE, b"another text");
        assert_eq!(another, Err(SignatureError::OfAnotherText(touched.key().fingerprint())));
        let alone = key.sign(0, TEXT);
        let told = alone.verify(NAMESPACE, TEXT.as_bytes());
        assert_eq!(told, Err(SignatureError::Untouched(alone.key().fingerprint())));
        let Some(world) = World::new() else { return };
        assert!(world.accepts(&touched));
    }
}

/// A second form of a good signature would be a second name for it.
#[test]
fn there_is_one_form_of_each_signature() {
    let Some(world) = World::new() else { return };
    world.key("alice", STRONG[0].1);
    let blob = Base64::decode_vec(&world.sign("alice").to_base64()).unwrap();
    let rewritten = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut blob = blob.clone();
        change(&mut blob);
        Signature::from_base64(&Base64::encode_string(&blob)).map(drop)
    };
    assert_eq!(rewritten(&|_| {}), Ok(()));
    assert!(rewritten(&|blob| blob[9] = 0).is_err(), "version 0");
    assert!(rewritten(&|blob| blob[9] = 2).is_err(), "version 2");
    assert!(rewritten(&|blob| blob.push(0)).is_err(), "more at the end");
    // After magic, version, key and namespace stands the reserved string, which is empty and not signed.
    let reserved = 6 + 4 + (4 + 51) + (4 + NAMESPACE.len());
    assert_eq!(blob[reserved..reserved + 4], [0; 4]);
    assert!(
        rewritten(&|blob| {
            blob[reserved + 3] = 1;
            blob.insert(reserved + 4, b'x');
        })
        .is_err()
    );
}

/// A signature of these parts, which nobody made.
fn crafted(key: &[u8], namespace: &str, hash: &str, raw: &[u8]) -> Result<Signature, SignatureError> {
    let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
    blob.extend(strings(&[key, namespace.as_bytes(), b"", hash.as_bytes(), raw]));
    Signature::from_base64(&Base64::encode_string(&blob))
}

#[test]
fn says_what_is_no_signature() {
    use SignatureError::{Garbage, Hash, Key, Sha1, TooLong};

    let ed25519 = strings(&[b"ssh-ed25519", &[1; 32]]);
    let by_ed25519 = strings(&[b"ssh-ed25519", &[1; 64]]);
    let made = |name: &str| strings(&[name.as_bytes(), &[1; 64]]);
    let signature = |raw: &[u8]| crafted(&ed25519, "n", "sha512", raw).map(drop);
    let damaged = Err(Garbage("what its key is said to have made is damaged"));
    let of_another = Err(Garbage("its key is of another type than what it is said to have made"));
    let unknown = KeyError::UnknownType("ssh-new".to_owned());
    let cases = [
        (signature(&by_ed25519), Ok(())),
        (signature(&made("rsa-sha2-512")), of_another.clone()),
        (signature(&made("sk-ssh-ed25519@openssh.com")), of_another),
        (signature(&made("ssh-rsa")), Err(Sha1)),
        (signature(&by_ed25519[..40]), damaged.clone()),
        (signature(&[&by_ed25519[..], b"x"].concat()), damaged.clone()),
        (signature(&strings(&[b"ssh-ed25519", &[1; 63]])), damaged),
        (crafted(&ed25519, "n", "md5", &by_ed25519).map(drop), Err(Hash("md5".to_owned()))),
        (
            crafted(&ed25519, "", "sha512", &by_ed25519).map(drop),
            Err(Garbage("it is for nothing: its namespace is empty")),
        ),
        (crafted(&made("ssh-new"), "n", "sha512", &by_ed25519).map(drop), Err(Key(unknown))),
        (Signature::from_base64("U1NIU0lH\n").map(drop), Err(Garbage("it is no base64"))),
        (Signature::from_base64("").map(drop), Err(Garbage("it does not begin as version 1 of one does"))),
        (Signature::from_base64(&"A".repeat(16385)).map(drop), Err(TooLong)),
        (Signature::from_armor(&" ".repeat(16385)).map(drop), Err(TooLong)),
        (Signature::from_armor("U1NIU0lH").map(drop), Err(Garbage("its first line is not that of one"))),
        (
            Signature::from_armor("-----BEGIN SSH SIGNATURE-----\nU1NI").map(drop),
            Err(Garbage("its last line is not that of one")),
        ),
    ];
    for (at, (told, expected)) in cases.into_iter().enumerate() {
        assert_eq!(told, expected, "case {at}");
    }
}

/// A second blob of a key would be one that nobody revoked.
#[test]
fn there_is_one_blob_of_each_key() {
    let Some(world) = World::new() else { return };
    let key = world.key("alice", STRONG[1].1);
    let (head, point) = key.blob().split_at(key.blob().len() - 65);
    let compressed = [&[2 + point[64] % 2], &point[1..33]].concat();
    let blob = [&head[..head.len() - 4], &strings(&[&compressed])].concat();
    assert_eq!(PublicKey::from_blob(&blob), Err(KeyError::Broken));
    assert_eq!(PublicKey::from_blob(&[key.blob(), b"x"].concat()), Err(KeyError::Broken));
    assert_eq!(PublicKey::from_blob(&vec![0; 8193]), Err(KeyError::TooLong));
    let renamed = key.to_string().replace("nistp256 ", "nistp384 ");
    let (named, held) = ("ecdsa-sha2-nistp384".to_owned(), key.type_name());
    assert_eq!(renamed.parse::<PublicKey>(), Err(KeyError::TypeDiffers { named, held }));
}
