use super::*;

const BOOTED: Duration = Duration::from_secs(1_000_000);

fn clock(up: Duration) -> Clock {
    let boot_nanos = u64::try_from(up.as_nanos()).unwrap();
    Clock { wall: SystemTime::UNIX_EPOCH + BOOTED + up, boot_nanos }
}

#[test]
fn a_moment_is_as_long_ago_on_the_wall() {
    let clock = clock(Duration::from_secs(60));
    let table = [
        (0, 60),
        (59_000_000_000, 1),
        (60_000_000_000, 0),
        // Told by another processor, a moment later.
        (60_000_000_001, 0),
        (u64::MAX, 0),
    ];
    for (boot_nanos, age) in table {
        assert_eq!(clock.age(boot_nanos), Duration::from_secs(age), "{boot_nanos}");
        assert_eq!(clock.wall(boot_nanos), clock.wall - Duration::from_secs(age), "{boot_nanos}");
    }
}

#[test]
fn a_wall_clock_that_was_set_moves_no_age() {
    let before = clock(Duration::from_secs(60));
    let set_back = Clock { wall: SystemTime::UNIX_EPOCH, ..before };
    assert_eq!(set_back.age(1_000_000_000), before.age(1_000_000_000));
    let earliest = set_back.wall(1_000_000_000);
    assert!(earliest <= set_back.wall);
}

#[test]
fn it_counts_as_the_programs_do() {
    let (one, other) = (Clock::now(), Clock::now());
    assert!(other.boot_nanos() >= one.boot_nanos());
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let up: f64 = text.split(' ').next().unwrap().parse().unwrap();
    let told = Duration::from_nanos(Clock::now().boot_nanos()).as_secs_f64();
    assert!((told - up).abs() < 60.0, "{told} {up}");
}
