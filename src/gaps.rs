use inventory::Gap;

/// A gap as a line for people.
pub(crate) fn gap_line(gap: &Gap) -> String {
    let protocol = gap.protocol.map(|protocol| format!(" {protocol}")).unwrap_or_default();
    let netns = gap.netns.as_ref().map(|netns| format!(" in {netns}")).unwrap_or_default();
    format!("{}{protocol}{netns}: {} ({})", gap.scope.as_str(), gap.reason, gap.collector)
}
