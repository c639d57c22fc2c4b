use std::os::unix::net::UnixListener;

use super::*;
use crate::outbox::fixtures::{World, receiver};
use crate::outbox::receiver::{Log, TlsFiles};

fn event(size: usize) -> Event {
    let line = format!("{{\"event\":\"open\",\"pad\":\"{}\"}}", "x".repeat(size));
    Event::of(Log::Events, 1, "00", line.as_bytes())
}

fn connect(to: &str) -> io::Result<Link> {
    let receiver = receiver(to, TlsFiles::default());
    Link::connect(&receiver.to, receiver.facility)
}

fn received(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 20];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn a_datagram_is_a_message_and_a_long_one_is_cut() {
    let world = World::new();
    let path = world.path("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut link = connect(&format!("syslog://{}", path.display())).unwrap();
    let origin = Origin::new("h", 1);
    link.send(&origin, &[event(10), event(900_000)]).unwrap();
    assert!(received(&socket).ends_with(b"\"xxxxxxxxxx\"}"));
    let cut = received(&socket);
    let text = String::from_utf8(cut).unwrap();
    assert!(text.contains("cut=\"1\"] {\"event\":\"open\"") && text.len() > 50_000, "{}", text.len());
    link.check().unwrap();
}

#[test]
fn a_datagram_socket_that_another_holds_is_gone() {
    let world = World::new();
    let path = world.path("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut link = connect(&format!("journald://{}", path.display())).unwrap();
    link.check().unwrap();
    drop(socket);
    assert!(link.check().is_err());
    std::fs::remove_file(&path).unwrap();
    let _other = UnixDatagram::bind(&path).unwrap();
    assert!(link.check().is_err());
}

#[test]
fn what_no_datagram_holds_goes_to_journald_as_sealed_memory() {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage};
    use std::io::{IoSliceMut, Read, Seek};
    let world = World::new();
    let path = world.path("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut link = connect(&format!("journald://{}", path.display())).unwrap();
    link.send(&Origin::new("h", 1), &[event(10), event(900_000)]).unwrap();
    assert_eq!(received(&socket), journal::entry(link.facility, &event(10)));
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 16];
    let told =
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::empty());
    assert_eq!(told.unwrap().bytes, 0);
    let Some(RecvAncillaryMessage::ScmRights(mut passed)) = control.drain().next() else { panic!() };
    let mut memory = fs::File::from(passed.next().unwrap());
    let seals = rustix::fs::fcntl_get_seals(&memory).unwrap();
    assert!(seals.contains(SealFlags::SEAL | SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK));
    let mut content = Vec::new();
    memory.rewind().unwrap();
    memory.read_to_end(&mut content).unwrap();
    assert_eq!(content, journal::entry(link.facility, &event(900_000)));
}

#[test]
fn a_stream_socket_of_syslog_is_known_by_itself() {
    use std::io::Read;
    let world = World::new();
    let path = world.path("log");
    let listener = UnixListener::bind(&path).unwrap();
    let mut link = connect(&format!("syslog://{}", path.display())).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    link.send(&Origin::new("h", 1), &[event(10)]).unwrap();
    link.check().unwrap();
    let mut start = [0; 8];
    peer.read_exact(&mut start).unwrap();
    assert!(start[..3].iter().all(u8::is_ascii_digit) && &start[3..] == b" <86>", "{start:?}");
    drop(peer);
    assert!(link.check().is_err());
}

#[test]
fn nobody_there_is_an_error() {
    for to in ["journald:///nowhere", "syslog:///nowhere", "syslog+tcp://127.0.0.1:1"] {
        assert!(connect(to).is_err(), "{to}");
    }
}
