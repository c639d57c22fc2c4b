use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use baseline::Assessment;
use clap::ValueEnum;
use exporter::{Listed, listeners_document};
use inventory::{Inventory, SocketId};

use crate::arguments::{Format, ListOptions, Shared};
use crate::judge::Judgement;
use crate::outcome::Outcome;
use crate::say::aside;
use crate::table::{self, Row};
use crate::{csv_rows, judge};

/// By what `list` orders its rows; the endpoint decides among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortKey {
    Port,
    Protocol,
    Address,
    Program,
    User,
    Netns,
    Reach,
    Verdict,
}

/// Shows the inventory with the baseline's verdict.
pub(crate) fn run(shared: &Shared, options: &ListOptions) -> anyhow::Result<Outcome> {
    let (judgement, wrong) = judge::in_any_case(shared, options.format == Format::Json)?;
    let Judgement { inventory, assessment, accounts, .. } = &judgement;
    let mut rows = table::rows(inventory, assessment, accounts);
    rows.retain(|row| options.filter.iter().all(|filter| filter.passes(row)));
    sort(&mut rows, options.sort);
    if rows.is_empty() && !inventory.listeners.is_empty() {
        aside(format_args!("portledger: none of {} listeners passes the filters", inventory.listeners.len()));
    }
    match options.format {
        Format::Table => {
            table::print(&table::of_rows(&rows))?;
            judgement.tell_gaps();
        }
        Format::Json => {
            let (inventory, assessment) = only(&rows, inventory, assessment);
            let document = listeners_document(Listed {
                inventory: &inventory,
                assessment: &assessment,
                register: None,
                accounts,
                host: &judgement.policy.host,
                lost: None,
                filtered: !options.filter.is_empty(),
                command_lines: true,
            });
            let mut output = std::io::stdout().lock();
            serde_json::to_writer_pretty(&mut output, &document)?;
            writeln!(output)?;
        }
        Format::Csv => csv_rows::print(&rows)?,
    }
    Ok(wrong.map_or(Outcome::Clean, |wrong| Outcome::failed(&wrong)))
}

/// The inventory with these rows alone, in their order, and what is said of them.
fn only(rows: &[Row<'_>], inventory: &Inventory, assessment: &Assessment) -> (Inventory, Assessment) {
    let place_of: HashMap<SocketId, usize> = inventory
        .listeners
        .iter()
        .zip(&assessment.service_of)
        .map(|(listener, place)| (listener.id, *place))
        .collect();
    let chosen = rows
        .iter()
        .filter_map(|row| Some((Arc::new(row.listener.clone()), *place_of.get(&row.listener.id)?)));
    let (listeners, service_of) = chosen.unzip();
    let mut assessment = assessment.clone();
    assessment.service_of = service_of;
    (Inventory { listeners, ..inventory.clone() }, assessment)
}

fn sort(rows: &mut [Row<'_>], key: SortKey) {
    let first_holder = |row: &Row<'_>| row.listener.holders.known().first().cloned();
    rows.sort_by_cached_key(|row| {
        let endpoint = &row.listener.endpoint;
        let text = match key {
            SortKey::Port | SortKey::Address => String::new(),
            SortKey::Protocol => endpoint.protocol.to_string(),
            SortKey::Program => first_holder(row).map(|holder| holder.name.escaped()).unwrap_or_default(),
            SortKey::User => first_holder(row).map(|holder| row.user(&holder)).unwrap_or_default(),
            SortKey::Netns => row.listener.netns.name.escaped(),
            // The widest first.
            SortKey::Reach => (u8::MAX - row.listener.reach as u8).to_string(),
            SortKey::Verdict => row.verdict.as_str().to_owned(),
        };
        let address = (key == SortKey::Address).then_some(endpoint.address);
        (text, address, endpoint.port, endpoint.clone(), row.listener.id)
    });
}
