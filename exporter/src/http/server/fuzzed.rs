//! A client that sends what it likes over a whole connection, with time that passes as soon as nobody has anything to do.
#![allow(clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use baseline::{Host, Policy, assess};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;

use super::super::roles::Right;
use super::super::routes::{Board, router};
use super::*;
use crate::fixtures;
use crate::metrics::Metrics;
use crate::snapshot::{JudgedPass, Snapshot};
use crate::web_config::InForce;

/// `prom` has the password `secret`, and nobody has a password that fits the other hash.
const PROM: &str = "prom: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const NOBODY: &str = "nobody: $2b$04$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// What stands in the metrics; on the front page, in listeners and drift; in command lines.
const METRICS: &str = "portledger_";
const INVENTORY: [&str; 2] = ["<h1>Portledger", "\"schema\""];
const COMMAND_LINE: &str = "\"-D\"";
/// All that an answer may have.
const HEADERS: [&str; 9] = [
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "www-authenticate",
    "x-content-type-options",
];
/// What the pipe between the two holds.
const PIPE: usize = 4 << 10;
/// No answer of this inventory is longer, nor are all together: a connection has no more streams than that at a time.
const MAX_ANSWERS: usize = 1 << 20;
/// Nobody is served for longer, and a pause of the client more.
const LONGEST: Duration = Duration::from_secs(31);

/// Whom the house lets read what.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    /// Nobody has the right password.
    Closed,
    /// A user may read the metrics.
    Scraper,
    /// An ordinary user of this host.
    Local,
    /// Everybody everything.
    Open,
}

/// How the client behaves, as the first two bytes have it.
struct Manner {
    access: Access,
    is_http2: bool,
    hangs_up: bool,
    is_slow: bool,
    reads: bool,
    /// How much it sends at a time.
    piece: usize,
}

/// A connection ends in time and leaves its seat; what is answered is HTTP, gives no clue, and tells nobody what is not theirs.
pub(crate) fn connections(bytes: &[u8]) {
    let [flags, piece, sent @ ..] = bytes else { return };
    let manner = Manner {
        access: [Access::Closed, Access::Scraper, Access::Local, Access::Open][usize::from(flags & 3)],
        is_http2: flags & 4 != 0,
        hangs_up: flags & 8 != 0,
        is_slow: flags & 16 != 0,
        reads: flags & 32 == 0,
        piece: match piece {
            0 => usize::MAX,
            piece => usize::from(*piece),
        },
    };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let answers = runtime.expect("a runtime can be made").block_on(converse(&manner, sent));
    if manner.is_http2 {
        check_http2(&manner, &answers);
    } else {
        check_http1(&manner, &answers);
    }
    keeps_secrets(manner.access, &answers);
}

/// What was answered.
async fn converse(manner: &Manner, sent: &[u8]) -> Vec<u8> {
    let (judge, _logged) = mpsc::channel(99);
    let shared = (Seats::new(), Arc::new(HttpCounts::default()));
    let seats = shared.0.clone();
    let house = House::new(ROUTER.clone(), rules(manner.access), security(manner.access), shared, judge);
    let house = Arc::new(house);
    let is_api = manner.access == Access::Local;
    let visitor = match is_api {
        true => Visitor { peer: Peer::User(4711), uid: Some(4711), is_api },
        false => Visitor { peer: Peer::at(Ipv4Addr::LOCALHOST.into()), uid: None, is_api },
    };
    let (client, served) = tokio::io::duplex(PIPE);
    let seat = seats.take(visitor.peer, Instant::now()).0.expect("nobody else is here");
    let state = seat.state().clone();
    let stream = Either::Left(served);
    let shaken = Shaken { stream, certificate: None, is_http2: manner.is_http2 };
    let talk = house.clone().talk(shaken, visitor, state);
    let served = tokio::spawn(house.attend(talk, visitor.peer, seat));
    let (ended, answers) = tokio::join!(timeout(LONGEST, served), ask(client, manner, sent));
    ended.expect("it ends in time").expect("it does not fail");
    assert_eq!(seats.taken(), 0);
    answers
}

async fn ask(client: DuplexStream, manner: &Manner, sent: &[u8]) -> Vec<u8> {
    let (mut answers, mut asks) = tokio::io::split(client);
    let send = async {
        for piece in sent.chunks(manner.piece) {
            // Whoever is not read to the end is told so.
            if asks.write_all(piece).await.is_err() {
                return;
            }
            if manner.is_slow {
                sleep(Duration::from_millis(300)).await;
            }
        }
        if manner.hangs_up {
            drop(asks.shutdown().await);
        }
    };
    let read = async {
        let mut all = Vec::new();
        if !manner.reads {
            sleep(LONGEST).await;
        }
        answers.read_to_end(&mut all).await.expect("a pipe can be read");
        assert!(all.len() < MAX_ANSWERS, "{} bytes", all.len());
        all
    };
    tokio::join!(send, read).1
}

fn rules(access: Access) -> Rules {
    let role = Role {
        users: ["prom".to_owned()].into(),
        certificates: Default::default(),
        may: [Right::Metrics].into(),
    };
    let roles = if access == Access::Scraper { vec![role] } else { Vec::new() };
    Rules {
        allow: Vec::new(),
        read_only: access != Access::Open,
        roles,
        telemetry_path: "/metrics".to_owned(),
    }
}

fn security(access: Access) -> Arc<Security> {
    let yaml = match access {
        Access::Closed => format!("basic_auth_users: {{{NOBODY}}}"),
        Access::Scraper => format!("basic_auth_users: {{{NOBODY}, {PROM}}}"),
        Access::Local | Access::Open => return Arc::new(Security::new(None)),
    };
    Arc::new(Security::new(Some(Arc::new(InForce::fixed(&yaml)))))
}

static ROUTER: LazyLock<Router> = LazyLock::new(|| {
    let inventory = fixtures::inventory(fixtures::listeners());
    let host = Host { name: inventory.host.clone(), ..Host::default() };
    let policy = Policy::new(None, host.clone(), Arc::new(fixtures::everybody()));
    let assessment = Arc::new(assess(&inventory, &policy, &Default::default(), fixtures::now()));
    let judged = JudgedPass {
        sender: Default::default(),
        inventory: Arc::new(inventory),
        assessment,
        accounts: Default::default(),
        host,
        register: Default::default(),
        judged_at: fixtures::now(),
        due: None,
        lost: 0,
        documents: Default::default(),
    };
    let (_, snapshots) = watch::channel(Snapshot { judged: Some(Arc::new(judged)), ..Snapshot::default() });
    let metrics = Metrics::new(snapshots.clone(), true, SystemTime::now);
    let metrics = Arc::new(metrics.expect("they have names of their own"));
    let board = Board { snapshots, metrics, telemetry_path: "/metrics".to_owned(), alerting: Arc::default() };
    router(board).expect("the path is a good one")
});

fn keeps_secrets(access: Access, answers: &[u8]) {
    let tells = |what: &str| answers.windows(what.len()).any(|found| found == what.as_bytes());
    let told = || beginning(answers);
    if access == Access::Closed {
        assert!(!tells(METRICS), "{}", told());
    }
    if matches!(access, Access::Closed | Access::Scraper) {
        assert!(!INVENTORY.into_iter().any(tells), "{}", told());
    }
    if access != Access::Open {
        assert!(!tells(COMMAND_LINE), "{}", told());
    }
}

fn beginning(answers: &[u8]) -> String {
    answers[..answers.len().min(1000)].escape_ascii().to_string()
}

/// One answer and nothing behind it; none where there was no request.
fn check_http1(manner: &Manner, answers: &[u8]) {
    if answers.is_empty() || !manner.reads {
        return;
    }
    let told = beginning(answers);
    let end =
        answers.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {told}"));
    let (head, body) = (&answers[..end], &answers[end + 4..]);
    let head = str::from_utf8(head).unwrap_or_else(|_| panic!("no text: {told}"));
    let mut lines = head.split("\r\n");
    let status: Vec<&str> = lines.next().unwrap_or_default().splitn(3, ' ').collect();
    let ["HTTP/1.0" | "HTTP/1.1", status, reason] = status[..] else { panic!("no status: {told}") };
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {told}"));
        assert!(HEADERS.contains(&name), "{name} is a clue: {told}");
        if name == "content-length" {
            assert!(length.is_none(), "{told}");
            length = value.parse::<usize>().ok();
        }
    }
    let length = length.unwrap_or_else(|| panic!("no length: {told}"));
    // What HEAD asks for has a length and no body.
    assert!(body.is_empty() || body.len() == length, "{} of {length} bytes: {told}", body.len());
    if status != "200" {
        assert!(REFUSALS.contains(&status), "{told}");
        is_plain(body, &format!("{status} {reason}\n"));
    }
}

const REFUSALS: [&str; 9] = ["400", "401", "403", "404", "405", "413", "414", "429", "431"];

fn is_plain(body: &[u8], expected: &str) {
    assert!(body.is_empty() || body == expected.as_bytes(), "{} is a clue", body.escape_ascii());
}

/// Whole frames of the kinds that a server sends (RFC 9113, section 6), one answer a stream.
fn check_http2(manner: &Manner, mut answers: &[u8]) {
    if !manner.reads {
        return;
    }
    let told = beginning(answers);
    let mut answered = std::collections::BTreeSet::new();
    while let Some((head, rest)) = answers.split_first_chunk::<9>() {
        let [a, b, c, kind, _, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let (payload, rest) =
            rest.split_at_checked(length as usize).unwrap_or_else(|| panic!("no whole frame: {told}"));
        let stream = u32::from_be_bytes(stream);
        match kind {
            // DATA: whoever may read nothing is told no more than a status.
            0 if manner.access == Access::Closed => {
                let text = String::from_utf8_lossy(payload);
                let reasons = REFUSALS.map(|refusal| text.starts_with(&format!("{refusal} ")));
                assert!(payload.len() < 40 && (text.is_empty() || reasons.contains(&true)), "{told}");
            }
            // HEADERS
            1 => assert!(stream % 2 == 1 && answered.insert(stream), "two answers: {told}"),
            // DATA, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION
            0 | 3 | 4 | 6..=9 => {}
            _ => panic!("a frame of kind {kind}: {told}"),
        }
        answers = rest;
    }
    assert!(answers.is_empty(), "no whole frame: {told}");
}
