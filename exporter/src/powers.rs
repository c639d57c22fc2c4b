use nix::unistd::Uid;
use rustix::thread::{CapabilitySet, capabilities};

/// What root uses to prepare the state folder for another user, to use it when it is that user's, and to become it.
const USED: [(CapabilitySet, &str); 5] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
];

/// What to do about something that was refused to root, where it is root without its powers. `None` where that is not
/// the reason.
pub(crate) fn cure() -> Option<String> {
    let held = capabilities(None).ok()?.effective;
    Uid::effective().is_root().then(|| cure_of(held)).flatten()
}

fn cure_of(held: CapabilitySet) -> Option<String> {
    let lacking = USED.into_iter().filter(|(capability, _)| !held.contains(*capability));
    let lacking: Vec<&str> = lacking.map(|(_, name)| name).collect();
    (!lacking.is_empty()).then(|| {
        format!(
            "this is root without {}: the container or unit that it runs in has to give them, or start it as an \
             ordinary user",
            lacking.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_lacking_and_nothing_else() {
        assert_eq!(cure_of(CapabilitySet::all()), None);
        let told = cure_of(CapabilitySet::CHOWN | CapabilitySet::FOWNER | CapabilitySet::SETGID).unwrap();
        assert!(told.starts_with("this is root without CAP_DAC_READ_SEARCH, CAP_SETUID: "), "{told}");
    }
}
