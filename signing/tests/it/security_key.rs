use base64ct::{Base64, Encoding};
use ring::digest::{SHA256, SHA512, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use signing::Signature;

use crate::world::NAMESPACE;

/// A security key (PROTOCOL.u2f) that nobody can touch: it signs with the flags that it is told.
pub(crate) struct SecurityKey {
    pub(crate) type_name: &'static str,
    blob: Vec<u8>,
    sign: Box<Sign>,
}

type Sign = dyn Fn(&[u8]) -> Vec<u8>;

const APPLICATION: &[u8] = b"ssh:";

impl SecurityKey {
    pub(crate) fn ed25519() -> Self {
        let type_name = "sk-ssh-ed25519@openssh.com";
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let blob = strings(&[type_name.as_bytes(), pair.public_key().as_ref(), APPLICATION]);
        SecurityKey { type_name, blob, sign: Box::new(move |bytes| pair.sign(bytes).as_ref().to_vec()) }
    }

    pub(crate) fn ecdsa() -> Self {
        let type_name = "sk-ecdsa-sha2-nistp256@openssh.com";
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let blob = strings(&[type_name.as_bytes(), b"nistp256", pair.public_key().as_ref(), APPLICATION]);
        let sign = move |bytes: &[u8]| {
            let fixed = pair.sign(&random, bytes).unwrap();
            let (r, s) = fixed.as_ref().split_at(32);
            strings(&[&positive(r), &positive(s)])
        };
        SecurityKey { type_name, blob, sign: Box::new(sign) }
    }

    pub(crate) fn sign(&self, flags: u8, text: &str) -> Signature {
        let hash = digest(&SHA512, text.as_bytes());
        let mut signed = b"SSHSIG".to_vec();
        signed.extend(strings(&[NAMESPACE.as_bytes(), b"", b"sha512", hash.as_ref()]));
        let trailer = [flags, 0, 0, 0, 9];
        let mut by_key = digest(&SHA256, APPLICATION).as_ref().to_vec();
        by_key.extend(trailer);
        by_key.extend(digest(&SHA256, &signed).as_ref());
        let mut raw = strings(&[self.type_name.as_bytes(), &(self.sign)(&by_key)]);
        raw.extend(trailer);
        let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
        blob.extend(strings(&[&self.blob, NAMESPACE.as_bytes(), b"", b"sha512", &raw]));
        Signature::from_base64(&Base64::encode_string(&blob)).unwrap()
    }
}

pub(crate) fn strings(all: &[&[u8]]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
    all.iter().flat_map(|bytes| [&length(bytes), *bytes].concat()).collect()
}

/// As RFC 4251 writes a positive number.
fn positive(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let sign = if number[zeros] < 0x80 { &[][..] } else { &[0] };
    [sign, &number[zeros..]].concat()
}
