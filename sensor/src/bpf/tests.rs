mod bytes;
mod layout;
mod ring;

use std::net::{TcpListener, UdpSocket};

use super::handover::load_here;
use super::{Files, Hook, Ring};

#[test]
fn shows_what_it_sees() {
    let programs = match load_here() {
        Ok(programs) => programs,
        Err(reason) => {
            println!("SKIP shows_what_it_sees: {reason}");
            return;
        }
    };
    println!("links {:?}", programs.links.iter().map(|(hook, _)| hook).collect::<Vec<_>>());
    println!("refused {:?}", programs.refused);
    let link = |wanted| {
        programs.links.iter().find(|(hook, _)| *hook == wanted).map(|(_, fd)| fd.try_clone().unwrap())
    };
    let files = Files::new(link(Hook::Files).unwrap(), programs.iterator);
    let mut ring = Ring::open(programs.events, &programs.lost).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("[::1]:0").unwrap();
    let own = std::process::id();
    for record in files.all().unwrap().iter().filter(|record| record.pid == own || record.pid < 5) {
        println!("{record:?}");
    }
    println!("of process {}", files.of_process(own).unwrap().len());
    drop((tcp, udp));
    for event in ring.take(1000).iter().filter(|event| event.pid == Some(own)) {
        println!("{event:?}");
    }
}
