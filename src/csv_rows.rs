use crate::table::Row;

const HEADER: [&str; 17] = [
    "service",
    "protocol",
    "address",
    "port",
    "device",
    "netns",
    "reach",
    "verdict",
    "pid",
    "program",
    "file",
    "name",
    "user",
    "workload",
    "unattributed",
    "published",
    "peer",
];

/// A line for each holder of each listener, and one for a listener without.
pub(crate) fn print(rows: &[Row<'_>]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(std::io::stdout().lock());
    writer.write_record(HEADER)?;
    for row in rows {
        let listener = row.listener;
        let endpoint = &listener.endpoint;
        let published: Vec<_> = listener.published.iter().map(ToString::to_string).collect();
        let peer = listener.peer.map(|peer| peer.to_string()).unwrap_or_default();
        let after = [published.join(" "), peer];
        let of_listener = [
            row.service.map(ToString::to_string).unwrap_or_default(),
            endpoint.protocol.to_string(),
            endpoint.address.to_string(),
            endpoint.port.to_string(),
            endpoint.device.as_ref().map(ToString::to_string).unwrap_or_default(),
            listener.netns.to_string(),
            listener.reach.to_string(),
            row.verdict.as_str().to_owned(),
        ];
        for of_holder in holder_cells(row) {
            writer.write_record(of_listener.iter().chain(&of_holder).chain(&after))?;
        }
    }
    writer.flush()?;
    Ok(())
}

fn holder_cells(row: &Row<'_>) -> Vec<[String; 7]> {
    let holders = match &row.listener.holders {
        inventory::Holders::Known(holders) => holders,
        inventory::Holders::Unattributed(reason) => {
            let mut cells: [String; 7] = Default::default();
            cells[6] = reason.as_str().to_owned();
            return vec![cells];
        }
    };
    let cells = holders.iter().map(|holder| {
        let program = holder.program.as_ref();
        [
            holder.id.pid.to_string(),
            program.map(|program| program.path.escaped()).unwrap_or_default(),
            program.map(|program| program.file.as_str().to_owned()).unwrap_or_default(),
            guarded(holder.name.escaped()),
            row.user(holder),
            holder.workload.stable_name().map(|name| name.escaped()).unwrap_or_default(),
            String::new(),
        ]
    });
    cells.collect()
}

/// A spreadsheet takes what begins so for a formula.
fn guarded(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}
