use std::cell::Cell;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use signing::{KeyFileError, NoSigner, Signer};

use crate::world::{Agent, NAMESPACE, STRONG, TEXT, World};

fn nobody(_: &Path) -> io::Result<String> {
    Err(io::Error::other("nobody to ask"))
}

fn open(path: &Path) -> Result<Signer, NoSigner> {
    Signer::find(Some(path), None, |_| false, nobody)
}

fn why(path: &Path) -> KeyFileError {
    match open(path).unwrap_err() {
        NoSigner::File { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[test]
fn ssh_keygen_takes_what_a_key_file_signs() {
    let Some(world) = World::new() else { return };
    for (name, kind) in &STRONG[..4] {
        for named in [(*name).to_owned(), format!("{name}.pub")] {
            let signer = (0..50).find_map(|_| {
                world.key(name, kind);
                match open(&world.path(&named)) {
                    // A quarter of the keys of P-521, and few of the other curves, the library cannot read.
                    Err(NoSigner::File { why: KeyFileError::Unreadable(_), .. })
                        if name.starts_with("ecdsa") =>
                    {
                        None
                    }
                    found => Some(found.unwrap()),
                }
            });
            let signer = signer.expect("a key that can be read");
            let signature = signer.sign(NAMESPACE, TEXT.as_bytes()).unwrap();
            assert_eq!(*signature.key(), world.public(name));
            assert!(world.accepts(&signature), "{named}");
        }
    }
}

#[test]
fn asks_for_a_passphrase_up_to_three_times() {
    let Some(world) = World::new() else { return };
    world.locked_key("locked", STRONG[0].1, "correct horse");
    let path = world.path("locked");
    let ask = |right_at: usize| {
        let asked = Cell::new(0);
        let found = Signer::find(
            Some(&path),
            None,
            |_| false,
            |of| {
                assert_eq!(of, path);
                asked.set(asked.get() + 1);
                Ok(if asked.get() == right_at { "correct horse" } else { "wrong" }.to_owned())
            },
        );
        (found, asked.get())
    };
    let (found, asked) = ask(3);
    assert!(world.accepts(&found.unwrap().sign(NAMESPACE, TEXT.as_bytes()).unwrap()) && asked == 3);
    let (found, asked) = ask(4);
    let told = found.unwrap_err();
    assert!(matches!(told, NoSigner::File { why: KeyFileError::WrongPassphrase, .. }) && asked == 3);
    assert!(matches!(why(&path), KeyFileError::NoPassphrase(_)));
    // Ciphers that authenticate know a wrong passphrase by their tag.
    world.locked_key("locked", &["-t", "ed25519", "-Z", "aes256-gcm@openssh.com"], "correct horse");
    assert_eq!(ask(2).1, 2);
}

#[test]
fn an_agent_that_has_the_key_spares_the_file() {
    let Some(world) = World::new() else { return };
    let agent = Agent::start(&world);
    let rsa = world.key("rsa", STRONG[4].1);
    agent.add(&["-q", "rsa"]);
    let locked = world.key("locked", STRONG[0].1);
    agent.add(&["-q", "locked"]);
    world.run("ssh-keygen", &["-q", "-p", "-N", "secret", "-f", "locked"], "");
    for (name, key) in [("rsa", &rsa), ("rsa.pub", &rsa), ("locked", &locked), ("locked.pub", &locked)] {
        let signer = Signer::find(Some(&world.path(name)), Some(&agent.socket), |_| false, nobody).unwrap();
        assert_eq!(signer.key(), key);
        assert!(world.accepts(&signer.sign(NAMESPACE, TEXT.as_bytes()).unwrap()), "{name}");
    }
    // Where its private half is gone, and where the file is in a form that cannot be read here.
    fs::remove_file(world.path("rsa")).unwrap();
    assert!(Signer::find(Some(&world.path("rsa.pub")), Some(&agent.socket), |_| false, nobody).is_ok());
    world.write("rsa", "-----BEGIN RSA PRIVATE KEY-----\n");
    fs::set_permissions(world.path("rsa"), Permissions::from_mode(0o600)).unwrap();
    assert!(Signer::find(Some(&world.path("rsa")), Some(&agent.socket), |_| false, nobody).is_ok());
}

#[test]
fn says_why_a_file_signs_nothing() {
    let Some(world) = World::new() else { return };
    world.key("rsa", STRONG[4].1);
    let told = why(&world.path("rsa")).to_string();
    assert_eq!(
        told,
        "keys of type ssh-rsa are signed with by the agent alone: `ssh-add FILE` gives it the key"
    );
    world.key("old", &["-t", "ecdsa", "-m", "PEM"]);
    assert!(matches!(why(&world.path("old")), KeyFileError::OldForm));
    world.key("open", STRONG[0].1);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(world.path("open"), Permissions::from_mode(mode)).unwrap();
        assert!(
            matches!(why(&world.path("open")), KeyFileError::OpenToOthers { mode: told } if told == mode)
        );
        assert!(matches!(why(&world.path("open.pub")), KeyFileError::OpenToOthers { .. }));
    }
    world.run("mkfifo", &["fifo"], "");
    assert!(matches!(why(&world.path("fifo")), KeyFileError::NotAFile));
    assert!(matches!(why(&world.path("")), KeyFileError::NotAFile));
    assert!(matches!(why(&world.path("nowhere")), KeyFileError::Io(_)));
    assert!(matches!(why(&world.write("large", vec![b' '; 65537])), KeyFileError::TooLarge));
    assert!(matches!(why(&world.write("binary", [0xff; 100])), KeyFileError::NoKey(_)));
    let armor = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    fs::set_permissions(world.write("damaged", armor), Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(why(&world.path("damaged")), KeyFileError::Unreadable(_)));
}

#[test]
fn a_public_key_wants_its_private_half() {
    let Some(world) = World::new() else { return };
    let key = world.key("alice", STRONG[0].1);
    world.key("other", STRONG[0].1);
    fs::copy(world.path("alice.pub"), world.path("other.pub")).unwrap();
    assert!(matches!(why(&world.path("other.pub")), KeyFileError::Differs));
    fs::remove_file(world.path("alice")).unwrap();
    let told = open(&world.path("alice.pub")).unwrap_err().to_string();
    assert!(told.starts_with(&format!("the private half of {} is neither", key.fingerprint())), "{told}");
    assert!(told.contains("sudo --preserve-env=SSH_AUTH_SOCK"), "{told}");
    let agent = Agent::start(&world);
    let found = Signer::find(Some(&world.path("alice.pub")), Some(&agent.socket), |_| false, nobody);
    assert!(found.unwrap_err().to_string().ends_with("(the agent holds none)"));
}
