use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::ConfineError;
use crate::process::done;

/// Keeps, of those that this process has, `effective` in force and `permitted` to take up or to hand down; it never has
/// another, and what it executes has none outside `bounding`: capabilities(7). Fails where some could not be given up.
pub fn keep_capabilities(
    effective: CapabilitySet,
    permitted: CapabilitySet,
    bounding: CapabilitySet,
) -> Result<(), ConfineError> {
    let failed = |errno: Errno| ConfineError::Step { step: "capget", error: errno.into() };
    let held = capabilities(None).map_err(failed)?.permitted;
    // First: it takes CAP_SETPCAP.
    let bounded = bound(bounding);
    match clear_ambient_capability_set() {
        // Kernels before 4.3 have no ambient set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => done("clearing the ambient capabilities", Err(errno))?,
    }
    let kept = CapabilitySets {
        effective: held & effective & permitted,
        permitted: held & permitted,
        inheritable: CapabilitySet::empty(),
    };
    done("capset", set_capabilities(None, kept))?;
    bounded
}

/// Without CAP_SETPCAP the set is out of our hands: where no_new_privs holds, nothing draws on it.
fn bound(keep: CapabilitySet) -> Result<(), ConfineError> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last capability that this kernel knows, or not ours to remove.
            Err(Errno::INVAL | Errno::PERM) => break,
            Err(errno) => return done("emptying the capability bounding set", Err(errno)),
        }
    }
    Ok(())
}

/// Puts in force, of `effective`, what this process is permitted.
pub fn raise_capabilities(effective: CapabilitySet) -> Result<(), ConfineError> {
    let failed = |errno: Errno| ConfineError::Step { step: "capget", error: errno.into() };
    let held = capabilities(None).map_err(failed)?;
    done("capset", set_capabilities(None, CapabilitySets { effective: effective & held.permitted, ..held }))
}
