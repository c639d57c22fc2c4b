use std::io::{IsTerminal, Write};
use std::net::IpAddr;

use baseline::{Accounts, Assessment, ServiceId, Verdict};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use inventory::{Holder, Holders, Inventory, Listener, NetNsKind};

/// Tables are made for a terminal of this width where the output is none.
const WIDTH: u16 = 80;
/// Holders past these are counted, not named, in a table.
const NAMED_HOLDERS: usize = 3;

/// A listener with what is said of it.
pub(crate) struct Row<'a> {
    pub(crate) listener: &'a Listener,
    pub(crate) service: Option<&'a ServiceId>,
    pub(crate) verdict: &'a Verdict,
    pub(crate) accounts: &'a Accounts,
}

/// All listeners with what is said of them, in the inventory's order.
pub(crate) fn rows<'a>(
    inventory: &'a Inventory,
    assessment: &'a Assessment,
    accounts: &'a Accounts,
) -> Vec<Row<'a>> {
    let judged = assessment.service_of.iter().map(|&place| &assessment.services[place]);
    let with_judged = inventory.listeners.iter().zip(judged);
    with_judged
        .map(|(listener, judged)| Row {
            listener,
            service: Some(&judged.service.id),
            verdict: &judged.verdict,
            accounts,
        })
        .collect()
}

impl Row<'_> {
    /// The name of a holder's user, or its number.
    pub(crate) fn user(&self, holder: &Holder) -> String {
        self.accounts.word(holder.uid)
    }

    /// `sshd[712] root`, one for each holder as far as they are named.
    pub(crate) fn held_by(&self) -> Vec<String> {
        let holders = match &self.listener.holders {
            Holders::Known(holders) => holders,
            Holders::Unattributed(reason) => return vec![format!("({})", reason.as_str().replace('_', " "))],
        };
        let mut words: Vec<String> = holders
            .iter()
            .take(NAMED_HOLDERS)
            .map(|holder| format!("{}[{}] {}", holder.name.quoted(), holder.id.pid, self.user(holder)))
            .collect();
        if let Some(more) = holders.len().checked_sub(NAMED_HOLDERS).filter(|more| *more > 0) {
            words.push(format!("and {more} more"));
        }
        words
    }

    /// The bound address as the table has it, without device and port.
    pub(crate) fn address(&self) -> String {
        match self.listener.endpoint.address {
            _ if self.is_dual_stack() => "*".to_owned(),
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }

    fn is_dual_stack(&self) -> bool {
        self.listener.endpoint.is_ipv6_wildcard() && self.listener.ipv6_only == Some(false)
    }

    /// `*:22`, `127.0.0.1:80`, `[::1]:53`; `0.0.0.0` and v6-only stay apart from `*`. A peer has a line of its own: both
    /// beside each other leave no room for who holds it.
    fn listens_on(&self) -> String {
        self.bound_to("\n→ ")
    }

    /// The same on one line.
    pub(crate) fn place(&self) -> String {
        self.bound_to(" → ")
    }

    fn bound_to(&self, arrow: &str) -> String {
        let endpoint = &self.listener.endpoint;
        let device = endpoint.device.as_ref().map(|device| format!("%{device}")).unwrap_or_default();
        let peer = self.listener.peer.map(|peer| format!("{arrow}{peer}")).unwrap_or_default();
        format!("{}{device}:{}{peer}", self.address(), endpoint.port)
    }

    /// The kind of drift, or the verdict.
    pub(crate) fn said(&self) -> String {
        match self.verdict {
            Verdict::Drift(finding) => finding.kind.to_string(),
            other => other.as_str().to_owned(),
        }
    }
}

/// Rows as a person reads them.
pub(crate) fn of_rows(rows: &[Row<'_>]) -> Table {
    let elsewhere = rows.iter().any(|row| row.listener.netns.kind != NetNsKind::Host);
    let mut header = vec!["PROTO", "LISTENS ON", "REACH", "VERDICT", "HELD BY"];
    if elsewhere {
        header.push("NETNS");
    }
    let mut table = plain(header);
    for row in rows {
        let mut cells = vec![
            row.listener.endpoint.protocol.to_string(),
            row.listens_on(),
            row.listener.reach.to_string(),
            row.said(),
            row.held_by().join("\n"),
        ];
        if elsewhere {
            cells.push(row.listener.netns.to_string());
        }
        table.add_row(cells);
    }
    table
}

/// A table without lines, as wide as the terminal.
fn plain(header: Vec<&str>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table.set_width(width());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// How wide a table may be.
pub(crate) fn width() -> u16 {
    if std::io::stdout().is_terminal() { terminal_width() } else { WIDTH }
}

/// A table of this one row, whose columns have these widths, with what parts them.
pub(crate) fn row(cells: &[String], widths: &[u16]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).add_row(cells);
    table.set_width(widths.iter().sum());
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, 2)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(*width)));
    }
    table
}

fn terminal_width() -> u16 {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(WIDTH, |size| if size.ws_col == 0 { WIDTH } else { size.ws_col })
}

/// Prints a table without the blanks at the ends of its lines.
pub(crate) fn print(table: &Table) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}
