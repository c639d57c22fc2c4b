use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bcrypt::HashParts;
use sha2::{Digest, Sha256};

use super::changes::shown;

/// What a password of an unknown user is held against, but for its cost.
const DECOY: &str = "$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
/// How many passwords are known to be right without another hash.
const MAX_KNOWN: usize = 100;
/// The characters of bcrypt's base64, by their value.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Who may ask, and the hashes of their passwords.
#[derive(Debug, Default)]
pub(crate) struct Users {
    hashes: BTreeMap<String, Hash>,
    /// The hash of unknown users: it takes as long as most others do, and fits no password of anybody.
    decoy: Option<Hash>,
}

/// A bcrypt hash in the form `$2b$COST$SALT-AND-HASH`; one that no password fits is kept as it was written.
#[derive(Clone, Debug, PartialEq)]
struct Hash {
    text: String,
    cost: u32,
    fits_something: bool,
}

impl Users {
    /// The users, or what is wrong with the hash of one.
    pub(super) fn new<'a>(users: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut hashes = BTreeMap::new();
        for (user, hash) in users {
            let hash = Hash::parse(hash).map_err(|error| {
                format!(
                    "basic_auth_users: {}: {error}; `htpasswd -nBC 10 USER` makes one",
                    user.escape_debug()
                )
            })?;
            hashes.insert(user.to_owned(), hash);
        }
        let decoy = commonest_cost(&hashes).map(|cost| Hash {
            text: format!("$2b${cost:02}{DECOY}"),
            cost,
            fits_something: true,
        });
        Ok(Users { hashes, decoy })
    }

    /// Whether everybody may ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Those whom no password admits, since what stands for them is no whole hash.
    pub(super) fn shut_out(&self) -> impl Iterator<Item = &str> {
        self.hashes.iter().filter(|(_, hash)| !hash.fits_something).map(|(user, _)| user.as_str())
    }

    /// Whether there is a password for this user.
    pub(crate) fn admits(&self, user: &str) -> bool {
        self.hashes.get(user).is_some_and(|hash| hash.fits_something)
    }

    /// In words, and without any hash.
    pub(super) fn changes_since(&self, before: &Users) -> Vec<String> {
        let added = self.hashes.iter().filter_map(|(user, hash)| match before.hashes.get(user) {
            None => Some(format!("user {} added", shown(user))),
            Some(other) => (other != hash).then(|| format!("password of {} changed", shown(user))),
        });
        let removed = before.hashes.keys().filter(|user| !self.hashes.contains_key(*user));
        added.chain(removed.map(|user| format!("user {} removed", shown(user)))).collect()
    }

    /// The hash to hold a password against, and whether the user is known; `None` where there are no users.
    fn of(&self, user: &str) -> Option<(&Hash, bool)> {
        let decoy = self.decoy.as_ref()?;
        Some(match self.hashes.get(user) {
            Some(hash) if hash.fits_something => (hash, true),
            _ => (decoy, false),
        })
    }
}

fn commonest_cost(hashes: &BTreeMap<String, Hash>) -> Option<u32> {
    let mut counts = BTreeMap::<u32, usize>::new();
    hashes.values().for_each(|hash| *counts.entry(hash.cost).or_default() += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(cost, _)| cost)
}

impl Hash {
    /// Takes what Go's bcrypt takes (`bcrypt.Cost`): it looks at length, version and cost alone.
    fn parse(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        if bytes.len() < 59 {
            return Err(format!("{} bytes are too few for a bcrypt hash", bytes.len()));
        }
        if bytes[0] != b'$' {
            return Err("a bcrypt hash begins with `$`".to_owned());
        }
        if bytes[1] > b'2' {
            return Err("this is no bcrypt hash of version 2".to_owned());
        }
        let rest = if bytes[2] == b'$' { &bytes[3..] } else { &bytes[4..] };
        let cost = std::str::from_utf8(&rest[..2]).ok().and_then(|cost| cost.parse().ok());
        let cost: u32 = cost.ok_or("its cost is no number")?;
        if !(4..=31).contains(&cost) {
            return Err(format!("a cost of {cost} is not within 4 to 31"));
        }
        let mut tail: Vec<u8> = rest[3..].iter().copied().take(53).collect();
        if let Some(last) = tail.get_mut(21) {
            *last = without_padding(*last);
        }
        let whole = format!("$2b${cost:02}${}", String::from_utf8_lossy(&tail));
        let fits_something = whole.parse::<HashParts>().is_ok();
        Ok(Hash { text: whole, cost, fits_something })
    }

    fn fits(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }
}

/// The last character of a salt holds two bits of it; some programs leave chance in the other four.
fn without_padding(character: u8) -> u8 {
    let value = ALPHABET.iter().position(|known| *known == character);
    value.map_or(character, |value| ALPHABET[value & 0b11_0000])
}

/// Verifies passwords beside the event loop, and remembers those that were right.
///
/// Wrong ones are not remembered: nobody can push out those who are known, and each guess costs a hash.
#[derive(Debug)]
pub(crate) struct Passwords {
    known: Mutex<VecDeque<[u8; 32]>>,
}

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Login {
    /// Name and password belong together.
    Right,
    /// They do not, or there is no such user.
    Wrong,
    /// Too many wait for an answer.
    Busy,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Passwords { known: Mutex::new(VecDeque::new()) }
    }

    /// Whether these are a user and a password that were right before.
    pub(crate) fn are_known(&self, users: &Users, user: &str, password: &[u8]) -> bool {
        users.of(user).is_some_and(|(hash, is_user)| is_user && self.knows(&digest(user, hash, password)))
    }

    /// Whoever is known is admitted at once; all others wait for a turn and take one hash, whether there is such a user or
    /// not.
    pub(crate) async fn verify<T: Send + 'static>(
        &self,
        users: &Users,
        (user, password): (&str, &[u8]),
        turn: impl Future<Output = Option<T>>,
    ) -> Login {
        let Some((hash, is_user)) = users.of(user) else { return Login::Wrong };
        let digest = digest(user, hash, password);
        if is_user && self.knows(&digest) {
            return Login::Right;
        }
        let Some(turn) = turn.await else { return Login::Busy };
        let (hash, password) = (hash.clone(), password.to_owned());
        let fits = tokio::task::spawn_blocking(move || {
            // Whoever hangs up meanwhile gives nobody else the turn.
            let _turn = turn;
            hash.fits(&password)
        });
        match fits.await {
            Ok(true) if is_user => {
                self.learn(digest);
                Login::Right
            }
            _ => Login::Wrong,
        }
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn learn(&self, digest: [u8; 32]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&digest) {
            return;
        }
        if known.len() == MAX_KNOWN {
            known.pop_front();
        }
        known.push_back(digest);
    }
}

/// Each part with its length, so that none can be taken for the end of another.
fn digest(user: &str, hash: &Hash, password: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in [user.as_bytes(), hash.text.as_bytes(), password] {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests;
