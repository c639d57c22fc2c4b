use std::ops::Range;

use inventory::Reach;
use toml::de::DeTable;

use super::fields::{Fields, Placed};
use super::{Reader, Set};
use crate::baseline::NamedAccount;
use crate::interpreter::takes_in_interpreter;
use crate::{Approval, HostPattern, PortPattern, ProgramPattern, User};

const KEYS: [&str; 23] = [
    "id",
    "serial",
    "listen",
    "program",
    "unit",
    "user",
    "group",
    "arguments",
    "image",
    "service",
    "netns",
    "reach",
    "sha256",
    "required",
    "hosts",
    "ticket",
    "team",
    "reason",
    "by",
    "at",
    "expires",
    "signature",
    "countersigned",
];
/// Longer ids are no names.
const ID_LENGTH: usize = 128;

/// What a file says for all of its approvals.
#[derive(Default)]
pub(super) struct Defaults {
    pub(super) hosts: Vec<HostPattern>,
    pub(super) team: Option<String>,
}

impl Reader<'_> {
    pub(super) fn read_approval(
        &mut self,
        table: &DeTable<'_>,
        span: Range<usize>,
        defaults: &Defaults,
        set: &mut Set,
    ) {
        let before = self.errors.len();
        let mut fields = Fields::new(self, table, span.clone());
        fields.only(&KEYS, "an approval");
        if !fields.has("id") {
            fields.complain(span, "an approval wants an `id`, unique and kept over edits");
        }
        let id = fields.id();
        let mut approval = fields.approval(defaults);
        let users = fields.texts("user");
        let groups = fields.texts("group");
        approval.user = users.iter().map(|(word, _)| User::new(word)).collect();
        approval.group = groups.iter().map(|(word, _)| word.clone()).collect();
        fields.check_kernel(&approval);
        let arguments = fields.span_of("arguments");
        let Some((id, place)) = id else { return };
        approval.id = id;
        let sound = self.errors.len() == before;
        if sound && approval.approves_anything() {
            let message = format!(
                "`{}` approves whatever listens there: it names no program, unit, user, group, image or service",
                approval.id
            );
            set.warnings.push(self.diagnostic(place.clone(), &message));
        }
        if sound && trusts_arguments_alone(&approval) {
            let message = "arguments are what the process says of itself: add `user` or `unit`";
            set.warnings.push(self.diagnostic(arguments, message));
        }
        self.remember_accounts(users, groups, set);
        self.keep(approval, place, set);
    }

    fn remember_accounts(&self, users: Vec<Placed>, groups: Vec<Placed>, set: &mut Set) {
        let users = users.into_iter().filter(|(word, _)| matches!(User::new(word), User::Name(_)));
        let users = users.map(|placed| (placed, false));
        for ((name, span), is_group) in users.chain(groups.into_iter().map(|placed| (placed, true))) {
            let sort = if is_group { "group" } else { "user" };
            set.named.entry((is_group, name.clone())).or_insert_with(|| {
                let message = format!("this host has no {sort} `{name}`, so that nothing can match it");
                NamedAccount { unknown: self.diagnostic(span, &message), name, is_group }
            });
        }
    }
}

impl Fields<'_, '_, '_> {
    pub(super) fn id(&mut self) -> Option<Placed> {
        let (id, span) = self.placed_text("id")?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/@".contains(&byte);
        if !id.bytes().all(is_plain) || id.len() > ID_LENGTH {
            let message =
                format!("an `id` is made of letters, digits and . _ - : / @, at most {ID_LENGTH} of them");
            self.complain(span, &message);
            return None;
        }
        if id.starts_with("s1-") {
            self.complain(span, "an `id` cannot begin with `s1-`: so do the names of services");
            return None;
        }
        Some((id, span))
    }

    fn approval(&mut self, defaults: &Defaults) -> Approval {
        if !self.has("listen") {
            self.complain(
                self.span_of("listen"),
                "an approval wants `listen`, as in `listen = \"tcp/*:22\"`",
            );
        }
        let hosts = if self.has("hosts") { self.hosts() } else { defaults.hosts.clone() };
        let mut approval = Approval::new("", self.listen());
        let says_what_runs = ["arguments", "unit", "image"].iter().any(|key| self.has(key));
        approval.program = self.each("program", |text| program(text, says_what_runs));
        approval.unit = self.patterns("unit");
        approval.arguments = self.patterns("arguments");
        approval.image = self.patterns("image");
        approval.service = self.patterns("service");
        approval.netns = self.netns();
        approval.reach = self.reach();
        approval.sha256 = self.each("sha256", sha256);
        approval.required = self.flag("required").unwrap_or(false);
        approval.hosts = hosts;
        approval.ticket = self.text("ticket");
        approval.team = self.text("team").or_else(|| defaults.team.clone());
        approval.reason = self.text("reason");
        approval.by = self.text("by");
        approval.at = self.when("at");
        approval.expires = self.when("expires");
        approval.serial = self.serial().unwrap_or(1);
        approval.signature = self.signature();
        approval.countersigned = self.countersigned();
        approval
    }

    fn reach(&mut self) -> Option<Reach> {
        let (word, span) = self.placed_text("reach")?;
        let reach = word.parse().ok();
        if reach.is_none() {
            let known: Vec<&str> = Reach::ALL.iter().map(|reach| reach.as_str()).collect();
            self.complain(span, &format!("`{word}` is no reach: it may be one of {}", known.join(", ")));
        }
        reach
    }

    fn check_kernel(&mut self, approval: &Approval) {
        let for_kernel = |program: &ProgramPattern| *program == ProgramPattern::Kernel;
        if !approval.program.is_empty() && approval.program.iter().all(for_kernel) {
            for key in ["unit", "user", "group", "arguments", "image", "service", "sha256"] {
                if self.has(key) {
                    let message = format!("a socket of the kernel has no process, and so no `{key}`");
                    self.complain(self.span_of(key), &message);
                }
            }
        }
        let kernel_port = approval.listen.iter().any(|listen| listen.port == PortPattern::Kernel);
        let lacks = match (approval.program.is_empty(), approval.names_workload()) {
            (true, true) => "`program`",
            (true, false) => "`program`, and one of `unit`, `image` and `service`",
            (false, false) => "one of `unit`, `image` and `service`",
            (false, true) => return,
        };
        if kernel_port {
            let message = format!("a port that the kernel chooses says nothing: the approval wants {lacks}");
            self.complain(self.span_of("listen"), &message);
        }
    }
}

/// Any process can run an interpreter and write over its arguments.
fn trusts_arguments_alone(approval: &Approval) -> bool {
    let interprets = |program: &ProgramPattern| match program {
        ProgramPattern::Kernel => false,
        ProgramPattern::Path(path) => takes_in_interpreter(path),
    };
    !approval.arguments.is_empty()
        && !approval.names_workload()
        && approval.user.is_empty()
        && approval.group.is_empty()
        && approval.program.iter().any(interprets)
}

fn program(text: &str, says_what_runs: bool) -> Result<ProgramPattern, String> {
    let program = ProgramPattern::new(text)?;
    if let ProgramPattern::Path(pattern) = &program
        && !says_what_runs
        && takes_in_interpreter(pattern)
    {
        let runs = if pattern.literal().is_some() { "runs" } else { "takes in interpreters, and one runs" };
        return Err(format!(
            "`{text}` {runs} whatever it is given: say what by `arguments`, `unit` or `image`"
        ));
    }
    Ok(program)
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "a hash is 64 hexadecimal digits, as sha256sum prints it".to_owned();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * place..2 * place + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}
