use inventory::Inventory;

use crate::{Accounts, Host};

/// What listened on one host of many, with the words of that host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInventory {
    /// What its configuration calls it, and its groups.
    pub host: Host,
    /// What one look at it saw.
    pub inventory: Inventory,
    /// Its accounts as far as they were told: the users of holders, and the members of groups that its baseline of then
    /// named.
    pub accounts: Accounts,
}
