//! Certificates made by `openssl`, and files that name them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// `ca`, `server`, `client` and `other` below `ca`; `stranger` signed by itself. Each with its key, ECDSA on P-256;
/// `rsa` signed by itself with RSA.
const RECIPE: &str = r#"
new() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
signed() {
    new "$1"
    openssl req -new -key "$1.key" -subj "/O=Example/CN=$1" -out "$1.csr"
    printf 'subjectAltName=%s\n' "$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$3" -extfile "$1.ext" -out "$1.pem"
}
new ca
openssl req -x509 -key ca.key -subj /CN=ca -days 3650 -out ca.pem
signed server DNS:localhost,IP:127.0.0.1 30
signed client 'DNS:prometheus.example.net,email:ops@example.net,IP:192.0.2.7,IP:2001:db8::7,URI:spiffe://example.net/prom' 30
signed other DNS:other.example.net 60
new stranger
openssl req -x509 -key stranger.key -subj /CN=stranger -addext subjectAltName=DNS:stranger -days 30 -out stranger.pem
openssl req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=rsa -addext subjectAltName=DNS:localhost -days 30 -out rsa.pem
openssl pkcs8 -topk8 -in server.key -passout pass:secret -out locked.key
"#;

/// A hash of `secret` at the lowest cost, as libcrypt made it.
pub(crate) const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// A folder of certificates and the configuration `web.yml`.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// `None`, and says so, without `openssl`.
    pub(crate) fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-ec", RECIPE]).current_dir(folder.path());
        shell.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
        if Command::new("openssl").arg("version").output().is_err() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("SKIP {test}: no openssl (package openssl)");
            return None;
        }
        assert!(shell.status().unwrap().success());
        Some(Folder { folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes it as editors and configuration management do: beside, and renamed.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path("beside"), text).unwrap();
        fs::rename(self.path("beside"), self.path(name)).unwrap();
        self.path(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }
}
