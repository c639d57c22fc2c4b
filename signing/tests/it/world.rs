//! The vocabulary of the stories: a folder with keys, and OpenSSH's tools in it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use signing::{PublicKey, Signature};
use tempfile::TempDir;

pub(crate) const NAMESPACE: &str = "baseline@portledger";
pub(crate) const TEXT: &str = "sshd may listen on tcp 0.0.0.0:22\n";

/// The types that ssh-keygen makes keys of and everybody believes, with what it is asked for.
pub(crate) const STRONG: [(&str, &[&str]); 5] = [
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa3072", &["-t", "rsa", "-b", "3072"]),
];

pub(crate) struct World(TempDir);

impl World {
    /// `None`, and says so, where OpenSSH's tools are not installed.
    pub(crate) fn new() -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |tool| std::env::split_paths(&folders).any(|folder| folder.join(tool).exists());
        if !["ssh-keygen", "ssh-agent", "ssh-add"].into_iter().all(is_there) {
            let story = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("SKIP {story}: no ssh-keygen (package openssh-client)");
            return None;
        }
        Some(World(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes a key pair; what there was of this name is gone.
    pub(crate) fn key(&self, name: &str, kind: &[&str]) -> PublicKey {
        self.locked_key(name, kind, "")
    }

    pub(crate) fn locked_key(&self, name: &str, kind: &[&str], passphrase: &str) -> PublicKey {
        for old in [self.path(name), self.path(&format!("{name}.pub"))] {
            if old.exists() {
                fs::remove_file(old).unwrap();
            }
        }
        let mut words = vec!["-q", "-N", passphrase, "-C", "a comment", "-f", name];
        words.extend(kind);
        self.run("ssh-keygen", &words, "");
        self.public(name)
    }

    pub(crate) fn public(&self, name: &str) -> PublicKey {
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap().parse().unwrap()
    }

    /// What `ssh-keygen -Y sign` makes of the text.
    pub(crate) fn armor(&self, key: &str, more: &[&str]) -> String {
        let mut words = vec!["-q", "-Y", "sign", "-n", NAMESPACE, "-f", key];
        words.extend(more);
        String::from_utf8(self.run("ssh-keygen", &words, TEXT).stdout).unwrap()
    }

    pub(crate) fn sign(&self, key: &str) -> Signature {
        Signature::from_armor(&self.armor(key, &[])).unwrap()
    }

    /// Whether `ssh-keygen -Y check-novalidate` takes it as one of the text.
    pub(crate) fn accepts(&self, signature: &Signature) -> bool {
        self.write("signature", signature.to_armor());
        let words = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", "signature"];
        self.try_run("ssh-keygen", &words, "UTC0", TEXT).status.success()
    }

    pub(crate) fn run(&self, program: &str, words: &[&str], input: &str) -> Output {
        let output = self.try_run(program, words, "UTC0", input);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {words:?}: {told}");
        output
    }

    pub(crate) fn try_run(&self, program: &str, words: &[&str], zone: &str, input: &str) -> Output {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.0.path()).env("TZ", zone).env_remove("SSH_AUTH_SOCK");
        let read = self.write("input", input);
        command.stdin(fs::File::open(read).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap().wait_with_output().unwrap()
    }
}

/// An agent of OpenSSH that ends with this value.
pub(crate) struct Agent<'a> {
    world: &'a World,
    process: Child,
    pub(crate) socket: PathBuf,
}

impl<'a> Agent<'a> {
    pub(crate) fn start(world: &'a World) -> Self {
        let socket = world.path("agent");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        while UnixStream::connect(&socket).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Agent { world, process, socket }
    }

    pub(crate) fn add(&self, words: &[&str]) {
        let mut command = Command::new("ssh-add");
        command.args(words).current_dir(self.world.0.path()).env("SSH_AUTH_SOCK", &self.socket);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
