//! What a key makes of the bytes that SSHSIG has it sign: a name and bytes (RFC 4253, section 6.6), and for security keys
//! flags and a counter (PROTOCOL.u2f).

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, HashAlg, SshSig};

use super::SignatureError;
use crate::PublicKey;
use crate::wire::Wire;

/// Flags and counter.
const TRAILER: usize = 5;
/// Of the flags: somebody touched the key.
const TOUCHED: u8 = 1;

/// Reads a signature that says to be by this key.
pub(super) fn parse(raw: &[u8], key: &PublicKey) -> Result<ssh_key::Signature, SignatureError> {
    let garbage = SignatureError::Garbage("what its key is said to have made is damaged");
    let mut wire = Wire(raw);
    let name = wire.text().ok_or(garbage.clone())?;
    let mut bytes = wire.string().ok_or(garbage.clone())?.to_vec();
    let algorithm = Algorithm::new(name).map_err(|_| garbage.clone())?;
    match (&algorithm, key.parsed().algorithm()) {
        (Algorithm::Rsa { hash: None }, _) => return Err(SignatureError::Sha1),
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => {}
        (made, of_key) if *made == of_key => {}
        _ => {
            return Err(SignatureError::Garbage(
                "its key is of another type than what it is said to have made",
            ));
        }
    }
    if is_of_security_key(&algorithm) {
        bytes.extend(wire.take(TRAILER).ok_or(garbage.clone())?);
    }
    if !wire.is_empty() {
        return Err(garbage);
    }
    ssh_key::Signature::new(algorithm, bytes).map_err(|_| garbage)
}

/// Whether a key, which is strong, made it of this message.
pub(super) fn is_by(key: &PublicKey, signature: &SshSig, message: &[u8]) -> bool {
    match key.parsed().key_data() {
        KeyData::Rsa(rsa) => is_by_rsa(rsa, signature, message).unwrap_or(false),
        _ => key.parsed().verify(signature.namespace(), message, signature).is_ok(),
    }
}

/// Whether a security key signed alone. sshd, too, believes these only where it was told to; ssh-keygen does not ask.
pub(super) fn is_untouched(signature: &ssh_key::Signature) -> bool {
    let bytes = signature.as_bytes();
    let flags = bytes.len().checked_sub(TRAILER).and_then(|at| bytes.get(at));
    is_of_security_key(&signature.algorithm()) && flags.is_none_or(|flags| flags & TOUCHED == 0)
}

fn is_by_rsa(key: &RsaPublicKey, signature: &SshSig, message: &[u8]) -> Option<bool> {
    let n = key.n.as_positive_bytes()?;
    let e = key.e.as_positive_bytes()?;
    let parameters = match signature.algorithm() {
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) } => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) } => &RSA_PKCS1_2048_8192_SHA512,
        _ => return None,
    };
    let signed = SshSig::signed_data(signature.namespace(), signature.hash_alg(), message).ok()?;
    // Some agents drop leading zeros, and OpenSSH takes what they make.
    let mut padded = vec![0; n.len().checked_sub(signature.signature_bytes().len())?];
    padded.extend(signature.signature_bytes());
    Some(RsaPublicKeyComponents { n, e }.verify(parameters, &signed, &padded).is_ok())
}

fn is_of_security_key(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256)
}
