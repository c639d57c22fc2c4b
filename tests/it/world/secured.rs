use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;

use super::host::{Told, finish};
use super::process::Running;
use super::{Host, Serve, eventually};

/// A password file's line: `secret`, as libcrypt hashes it.
pub(crate) const ALICE: &str = "alice: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// Makes an authority, and below it `server`, `client`, `stranger` with another name, and `renewed` for the same server.
/// `issue NAME SAN FROM TO [AUTHORITY]` of the script `tls/issue` makes more, with times as date(1) takes them.
pub(crate) fn certificates(host: &Host) {
    host.sh(&format!(
        r#"mkdir -p {0} {1}
        cd {0}
        cat >issue <<'END'
cd {0}
issue() {{
    by=${{5:-ca}}
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out $1.key.new
    openssl req -new -key $1.key.new -subj /CN=$1 -out $1.csr
    printf 'subjectAltName=DNS:%s' $2 >$1.ext
    printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' >ca.cnf
    rm -f index* ; : >index; date +%s%N | head -c 18 >serial
    at() {{ date -u -d "$1" +%Y%m%d%H%M%SZ; }}
    case $by in self) by="-selfsign -keyfile $1.key.new"; printf 'basicConstraints=critical,CA:true' >$1.ext;; *) by="-cert $by.pem -keyfile $by.key";; esac
    openssl ca -batch -notext -config ca.cnf $by -in $1.csr -out $1.pem.new -extfile $1.ext -startdate $(at "$3") -enddate $(at "$4") 2>issued
    chmod 644 $1.key.new
    mv $1.key.new $1.key; mv $1.pem.new $1.pem
}}
END
        . ./issue
        issue ca ca -1day +10year self
        issue server localhost -1day +10year
        issue client prometheus.example.net -1day +10year
        issue stranger other.example.net -1day +10year
        issue renewed localhost -1day +10year"#,
        host.path("tls").display(),
        host.path("web").display()
    ));
}

/// `serve` with a web configuration, until it is dropped.
pub(crate) struct Secured<'a> {
    host: &'a Host,
    running: Running,
}

impl<'a> Secured<'a> {
    /// Where clients must have a certificate of the right name.
    pub(crate) const MUTUAL: &'static str = "tls_server_config:
  cert_file: ../tls/server.pem
  key_file: ../tls/server.key
  client_ca_file: ../tls/ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example.net]
";

    /// It is ready when it says where it serves, since not everybody is answered.
    pub(crate) fn start(host: &'a Host, yaml: &str) -> Self {
        host.sh(&format!("mkdir -p {}", host.path("web").display()));
        host.write("web/web.yml", yaml);
        let file = host.path("web/web.yml");
        let log = File::create(host.path("log/serve")).unwrap();
        let address = format!("0.0.0.0:{}", Serve::PORT);
        let words =
            ["serve", "--web.config.file", file.to_str().unwrap(), "--web.listen-address", address.as_str()];
        let mut command = host.portledger(&words);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let running = Running::start(command);
        eventually("it listens", || host.within(|| TcpStream::connect(("127.0.0.1", Serve::PORT)).ok()));
        Secured { host, running }
    }

    /// What it wrote to its standard error so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.host.path("log/serve")).unwrap()
    }

    /// Waits until its log says so.
    pub(crate) fn says(&self, what: &str) {
        eventually(&format!("the log says {what}"), || self.log().contains(what).then_some(()));
    }

    /// curl over TLS, with the certificate of a client where one is named.
    pub(crate) fn curl(&self, client: Option<&str>, words: &[&str], path: &str) -> Told {
        let mut curl = self.host.command("curl");
        let tls = |name: &str| self.host.path("tls").join(name).display().to_string();
        curl.args(["-sS", "--noproxy", "*", "-4", "--max-time", "25", "--cacert", &tls("ca.pem")]);
        if let Some(client) = client {
            curl.args(["--cert", &tls(&format!("{client}.pem")), "--key", &tls(&format!("{client}.key"))]);
        }
        curl.args(words).arg(format!("https://localhost:{}{path}", Serve::PORT));
        finish(curl)
    }

    /// The value of a series, for the client `client` and the user `alice`.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let told = self.curl(Some("client"), &["-u", "alice:secret"], "/metrics");
        let line = told.stdout.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// `openssl s_client` in the folder of certificates, with what is to be said to the server.
    pub(crate) fn s_client(&self, words: &str, said: &[u8]) -> String {
        fs::File::create(self.host.path("tls/said")).unwrap().write_all(said).unwrap();
        // It ends when the server hangs up.
        self.host.sh(&format!(
            "cd {}; timeout 20 openssl s_client -ign_eof -connect 127.0.0.1:{} {words} <said 2>&1 | tr -dc '[:print:]\\n' || true",
            self.host.path("tls").display(),
            Serve::PORT,
        ))
    }

    /// Ends it: what is told together is told then.
    pub(crate) fn ends(&mut self) {
        self.running.signal(Signal::TERM);
        assert_eq!(self.running.ends_with(), Some(0));
    }

    /// What its log of logins says of those who were refused.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let log = fs::read_to_string(self.host.path("state/logins.jsonl")).unwrap_or_default();
        // The last line may be on its way.
        let lines = log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.filter(|line| line.contains("\"event\":\"refused\"")).map(str::to_owned).collect()
    }
}
