use tracing::debug;

/// As nice(2) counts. Whoever opens sockets by the thousand competes with the judgement of them for the processors; with
/// more, a single one would be told late where all processors are busy.
const STEPS: i32 = 5;

/// Lets what else the machine does go before this thread.
pub(crate) fn give_way() {
    if let Err(error) = rustix::process::nice(STEPS) {
        debug!("the priority of a thread stays as it is: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_gives_way_and_no_other() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let given = std::thread::spawn(move || {
            give_way();
            own()
        });
        assert_eq!(given.join().unwrap(), (before + STEPS).min(19));
        assert_eq!(own(), before);
    }
}
