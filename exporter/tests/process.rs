//! What a whole process does: giving up root, and ending or reading again when it is told to.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod process {
    pub(super) mod child;
    pub(super) mod confined;
    pub(super) mod events;
    pub(super) mod identity;
    pub(super) mod serving;
    pub(super) mod signals;
}

use process::{child, confined, events, identity, serving, signals};

const CASES: [(&str, fn()); 18] = [
    ("drops_for_good", identity::drops_for_good),
    ("stays_as_it_is_without_root", identity::stays_as_it_is_without_root),
    ("refuses_to_drop_with_two_threads", identity::refuses_to_drop_with_two_threads),
    ("takes_a_folder_that_root_prepared", identity::takes_a_folder_that_root_prepared),
    ("cannot_do_what_it_need_not", confined::cannot_do_what_it_need_not),
    (
        "ends_when_it_tries_what_only_an_intruder_does",
        confined::ends_when_it_tries_what_only_an_intruder_does,
    ),
    ("can_do_what_it_does_for_a_living", confined::can_do_what_it_does_for_a_living),
    ("leaves_no_memory_behind", confined::leaves_no_memory_behind),
    ("serves_what_the_sensor_tells", serving::serves_what_the_sensor_tells),
    ("serves_with_few_descriptors", serving::serves_with_few_descriptors),
    ("says_that_the_port_is_taken", serving::says_that_the_port_is_taken),
    ("tells_what_lived_a_moment", events::tells_what_lived_a_moment),
    ("keeps_what_was_told_a_second_before_a_kill", events::keeps_what_was_told_a_second_before_a_kill),
    ("ends_cleanly_when_told_to", signals::ends_cleanly_when_told_to),
    ("ends_cleanly_when_the_keeper_heard_it_first", signals::ends_cleanly_when_the_keeper_heard_it_first),
    ("fails_when_the_sensor_is_gone", signals::fails_when_the_sensor_is_gone),
    ("reads_again_when_told_to", signals::reads_again_when_told_to),
    ("tells_no_stranger_to_read_again", signals::tells_no_stranger_to_read_again),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(role) = std::env::var_os("EXPORTER_TEST_ROLE") {
        return child::play(role.to_str().unwrap());
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return CASES.iter().for_each(|(name, _)| println!("{name}: test"));
    }
    let wanted = arguments.iter().skip(1).find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|wanted| wanted == "measures") {
        return events::measures();
    }
    for (name, case) in CASES {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            case();
            println!("test {name} ... ok");
        }
    }
}
