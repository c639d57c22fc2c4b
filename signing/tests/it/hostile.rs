use std::sync::OnceLock;

use base64ct::{Base64, Encoding};
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, proptest};
use proptest::sample::Index;
use signing::{AllowedSigners, PublicKey, Signature};

use crate::security_key::SecurityKey;
use crate::world::{NAMESPACE, TEXT};

/// Made by `ssh-keygen -Y sign` over the text, with keys of all kinds, so that nothing need be installed.
fn good() -> &'static [Vec<u8>] {
    static GOOD: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    GOOD.get_or_init(recorded)
}

fn recorded() -> Vec<Vec<u8>> {
    let recorded = include_str!("hostile/signatures");
    let mut all: Vec<Signature> =
        recorded.lines().map(|line| Signature::from_base64(line).unwrap()).collect();
    all.extend([SecurityKey::ed25519(), SecurityKey::ecdsa()].map(|key| key.sign(1, TEXT)));
    assert!(all.len() == 7 && all.iter().all(|one| one.verify(NAMESPACE, TEXT.as_bytes()).is_ok()));
    all.iter().map(|one| Base64::decode_vec(&one.to_base64()).unwrap()).collect()
}

fn believed(blob: &[u8], text: &[u8]) -> bool {
    let signature = Signature::from_base64(&Base64::encode_string(blob));
    signature.is_ok_and(|signature| signature.verify(NAMESPACE, text).is_ok())
}

fn reads_or_tells(file: &[u8]) -> bool {
    let mistakes = AllowedSigners::parse(file, &TimeZone::UTC).err();
    mistakes.is_none_or(|told| !told.is_empty() && told.iter().all(|one| one.line > 0 && one.column > 0))
}

/// A change to one byte, wherever it is.
fn flip() -> impl Strategy<Value = (Index, u8)> {
    (any::<Index>(), 1..=255u8)
}

fn flipped(bytes: &[u8], (at, by): &(Index, u8)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= by;
    bytes
}

/// One bit of each byte of each kind of signature.
#[test]
fn no_byte_of_a_signature_is_free() {
    for blob in good() {
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(!believed(&changed, TEXT.as_bytes()), "byte {at}");
        }
    }
}

const LINE: &str =
    "alice@example.org namespaces=\"a,b\",valid-after=\"20240101Z\",valid-before=\"20250101\" ";

proptest! {
    #[test]
    fn a_changed_signature_is_never_believed(which in 0..7usize, flip in flip()) {
        prop_assert!(!believed(&flipped(&good()[which], &flip), TEXT.as_bytes()));
    }

    #[test]
    fn a_changed_text_is_never_believed(which in 0..7usize, flip in flip()) {
        prop_assert!(!believed(&good()[which], &flipped(TEXT.as_bytes(), &flip)));
    }

    #[test]
    fn garbage_is_refused_and_nothing_more(bytes in vec(any::<u8>(), 0..600), text in ".{0,200}") {
        prop_assert!(PublicKey::from_blob(&bytes).is_err());
        prop_assert!(!believed(&bytes, b""));
        prop_assert!(reads_or_tells(&bytes) && reads_or_tells(text.as_bytes()));
        prop_assert!(Signature::from_armor(&text).is_err());
        prop_assert!(text.parse::<PublicKey>().is_err());
    }

    #[test]
    fn near_misses_break_nothing(which in 0..7usize, flips in vec(flip(), 1..4), cut in any::<Index>()) {
        let good = &good()[which];
        let blob = flips.iter().fold(good.clone(), |blob, flip| flipped(&blob, flip));
        let signature = Signature::from_base64(&Base64::encode_string(&blob));
        if let Ok(signature) = signature {
            prop_assert!(signature.key().to_string().parse() == Ok(signature.key().clone()));
            let line = format!("{LINE}{}", signature.key());
            let line = flips.iter().fold(line.into_bytes(), |line, flip| flipped(&line, flip));
            prop_assert!(reads_or_tells(&line));
        }
        prop_assert!(!believed(&good[..cut.index(good.len())], TEXT.as_bytes()));
    }
}
