//! The ring, written as the kernel writes it, into memory that both share.

use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};

use super::bytes::event;
use crate::bpf::Ring;
use crate::bpf::ring::{BUSY, DISCARDED, SIZE};

struct Kernel {
    ring: OwnedFd,
    lost: OwnedFd,
    page: usize,
    position: usize,
}

impl Kernel {
    /// Writes from this position on, which reader and writer have come to.
    fn at(position: usize) -> (Kernel, Ring) {
        let page = rustix::param::page_size();
        let memory = |size: usize| {
            let memory = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
            ftruncate(&memory, size as u64).unwrap();
            memory
        };
        let kernel = Kernel { ring: memory(2 * page + 2 * SIZE), lost: memory(page), page, position };
        kernel.write(0, &(position as u64).to_ne_bytes());
        kernel.publish(position as u64);
        let ring = Ring::open(kernel.ring.as_fd().try_clone_to_owned().unwrap(), &kernel.lost).unwrap();
        (kernel, ring)
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        assert_eq!(pwrite(&self.ring, bytes, at as u64).unwrap(), bytes.len());
    }

    fn publish(&self, position: u64) {
        self.write(self.page, &position.to_ne_bytes());
    }

    /// In the kernel both halves of the data are the same pages.
    fn put_bytes(&self, position: usize, bytes: &[u8]) {
        for (place, byte) in bytes.iter().enumerate() {
            let at = 2 * self.page + (position + place) % SIZE;
            self.write(at, &[*byte]);
            self.write(at + SIZE, &[*byte]);
        }
    }

    fn put(&mut self, bytes: &[u8], flags: u32) -> usize {
        let at = self.position;
        let length = u32::try_from(bytes.len()).unwrap() | flags;
        self.put_bytes(at, &[length.to_ne_bytes(), [0; 4]].concat());
        self.put_bytes(at + 8, bytes);
        self.position += (8 + bytes.len()).next_multiple_of(8);
        self.publish(self.position as u64);
        at
    }

    fn consumed(&self) -> u64 {
        let mut position = [0; 8];
        assert_eq!(pread(&self.ring, &mut position, 0).unwrap(), 8);
        u64::from_ne_bytes(position)
    }
}

fn opened(cookie: u64) -> Vec<u8> {
    event(1, cookie, b"nc\0bin\0", b"")
}

fn cookies(ring: &mut Ring, most: usize) -> Vec<u64> {
    ring.take(most).iter().map(|event| event.socket.cookie).collect()
}

#[test]
fn what_waits_is_taken_in_order_and_given_back() {
    let (mut kernel, mut ring) = Kernel::at(0);
    assert_eq!(cookies(&mut ring, 10), [0_u64; 0]);
    for cookie in 1..=5 {
        kernel.put(&opened(cookie), 0);
    }
    assert_eq!(cookies(&mut ring, 3), [1, 2, 3]);
    assert_eq!(cookies(&mut ring, 3), [4, 5]);
    assert_eq!(kernel.consumed(), kernel.position as u64);
    assert_eq!(ring.lost(), 0);
}

#[test]
fn a_record_that_is_being_written_holds_up_those_behind_it() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.put(&opened(1), 0);
    let busy = kernel.put(&opened(2), BUSY);
    kernel.put(&opened(3), 0);
    assert_eq!(cookies(&mut ring, 10), [1]);
    assert_eq!(cookies(&mut ring, 10), [0_u64; 0]);
    let length = u32::try_from(opened(2).len()).unwrap();
    kernel.put_bytes(busy, &length.to_ne_bytes());
    assert_eq!(cookies(&mut ring, 10), [2, 3]);
}

#[test]
fn a_discarded_record_is_passed_over() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.put(&opened(1), DISCARDED);
    kernel.put(&opened(2), 0);
    assert_eq!(cookies(&mut ring, 10), [2]);
    assert_eq!(ring.lost(), 0);
}

#[test]
fn a_record_lies_around_the_end() {
    for before in [8, 16, 64, 160] {
        let (mut kernel, mut ring) = Kernel::at(3 * SIZE - before);
        kernel.put(&opened(1), 0);
        kernel.put(&opened(2), 0);
        assert_eq!(cookies(&mut ring, 10), [1, 2], "{before} bytes before the end");
    }
}

#[test]
fn what_cannot_be_read_is_lost_and_not_forgotten() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.put(&event(9, 1, b"", b""), 0);
    kernel.put(&[0; 7], 0);
    kernel.put(&opened(3), 0);
    assert_eq!(cookies(&mut ring, 10), [3]);
    assert_eq!((ring.lost(), ring.lost()), (2, 0));
}

#[test]
fn the_programs_count_what_found_no_room() {
    let (kernel, mut ring) = Kernel::at(0);
    pwrite(&kernel.lost, &7_u64.to_ne_bytes(), 0).unwrap();
    assert_eq!((ring.lost(), ring.lost()), (7, 0));
    pwrite(&kernel.lost, &9_u64.to_ne_bytes(), 0).unwrap();
    assert_eq!(ring.lost(), 2);
}

#[test]
fn a_ring_that_no_kernel_writes_is_gone_past() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.put(&opened(1), 0);
    let absurd = kernel.put(&opened(2), 0);
    kernel.put_bytes(absurd, &(DISCARDED - 1).to_ne_bytes());
    assert_eq!(cookies(&mut ring, 10), [1]);
    assert_eq!((kernel.consumed(), ring.lost()), (kernel.position as u64, 1));
    kernel.put(&opened(3), 0);
    assert_eq!(cookies(&mut ring, 10), [3]);
    kernel.publish(u64::MAX);
    assert_eq!(cookies(&mut ring, 10), [0_u64; 0]);
    assert_eq!(ring.lost(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_ring_panics_or_holds_us_forever(
        start in 0..2 * SIZE,
        ahead in prop_oneof![0..4096_u64, any::<u64>()],
        noise in prop::collection::vec(any::<u8>(), 0..512),
    ) {
        let (kernel, mut ring) = Kernel::at(start / 8 * 8);
        kernel.put_bytes(start / 8 * 8, &noise);
        kernel.publish((start as u64).saturating_add(ahead));
        for _ in 0..4 {
            let _any = ring.take(1_000);
            let _any = ring.lost();
        }
    }
}
