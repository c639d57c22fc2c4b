use super::*;

/// What the kernel would answer: the programs are few kinds of instructions, which bpf(4) describes.
fn answer(program: &BpfProgram, call: c_long, arguments: [u64; 6]) -> u32 {
    let mut data = [0_u8; 64];
    data[..4].copy_from_slice(&u32::try_from(call).unwrap().to_ne_bytes());
    data[4..8].copy_from_slice(&ARCHITECTURE.to_ne_bytes());
    for (at, argument) in arguments.iter().enumerate() {
        data[16 + 8 * at..24 + 8 * at].copy_from_slice(&argument.to_ne_bytes());
    }
    let (mut at, mut accumulator) = (0_usize, 0_u32);
    loop {
        let one = &program[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { one.jt } else { one.jf });
        match one.code {
            0x20 => accumulator = u32::from_ne_bytes(data[one.k as usize..][..4].try_into().unwrap()),
            0x54 => accumulator &= one.k,
            0x05 => at += one.k as usize,
            0x15 => at += jump(accumulator == one.k),
            0x25 => at += jump(accumulator > one.k),
            0x35 => at += jump(accumulator >= one.k),
            0x06 => return one.k,
            other => panic!("no instruction {other:#x}"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0001;

fn compiled(calls: &Calls) -> BpfProgram {
    program(&calls.allowed, errno(libc::EPERM), SeccompAction::Allow).unwrap()
}

#[test]
fn what_is_not_named_is_refused() {
    let calls = Calls::of_any_program().and_reading().and_sockets();
    let program = compiled(&calls);
    for call in 0..1_000 {
        let answered = answer(&program, call, [0; 6]);
        assert!([ALLOW, REFUSE].contains(&answered), "{call}");
        assert!(answered == REFUSE || calls.allowed.contains_key(&call), "{call}");
        // The same numbers as x32 calls them.
        assert_eq!(answer(&program, call | 0x4000_0000, [0; 6]), REFUSE, "{call}");
    }
}

#[test]
fn arguments_say_which_calls_are_meant() {
    let program = compiled(&Calls::of_any_program().and_reading());
    let open = |flags: i32| answer(&program, libc::SYS_openat, [0, 0, flags.cast_unsigned().into(), 0, 0, 0]);
    assert_eq!(open(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY | libc::O_NOFOLLOW), ALLOW);
    for flags in
        [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE | libc::O_RDWR, 3]
    {
        assert_eq!(open(flags), REFUSE, "{flags:#o}");
    }
    let clone = |flags: i32| answer(&program, libc::SYS_clone, [flags.cast_unsigned().into(), 0, 0, 0, 0, 0]);
    let thread =
        libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    assert_eq!(clone(thread), ALLOW);
    for flags in [0, libc::SIGCHLD, libc::CLONE_VM | libc::CLONE_VFORK, thread | libc::CLONE_NEWNET] {
        assert_eq!(clone(flags), REFUSE, "{flags:#x}");
    }
    let own = u64::from(std::process::id());
    assert_eq!(answer(&program, libc::SYS_tgkill, [own, 7, 6, 0, 0, 0]), ALLOW);
    assert_eq!(answer(&program, libc::SYS_tgkill, [1, 1, 9, 0, 0, 0]), REFUSE);
    assert_eq!(answer(&program, libc::SYS_kill, [own, 9, 0, 0, 0, 0]), REFUSE);
    assert_eq!(answer(&program, libc::SYS_prctl, [22, 0, 0, 0, 0, 0]), REFUSE, "PR_SET_SECCOMP");
}

/// All arguments of a way, or all of another.
#[test]
fn ways_are_not_mixed() {
    let [netlink, unix, datagrams] = [Argument::Is(0, 16), Argument::Is(0, 1), Argument::has(1, 0xf, 2)];
    let program =
        compiled(&Calls::of_any_program().and_where(libc::SYS_socket, &[&[netlink], &[unix, datagrams]]));
    let socket = |family, kind| answer(&program, libc::SYS_socket, [family, kind, 0, 0, 0, 0]);
    assert_eq!(
        (socket(16, 3), socket(1, 0x80002), socket(1, 1), socket(2, 2)),
        (ALLOW, ALLOW, REFUSE, REFUSE)
    );
}

#[test]
fn nothing_is_both_wanted_by_all_and_deadly() {
    for call in ANY_PROGRAM.iter().chain(READING).chain(FILES).chain(SOCKETS).chain(ABSENT) {
        assert!(!NEVER.contains(call), "{call}");
    }
}

#[test]
fn nobody_is_signalled_by_way_of_a_descriptor() {
    let program = compiled(&Calls::of_any_program());
    let fcntl =
        |command: i32| answer(&program, libc::SYS_fcntl, [0, command.cast_unsigned().into(), 0, 0, 0, 0]);
    assert_eq!(fcntl(libc::F_DUPFD_CLOEXEC), ALLOW);
    // include/uapi/asm-generic/fcntl.h: F_SETOWN, F_SETSIG, F_SETOWN_EX; include/uapi/linux/fcntl.h: F_SETLEASE, F_NOTIFY.
    for command in [8, 10, 15, 1024, 1026] {
        assert_eq!(fcntl(command), REFUSE, "{command}");
    }
    let of_others = answer(&program, libc::SYS_setpriority, [0, 1, 19, 0, 0, 0]);
    assert_eq!(of_others, REFUSE);
}

#[test]
fn more_is_taken_away_from_all_threads_and_once() {
    let (tell, told) = std::sync::mpsc::channel();
    let call = || rustix::process::getpgid(None);
    let other = std::thread::spawn(move || (call().is_ok(), told.recv().is_ok(), call()));
    take_away(&[libc::SYS_getpgid]).unwrap();
    tell.send(()).unwrap();
    let refused = Err(rustix::io::Errno::PERM);
    assert_eq!(call(), refused);
    let (_, _, afterwards) = other.join().unwrap();
    assert_eq!(afterwards, refused);
    assert!(take_away(&[libc::SYS_getpgid]).is_err(), "what puts filters in force is taken away with it");
}
