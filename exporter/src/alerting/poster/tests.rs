use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use serde_json::Value;

use super::super::book::Book;
use super::super::receiver::AlertReceiverKeys;
use super::super::turn::{About, OfHost};
use super::*;

/// What the receiver does with a request.
#[derive(Clone, Copy)]
enum Act {
    Answer(&'static str),
    Close,
}

const OK: Act = Act::Answer("200 OK\r\n");

/// A receiver that decides by what it is told, and remembers it.
struct Fake {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Fake {
    fn new(decide: impl Fn(usize, &Value) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = told.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                while exchange(&stream, &decide, &noted).is_some() {}
            }
        });
        Fake { url, told }
    }

    fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }

    /// The numbers in each request, of a webhook.
    fn numbers(&self) -> Vec<Vec<u64>> {
        let of = |body: &Value| {
            let alerts = body["alerts"].as_array().unwrap();
            alerts.iter().map(|alert| alert["seq"].as_u64().unwrap()).collect()
        };
        self.told().iter().map(of).collect()
    }
}

fn exchange(
    stream: &TcpStream,
    decide: &impl Fn(usize, &Value) -> Act,
    told: &Mutex<Vec<Value>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut told = told.lock().unwrap();
    let act = decide(told.len(), &body);
    told.push(body);
    drop(told);
    let mut stream = stream;
    match act {
        Act::Close => None,
        Act::Answer(head) => {
            stream.write_all(format!("HTTP/1.1 {head}Content-Length: 2\r\n\r\nno").as_bytes()).ok()
        }
    }
}

struct World {
    folder: tempfile::TempDir,
    turns: Arc<Turns>,
}

impl World {
    fn new(many: u64) -> Self {
        let world = World { folder: tempfile::tempdir().unwrap(), turns: Arc::default() };
        world.turns.are_not_logged();
        world.add(many);
        world
    }

    /// So many more that fire.
    fn add(&self, many: u64) {
        let mut book = Book::clone(&self.turns.book());
        let mut new = Vec::new();
        for _ in 0..many {
            book.seq += 1;
            let about = About::Sensor(OfHost::silent("web", SystemTime::now()));
            let turn = Arc::new(Turn::firing(book.seq, about, SystemTime::now()));
            book.firing.insert(book.seq.to_string().into(), turn.clone());
            new.push(turn);
        }
        self.turns.add(Arc::new(book), &new);
    }

    fn poster(&self, kind: AlertReceiverKind, url: &str) -> Poster {
        let keys = AlertReceiverKeys { name: "a".to_owned(), url: url.to_owned(), ..Default::default() };
        let receiver = AlertReceiver::new(kind, keys).unwrap();
        let status = Arc::new(Status::new(&receiver));
        let mut poster = Poster::new(receiver, self.turns.clone(), self.folder.path(), "", status).unwrap();
        if poster.cursor.seq().is_none() {
            poster.cursor.set(0);
        }
        poster
    }
}

/// Until there is nothing more, or something failed.
fn drain(poster: &mut Poster) -> Result<(), Duration> {
    loop {
        match poster.turn() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(Later(pause)) => return Err(pause),
        }
    }
}

fn count(poster: &Poster) -> [u64; 3] {
    poster.status.outcomes().map(|(_, count)| count)
}

use AlertReceiverKind::{Alertmanager, Webhook};

#[test]
fn each_turn_arrives_once_in_its_order_and_not_again_after_a_restart() {
    let world = World::new(150);
    let fake = Fake::new(|_, _| OK);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap();
    world.add(1);
    drain(&mut poster).unwrap();
    drop(poster);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap();
    let sizes: Vec<usize> = fake.numbers().iter().map(Vec::len).collect();
    assert_eq!(sizes, [64, 64, 22, 1]);
    assert!(fake.numbers().concat().into_iter().eq(1..=151));
}

#[test]
fn one_that_is_refused_takes_no_other_along() {
    let has_bad = |body: &Value| body["alerts"].as_array().unwrap().iter().any(|alert| alert["seq"] == 2);
    let fake = Fake::new(move |_, body| match has_bad(body) {
        true => Act::Answer("400 Bad Request\r\n"),
        false => OK,
    });
    let world = World::new(3);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap();
    assert_eq!(fake.numbers(), [vec![1, 2, 3], vec![1], vec![2], vec![2], vec![3]]);
    assert_eq!(count(&poster), [2, 1, 0]);
    assert_eq!(poster.cursor.seq(), Some(3));
}

#[test]
fn who_refuses_everything_is_not_whom_we_mean() {
    for kind in [Webhook, Alertmanager] {
        let fake = Fake::new(|before, _| if before < 9 { Act::Answer("400 Bad Request\r\n") } else { OK });
        let world = World::new(2);
        let mut poster = world.poster(kind, &fake.url);
        while fake.told().len() < 9 {
            drain(&mut poster).unwrap_err();
            assert_eq!((poster.cursor.seq(), count(&poster)[1]), (Some(0), 0));
        }
        let error = serde_json::to_value(poster.status.entry(2)).unwrap()["last_error"].to_string();
        assert!(error.contains("is its `url` right?"), "{error}");
        drain(&mut poster).unwrap();
        assert_eq!((poster.cursor.seq(), &count(&poster)[..2]), (Some(2), &[2, 0][..]));
    }
}

#[test]
fn who_takes_something_for_the_first_time_is_asked_again_for_what_it_refused() {
    for kind in [Webhook, Alertmanager] {
        let fake = Fake::new(|before, _| if before < 3 { Act::Answer("400 Bad Request\r\n") } else { OK });
        let world = World::new(4);
        let mut poster = world.poster(kind, &fake.url);
        while drain(&mut poster).is_err() {}
        assert_eq!((poster.cursor.seq(), &count(&poster)[..2]), (Some(4), &[4, 0][..]));
    }
}

/// Took one alert, and refused the first of the two that came then.
fn refusing_one() -> (Fake, World, Poster) {
    let fake = Fake::new(|before, _| match (1..5).contains(&before) {
        true => Act::Answer("400 Bad Request\r\n"),
        false => OK,
    });
    let world = World::new(1);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap();
    world.add(2);
    drain(&mut poster).unwrap();
    assert_eq!((poster.cursor.seq(), count(&poster)), (Some(3), [2, 1, 0]));
    assert_eq!(refusing(&poster), 1);
    (fake, world, poster)
}

fn refusing(poster: &Poster) -> serde_json::Value {
    serde_json::to_value(poster.status.entry(3)).unwrap()["refusing"].clone()
}

#[test]
fn who_refuses_everything_for_a_while_is_asked_again() {
    let (fake, _world, mut poster) = refusing_one();
    drain(&mut poster).unwrap();
    assert_eq!(count(&poster), [2, 1, 0], "not before a minute");
    poster.asked_at = Instant::now().checked_sub(AGAIN);
    drain(&mut poster).unwrap();
    assert_eq!(count(&poster), [3, 1, 0]);
    assert_eq!(fake.numbers().last().unwrap(), &[2]);
    assert_eq!(refusing(&poster), 0);
}

#[test]
fn what_was_refused_is_asked_again_after_a_restart() {
    let (fake, world, mut poster) = refusing_one();
    poster.keep(true);
    drop(poster);
    let mut poster = world.poster(Webhook, &fake.url);
    assert_eq!(refusing(&poster), 1, "who asks is told so before it is asked");
    drain(&mut poster).unwrap();
    assert_eq!(fake.numbers().last().unwrap(), &[2]);
    assert_eq!((count(&poster), refusing(&poster)), ([1, 0, 0], 0.into()));
    poster.keep(true);
    let told = fake.told().len();
    drain(&mut world.poster(Webhook, &fake.url)).unwrap();
    assert_eq!(fake.told().len(), told);
}

#[test]
fn what_may_have_arrived_is_posted_again_as_it_was() {
    let fake = Fake::new(|before, _| if before == 0 { Act::Close } else { OK });
    let world = World::new(2);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap_err();
    world.add(70);
    drain(&mut poster).unwrap();
    let sizes: Vec<usize> = fake.numbers().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 62, 8]);
    assert!(fake.numbers()[1..].concat().into_iter().eq(1..=72));
}

#[test]
fn one_that_is_refused_before_anything_was_taken_waits_for_another() {
    let has_first = |body: &Value| body["alerts"].as_array().unwrap().iter().any(|alert| alert["seq"] == 1);
    let fake = Fake::new(move |_, body| match has_first(body) {
        true => Act::Answer("422 Unprocessable Content\r\n"),
        false => OK,
    });
    let world = World::new(1);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap_err();
    assert_eq!(count(&poster), [0, 0, 1]);
    world.add(1);
    drain(&mut poster).unwrap();
    assert_eq!(count(&poster), [1, 1, 1]);
    assert_eq!(fake.numbers(), [vec![1], vec![1, 2], vec![1], vec![2], vec![1]]);
    world.add(1);
    drain(&mut poster).unwrap();
    assert_eq!(poster.cursor.seq(), Some(3));
}

#[test]
fn an_alertmanager_that_takes_an_empty_list_may_refuse_an_alert() {
    let fake = Fake::new(|_, body| match body.as_array().unwrap().len() {
        0 => OK,
        _ => Act::Answer("400 Bad Request\r\n"),
    });
    let world = World::new(2);
    let mut poster = world.poster(Alertmanager, &fake.url);
    drain(&mut poster).unwrap();
    assert_eq!((poster.cursor.seq(), count(&poster)), (Some(2), [0, 2, 0]));
    let told = fake.told().len();
    drain(&mut poster).unwrap();
    assert_eq!(fake.told().len(), told, "what it refused it is not told again");
}

#[test]
fn an_alertmanager_whose_clock_is_behind_is_told_by_it() {
    let fake = Fake::new(|_, _| Act::Answer("200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    let world = World::new(1);
    let mut poster = world.poster(Alertmanager, &fake.url);
    drain(&mut poster).unwrap();
    let starts = |told: usize| fake.told()[told][0]["startsAt"].as_str().unwrap().to_owned();
    assert!(starts(0).starts_with("20"), "its clock is not known yet: {}", starts(0));
    assert!(starts(1).starts_with("1994-11-06T08:49:3"), "{}", starts(1));
}

#[test]
fn what_fails_is_told_again_and_nothing_is_left_out() {
    for (act, least) in [
        (Act::Answer("500 Internal Server Error\r\n"), 0),
        (Act::Answer("429 Too Many Requests\r\nRetry-After: 7\r\n"), 7),
        (Act::Answer("302 Found\r\nLocation: http://127.0.0.1:1/\r\n"), 0),
        (Act::Answer("404 Not Found\r\n"), 0),
        (Act::Answer("200 OK\r\nContent-Length: 99999999\r\n"), 0),
        (Act::Close, 0),
    ] {
        let fake = Fake::new(move |before, _| if before == 0 { act } else { OK });
        let world = World::new(2);
        let mut poster = world.poster(Webhook, &fake.url);
        let pause = drain(&mut poster).unwrap_err();
        assert!(pause >= Duration::from_secs(least), "{pause:?}");
        assert_eq!(poster.cursor.seq(), Some(0));
        assert!(poster.status.outcomes()[2].1 > 0);
        drain(&mut poster).unwrap();
        assert_eq!(fake.numbers(), [vec![1, 2], vec![1, 2]]);
        assert_eq!(count(&poster), [2, 0, 2]);
    }
}

#[test]
fn a_connection_that_was_kept_and_broke_is_made_anew_at_once() {
    let fake = Fake::new(|before, _| if before == 1 { Act::Close } else { OK });
    let world = World::new(1);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap();
    world.add(1);
    drain(&mut poster).unwrap();
    assert_eq!(fake.numbers(), [vec![1], vec![2], vec![2]]);
    assert_eq!(count(&poster), [2, 0, 0]);
}

#[test]
fn who_cannot_be_reached_or_speaks_no_tls_has_failed() {
    let fake = Fake::new(|_, _| OK);
    let world = World::new(1);
    for url in ["http://127.0.0.1:1", &fake.url.replace("http", "https")] {
        let mut poster = world.poster(Webhook, url);
        drain(&mut poster).unwrap_err();
        assert_eq!((poster.cursor.seq(), poster.status.pending(1)), (Some(0), 1), "{url}");
    }
}

#[test]
fn an_alertmanager_is_told_again_of_what_fires_and_took_it() {
    let fake = Fake::new(|_, body| {
        let many = body.as_array().unwrap();
        match many.iter().any(|alert| alert["annotations"]["description"].is_null()) {
            true => Act::Answer("400 Bad Request\r\n"),
            false => OK,
        }
    });
    let world = World::new(70);
    let mut poster = world.poster(Alertmanager, &fake.url);
    drain(&mut poster).unwrap();
    let sizes = |fake: &Fake| -> Vec<usize> {
        fake.told().iter().map(|body| body.as_array().unwrap().len()).collect()
    };
    assert_eq!(sizes(&fake), [64, 6, 64, 6], "each once, and at once again all that fires");
    drain(&mut poster).unwrap();
    assert_eq!(sizes(&fake).len(), 4, "not before a minute");
    assert_eq!(count(&poster), [70, 0, 0], "what is told again does not count");
    let first = &fake.told()[0][0];
    assert_eq!(first["labels"]["alertname"], "PortledgerSensorDead");
    let ends: jiff::Timestamp = first["endsAt"].as_str().unwrap().parse().unwrap();
    let holds = SystemTime::from(ends).duration_since(SystemTime::now()).unwrap();
    assert!(holds > Duration::from_secs(6 * 86_400), "{holds:?}");
}

#[test]
fn ten_thousand_are_posted_in_small_batches() {
    let world = World::new(10_000);
    let fake = Fake::new(|_, _| OK);
    let mut poster = world.poster(Webhook, &fake.url);
    drain(&mut poster).unwrap();
    assert!(fake.numbers().iter().all(|batch| batch.len() <= BATCH));
    assert!(fake.numbers().concat().into_iter().eq(1..=10_000));
}
