use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Host, eventually, finish};

/// Somebody with an SSH key.
pub(crate) struct Person {
    /// `alice@example.org`
    pub(crate) name: String,
    /// The private key; the public one is beside it.
    pub(crate) key: PathBuf,
}

impl Person {
    pub(crate) fn key(&self) -> &str {
        self.key.to_str().unwrap()
    }

    /// `ssh-ed25519 AAAA...`
    pub(crate) fn public(&self) -> String {
        let line = fs::read_to_string(self.key.with_extension("pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// As it stands in allowed_signers, with options such as `valid-before="20250101"`.
    pub(crate) fn line(&self, options: &str) -> String {
        let options = if options.is_empty() { String::new() } else { format!("{options} ") };
        format!("{} {options}{}\n", self.name, self.public())
    }
}

impl Host {
    /// Somebody with a key of their own.
    pub(crate) fn person(&self, name: &str) -> Person {
        self.person_with(name, &["-t", "ed25519"])
    }

    /// With a key of another kind, in ssh-keygen's words.
    pub(crate) fn person_with(&self, name: &str, kind: &[&str]) -> Person {
        let key = self.path("keys").join(name);
        fs::create_dir_all(self.path("keys")).unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-C", "", "-f"]).arg(&key).args(kind);
        let told = finish(keygen);
        assert_eq!(told.code, 0, "{told:?}");
        Person { name: format!("{name}@example.org"), key }
    }

    /// Configures that approvals must be signed, by these people; `more` are further keys of the configuration.
    pub(crate) fn demands_signatures(&self, people: &[&Person], more: &str) {
        let config = format!("signatures = \"required\"\n{more}[sensor]\ninterval = \"200ms\"\n");
        self.write("etc/portledger.toml", config);
        self.allows(&people.iter().map(|person| person.line("")).collect::<String>());
    }

    /// Writes allowed_signers.
    pub(crate) fn allows(&self, lines: &str) {
        self.write("etc/allowed_signers", lines);
    }

    /// An agent of OpenSSH that holds somebody's key.
    pub(crate) fn agent(&self, holder: &Person) -> Agent {
        let socket = self.path(format!("agent-{}", holder.name));
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket).stdin(Stdio::null()).stdout(Stdio::null());
        let agent = Agent { process: command.spawn().unwrap(), socket };
        eventually("the agent listens", || agent.socket.exists().then_some(()));
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(&holder.key).env("SSH_AUTH_SOCK", &agent.socket);
        let told = finish(add);
        assert_eq!(told.code, 0, "{told:?}");
        agent
    }
}

/// Ends with this value.
pub(crate) struct Agent {
    process: Child,
    pub(crate) socket: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
