//! Against receivers that go away, come back, take their time and read nothing.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::thread::JoinHandle;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use super::*;
use crate::outbox::fixtures::{World, eventually, receiver};
use crate::outbox::receiver::{Log, TlsFiles};

/// A sender on its thread, ended and waited for when it is dropped.
struct Sending {
    ends: Arc<AtomicBool>,
    status: Arc<Status>,
    thread: Option<JoinHandle<()>>,
    bell: std::path::PathBuf,
}

impl Sending {
    fn start(world: &World, to: &str, files: TlsFiles) -> Self {
        let receiver = receiver(to, files);
        let status = Arc::new(Status::new(&receiver));
        let sender = Sender::new(receiver, Origin::new("h", 1), world.folder(), status.clone());
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = Some(std::thread::spawn(move || sender.work(&told)));
        Sending { ends, status, thread, bell: world.path("bell") }
    }

    fn settles(&self) {
        eventually("all has arrived", || (self.status.lag() == 0).then_some(()));
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        std::fs::write(&self.bell, "").unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// How often each record came, in any connection.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<BTreeMap<(String, u64), usize>>>);

impl Heard {
    fn note(&self, message: &str) {
        let json = &message[message.find("] {").unwrap() + 2..];
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let log = message.split("log=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        *self.0.lock().unwrap().entry((log, value["record"].as_u64().unwrap())).or_default() += 1;
    }

    /// Reads messages until this many came or the connection ends.
    fn messages(&self, from: impl Read, most: usize) {
        let mut from = BufReader::new(from);
        for _ in 0..most {
            let mut length = String::new();
            loop {
                let mut byte = [0];
                match from.read(&mut byte) {
                    Ok(1) if byte[0] != b' ' => length.push(char::from(byte[0])),
                    Ok(1) => break,
                    _ => return,
                }
            }
            let mut message = vec![0; length.parse().unwrap()];
            if from.read_exact(&mut message).is_err() {
                return;
            }
            self.note(&String::from_utf8(message).unwrap());
        }
    }

    fn has(&self, log: Log, records: u64) -> bool {
        let heard = self.0.lock().unwrap();
        (1..=records).all(|record| heard.contains_key(&(log.as_str().to_owned(), record)))
    }

    fn waits_for(&self, log: Log, records: u64) {
        eventually("all came", || self.has(log, records).then_some(()));
    }

    fn twice(&self) -> usize {
        self.0.lock().unwrap().values().filter(|times| **times > 1).count()
    }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = format!("syslog+tcp://{}", listener.local_addr().unwrap());
    (listener, to)
}

/// Takes connections for as long as the test lasts, and reads each to its end.
fn take_all(listener: TcpListener, heard: Heard) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let heard = heard.clone();
            std::thread::spawn(move || heard.messages(stream, usize::MAX));
        }
    });
}

#[test]
fn all_logs_come_from_their_start_and_go_on() {
    let (world, heard) = (World::new(), Heard::default());
    for log in Log::ALL {
        world.write(log, 3);
    }
    let (listener, to) = listen();
    take_all(listener, heard.clone());
    let sending = Sending::start(&world, &to, TlsFiles::default());
    Log::ALL.into_iter().for_each(|log| heard.waits_for(log, 6));
    world.write(Log::Events, 2);
    heard.waits_for(Log::Events, 10);
    assert!(sending.status.connected());
    sending.settles();
    drop(sending);
    // Another begins where that one ended.
    world.write(Log::Ledger, 1);
    let _sending = Sending::start(&world, &to, TlsFiles::default());
    heard.waits_for(Log::Ledger, 8);
    assert_eq!(heard.twice(), 0);
}

#[test]
fn one_that_goes_away_in_the_middle_misses_nothing() {
    let (world, heard) = (World::new(), Heard::default());
    world.write(Log::Events, 500);
    let (listener, to) = listen();
    let sending = Sending::start(&world, &to, TlsFiles::default());
    // Reads a part, and resets what it did not read.
    let (stream, _) = listener.accept().unwrap();
    heard.messages(stream, 100);
    // Takes the connection and reads nothing.
    drop(listener.accept().unwrap());
    eventually("it is noticed", || (!sending.status.connected()).then_some(()));
    take_all(listener, heard.clone());
    heard.waits_for(Log::Events, 1000);
    assert!((1..=101).contains(&heard.twice()), "{}", heard.twice());
}

#[test]
fn what_was_sent_to_one_that_then_goes_comes_again() {
    let (world, heard) = (World::new(), Heard::default());
    let (listener, to) = listen();
    let sending = Sending::start(&world, &to, TlsFiles::default());
    let (stream, _) = listener.accept().unwrap();
    world.write(Log::Ledger, 2);
    let lost = Heard::default();
    lost.messages(&stream, 4);
    assert!(lost.has(Log::Ledger, 4));
    // It is looked whether they have arrived, and they have not.
    std::thread::sleep(2 * STEP);
    drop((stream, lost));
    eventually("its end is noticed before anything is written", || {
        (!sending.status.connected()).then_some(())
    });
    take_all(listener, heard.clone());
    heard.waits_for(Log::Ledger, 4);
}

/// More than any buffer between holds, read a little at a time.
#[test]
fn one_that_is_slow_gets_all_once() {
    let (world, heard) = (World::new(), Heard::default());
    let mut writer = world.writer(Log::Events, 64 << 20);
    let body = format!("{{\"pad\":\"{}\"}}", "x".repeat(10_000));
    for _ in 0..15 {
        writer.append(&[&body; 100]).unwrap();
    }
    let (listener, to) = listen();
    let _sending = Sending::start(&world, &to, TlsFiles::default());
    let (stream, _) = listener.accept().unwrap();
    heard.messages(Slow(stream), 1500);
    assert!(heard.has(Log::Events, 1500));
    assert_eq!(heard.twice(), 0);
}

struct Slow(TcpStream);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_micros(500));
        self.0.read(buffer)
    }
}

#[test]
fn one_that_comes_late_is_told_all_and_its_lag_is_known() {
    let (world, heard) = (World::new(), Heard::default());
    world.write(Log::Ledger, 5);
    // It has its address, which nobody else may take meanwhile, and does not listen yet.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let to = format!("syslog+tcp://{}", socket.local_addr().unwrap().as_socket().unwrap());
    let sending = Sending::start(&world, &to, TlsFiles::default());
    eventually("its lag is known", || (sending.status.lag() == 10).then_some(()));
    assert!(!sending.status.connected());
    socket.listen(16).unwrap();
    take_all(socket.into(), heard.clone());
    heard.waits_for(Log::Ledger, 10);
}

#[test]
fn over_tls_only_to_whom_the_ca_vouches_for() {
    let (world, heard) = (World::new(), Heard::default());
    if !certificates(&world) {
        return;
    }
    world.write(Log::Ledger, 2);
    let (listener, to) = listen();
    let to = to.replace("+tcp://127.0.0.1", "+tls://localhost");
    let config = Arc::new(server(&world));
    let (told, broken) = (heard.clone(), Arc::new(Mutex::new(0)));
    let refused = broken.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                *refused.lock().unwrap() += 1;
                continue;
            }
            // The first connection ends in the middle.
            told.messages(&mut stream, if number == 0 { 2 } else { usize::MAX });
        }
    });
    let files = |ca: &str| TlsFiles {
        ca: Some(world.path(ca)),
        certificate: Some(world.path("client.pem")),
        key: Some(world.path("client.key")),
    };
    let sending = Sending::start(&world, &to, files("ca.pem"));
    heard.waits_for(Log::Ledger, 4);
    drop(sending);
    let trusted = *broken.lock().unwrap();
    let sending = Sending::start(&world, &to, files("other.pem"));
    eventually("it is refused", || (*broken.lock().unwrap() > trusted).then_some(()));
    assert!(!sending.status.connected());
    drop(sending);
    // One that shows nothing of itself is refused by the receiver, and notices it.
    let nobody = TlsFiles { certificate: None, key: None, ..files("ca.pem") };
    let refusals = *broken.lock().unwrap();
    let sending = Sending::start(&world, &to, nobody);
    eventually("it is refused", || (*broken.lock().unwrap() > refusals).then_some(()));
    eventually("and knows", || (!sending.status.connected()).then_some(()));
    assert_eq!(sending.status.logs[0].exported(), 0);
}

fn server(world: &World) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(world.path("ca.pem")).unwrap()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let own = vec![CertificateDer::from_pem_file(world.path("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(world.path("server.key")).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(own, key)
        .unwrap()
}

/// False, and says so, where there is nobody to make them.
fn certificates(world: &World) -> bool {
    let script = r#"
        for ca in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.pem -days 3650 -subj /CN=$ca
        done
        for name in server client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' > ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 3650 -extfile ext
        done"#;
    let output = Command::new("sh").args(["-ec", script]).current_dir(world.folder()).output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("not found"), "{said}");
        eprintln!(
            "SKIP over_tls_only_to_whom_the_ca_vouches_for: openssl is not installed (package openssl)"
        );
    }
    output.status.success()
}
