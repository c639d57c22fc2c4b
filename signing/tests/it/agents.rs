use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use signing::{AgentError, NoSigner, PublicKey, SignError, Signer};

use crate::security_key::strings;
use crate::world::{Agent, NAMESPACE, STRONG, TEXT, World};

fn find(socket: Option<&Path>, may_sign: impl Fn(&PublicKey) -> bool) -> Result<Signer, NoSigner> {
    Signer::find(None, socket, may_sign, |_| Err(io::Error::other("nobody to ask")))
}

#[test]
fn ssh_keygen_takes_what_an_agent_signs_for_us() {
    let Some(world) = World::new() else { return };
    let agent = Agent::start(&world);
    for (name, kind) in STRONG {
        let key = world.key(name, kind);
        agent.add(&["-q", name]);
        let signer = find(Some(&agent.socket), |held| *held == key).unwrap();
        let signature = signer.sign(NAMESPACE, TEXT.as_bytes()).unwrap();
        assert_eq!(signature.key(), &key);
        assert!(world.accepts(&signature), "{name}");
    }
    // In the order of the agent.
    let first = find(Some(&agent.socket), |_| true).unwrap();
    assert_eq!(*first.key(), world.public(STRONG[0].0));
    let told = first.sign("", TEXT.as_bytes()).unwrap_err();
    assert!(matches!(told, SignError::Key(_)), "{told}");
}

#[test]
fn says_what_to_do_where_no_key_is_found() {
    let Some(world) = World::new() else { return };
    let told = |socket: Option<&Path>| find(socket, |_| false).unwrap_err().to_string();
    assert!(told(None).contains("sudo --preserve-env=SSH_AUTH_SOCK"));
    let nowhere = told(Some(&world.path("nowhere")));
    assert!(nowhere.starts_with("no SSH agent can be reached at \"/"), "{nowhere}");
    let agent = Agent::start(&world);
    assert!(told(Some(&agent.socket)).starts_with("the SSH agent holds no key that can sign"));
    let weak = world.key("weak", &["-t", "rsa", "-b", "1024"]);
    let strong = world.key("strong", STRONG[0].1);
    agent.add(&["-q", "weak"]);
    let both = format!("none of the keys of the SSH agent may sign: {}", weak.fingerprint());
    assert!(find(Some(&agent.socket), |_| true).unwrap_err().to_string().starts_with(&both));
    agent.add(&["-q", "strong"]);
    assert!(told(Some(&agent.socket)).starts_with(&format!("{both}, {};", strong.fingerprint())));
    assert_eq!(*find(Some(&agent.socket), |_| true).unwrap().key(), strong);
}

#[test]
fn certificates_of_an_agent_are_left_out() {
    let Some(world) = World::new() else { return };
    world.key("authority", STRONG[0].1);
    let key = world.key("alice", STRONG[0].1);
    world.run("ssh-keygen", &["-q", "-s", "authority", "-I", "id", "-n", "alice", "alice.pub"], "");
    let agent = Agent::start(&world);
    agent.add(&["-q", "alice"]);
    let seen = std::cell::RefCell::new(Vec::new());
    let found = find(Some(&agent.socket), |held| {
        seen.borrow_mut().push(held.clone());
        false
    });
    assert!(matches!(found, Err(NoSigner::NoneMay(keys)) if keys == [key.clone()]));
    assert_eq!(*seen.borrow(), [key]);
}

/// Answers the first requests that come with these bytes, length and all.
fn peer(world: &World, answers: Vec<Vec<u8>>) -> std::path::PathBuf {
    let path = world.path("peer");
    if path.exists() {
        std::fs::remove_file(&path).unwrap();
    }
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            // Whoever asked may have gone at the first bytes.
            stream.write_all(&answer).ok();
        }
    });
    path
}

fn list(keys: &[&PublicKey], said: u32) -> Vec<u8> {
    let keys: Vec<u8> = keys.iter().flat_map(|key| strings(&[key.blob(), b"comment"])).collect();
    strings(&[&[&[12][..], &said.to_be_bytes(), &keys].concat()])
}

#[test]
fn believes_no_agent_blindly() {
    let Some(world) = World::new() else { return };
    let key = world.key("alice", STRONG[0].1);
    let cases: [(Vec<u8>, &str); 8] = [
        (vec![], "went away"),
        (vec![0, 0, 0, 9, 12], "went away"),
        (vec![0, 0, 0, 0], "it is no list of keys"),
        (strings(&[b"\x05"]), "the SSH agent refused"),
        (strings(&[b"\x0e"]), "it is no list of keys"),
        (((256u32 << 10) + 1).to_be_bytes().to_vec(), "longer than 256 KiB"),
        (list(&[&key], 2), "ends early"),
        (list(&[&key], 2049), "more than 2048 keys"),
    ];
    for (answer, expected) in cases {
        let socket = peer(&world, vec![answer]);
        let told = find(Some(&socket), |_| true).unwrap_err().to_string();
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // Another key's, a text's that was not asked for, none.
    let other = world.key("other", STRONG[0].1);
    let raw = strings(&[b"ssh-ed25519", &[1; 64]]);
    for (answer, believed) in [
        (strings(&[&[&[14][..], &strings(&[&raw])].concat()]), "would not be believed"),
        (strings(&[&[&[14][..], &strings(&[b"garbage"])].concat()]), "would not be believed"),
        (strings(&[b"\x0e\0\0\0\x09"]), "it is no signature"),
        (strings(&[b"\x05"]), "the SSH agent refused"),
    ] {
        let socket = peer(&world, vec![list(&[&key, &other], 2), answer]);
        let signer = find(Some(&socket), |held| *held == other).unwrap();
        let told = signer.sign(NAMESPACE, TEXT.as_bytes()).unwrap_err().to_string();
        assert!(told.contains(believed), "{told}");
    }
}

#[test]
fn waits_for_no_agent_without_end() {
    let Some(world) = World::new() else { return };
    let path = world.path("silent");
    let silent = UnixListener::bind(&path).unwrap();
    let told = find(Some(&path), |_| true).unwrap_err();
    assert!(matches!(told, NoSigner::Agent(AgentError::Silent { seconds: 5, .. })), "{told}");
    drop(silent);
    // One that accepts nobody, and for whom as many wait as can.
    let path = world.path("full");
    let full = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let told = find(Some(&path), |_| true).unwrap_err();
    assert!(matches!(told, NoSigner::Agent(AgentError::Silent { seconds: 5, .. })), "{told}");
}
