use std::path::PathBuf;

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct LearnOptions {
    /// Print the baseline instead of writing it
    #[arg(long)]
    pub(crate) stdout: bool,
    /// What hosts printed with `list --format json`, in place of a look at this one: files, or a pattern in quotes; may be
    /// given several times
    #[arg(long, value_name = "FILES", num_args = 1..)]
    pub(crate) from: Vec<String>,
    /// With --from: file to write, which is not there yet [default: the first of the baseline]
    #[arg(long, value_name = "FILE", requires = "from", conflicts_with = "stdout")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ApproveOptions {
    /// Ids of drift, as `diff` shows them, or of approvals that are learned, expired or not signed
    #[arg(required = true, value_name = "ID")]
    pub(crate) id: Vec<String>,
    /// Why it may listen; an auditor reads this [default: the reason that a proposal gives]
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// How long it may: 30d, 12h, 8w, never for without end
    #[arg(long = "for", value_name = "TIME", value_parser = lifetime)]
    pub(crate) lifetime: Option<Lifetime>,
    /// Hosts that it holds for: names with wildcards, or @group; may be given several times [default: all that read the file]
    #[arg(long, value_name = "HOSTS")]
    pub(crate) hosts: Vec<String>,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
    /// File of the baseline to write into [default: baseline.d/90-local.toml, or the first that --baseline names]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Approve what another host listed, as `list --format json` printed it there; wants --file
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) inventory: Option<PathBuf>,
    /// Name of the approval in the baseline [default: made from the program]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Write it without a signature, for an approver to sign
    #[arg(long, conflicts_with = "key")]
    pub(crate) propose: bool,
    #[command(flatten)]
    pub(crate) signing: SigningOptions,
}

/// How long an approval holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Ever,
    For(std::time::Duration),
}

#[derive(Args, Debug)]
pub(crate) struct SigningOptions {
    /// SSH key to sign with: a private key, or a public one whose private half the agent has [default: the agent's first that may]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Whose name the signature stands for [default: the key's principal in allowed_signers]
    #[arg(long, value_name = "NAME")]
    pub(crate) principal: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct CountersignOptions {
    /// Ids of approvals, as `diff` names them
    #[arg(required = true, value_name = "APPROVAL")]
    pub(crate) approval: Vec<String>,
    /// Why; an auditor reads this
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
    /// File that holds them, as of a checkout [default: the installed baseline]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) signing: SigningOptions,
}

#[derive(Args, Debug)]
pub(crate) struct DismissOptions {
    /// Ids of drift that is gone, as `diff` shows them; `m1-…` of an alert is all that differ in port alone, where all are gone
    #[arg(required = true, value_name = "ID")]
    pub(crate) id: Vec<String>,
    /// Why nobody need look into it; an auditor reads this
    #[arg(long)]
    pub(crate) reason: String,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeOptions {
    /// Id of an approval, as the baseline has it
    pub(crate) approval: String,
    /// File that holds it, as of a checkout [default: the installed baseline]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Why; an auditor reads this
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Ticket that the decision was taken in
    #[arg(long)]
    pub(crate) ticket: Option<String>,
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "never" => Ok(Lifetime::Ever),
        time => crate::config::duration(time).map(Lifetime::For),
    }
}
