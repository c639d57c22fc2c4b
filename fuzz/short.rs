//! The short run: each input of a crate over its corpus, and over mutations of it that are the same in every run.

use std::fs;
use std::path::{Path, PathBuf};

/// What a crate is fuzzed by: the name of a target, which is that of its corpus, and what it does.
pub(crate) type Input = (&'static str, fn(&[u8]));

/// No mutation is longer: what takes long in proportion to its input has its bound elsewhere.
const LONGEST: usize = 8 << 10;
/// Numbers at the edges of what a field holds.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Runs every input over its corpus and so many mutations of it.
pub(crate) fn run(inputs: &[Input], mutations: u32) {
    for (name, input) in inputs {
        let corpus = corpus(name);
        for bytes in &corpus {
            tried(name, *input, bytes);
        }
        let mut random = Random::of(name);
        for _ in 0..mutations {
            tried(name, *input, &random.mutated(&corpus));
        }
    }
}

/// The files of a target's corpus in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above
        .find(|folder| folder.join("fuzz/corpus").is_dir())
        .expect("fuzz/corpus stands in the repository");
    let folder = root.join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn tried(name: &str, input: fn(&[u8]), bytes: &[u8]) {
    let failing = Failing { name, bytes };
    input(bytes);
    drop(failing);
}

/// Keeps what made an input panic, so that it can become a file of the corpus.
struct Failing<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = std::env::temp_dir().join(format!("{}-{}", self.name, std::process::id()));
            let kept = fs::write(&path, self.bytes);
            eprintln!(
                "{} failed on {}: {kept:?}; it belongs into fuzz/corpus/{0}",
                self.name,
                path.display()
            );
        }
    }
}

/// Xorshift64, seeded by a name: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn of(name: &str) -> Self {
        // FNV-1a, which is 0 of no name of ours.
        Random(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let (from, to) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
            match self.below(6) {
                // A bit flips.
                0 if from < bytes.len() => bytes[from] ^= 1 << self.below(8),
                // A piece is cut out, or all behind it.
                1 => drop(bytes.drain(from..to)),
                2 => bytes.truncate(to),
                // A piece is doubled.
                3 => drop(bytes.splice(to..to, bytes[from..to].to_vec())),
                // The rest is of another file.
                4 => {
                    let other = &corpus[self.below(corpus.len())];
                    bytes.splice(from.., other[self.below(other.len() + 1)..].iter().copied());
                }
                // A number at an edge.
                _ => {
                    let edge = EDGES[self.below(EDGES.len())];
                    let width = 1 << self.below(4);
                    let mut number = edge.to_le_bytes()[..width].to_vec();
                    if self.below(2) == 0 {
                        number.reverse();
                    }
                    let behind = (from + width).min(bytes.len());
                    bytes.splice(from..behind, number);
                }
            }
        }
        bytes.truncate(LONGEST);
        bytes
    }
}
