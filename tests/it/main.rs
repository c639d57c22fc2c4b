//! The whole command on the real kernel and against real peers. Each story runs on a [`world::Host`] of its own, so
//! all of them run at once and none sees what else listens on the machine.
#![forbid(unsafe_code)]

#[cfg(test)]
mod alerting;
#[cfg(test)]
mod alerting_trouble;
#[cfg(test)]
mod approval;
#[cfg(test)]
mod arrows;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod border;
#[cfg(test)]
mod bothered;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod checking;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod deceived;
#[cfg(test)]
mod desktop;
#[cfg(test)]
mod events;
#[cfg(test)]
mod export;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod halted;
#[cfg(test)]
mod history;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod inventory;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod knocking;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod monitoring_peers;
#[cfg(test)]
mod opponents;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod privileges;
#[cfg(test)]
mod report;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod review;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod scarce;
#[cfg(test)]
mod securing;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod show;
#[cfg(test)]
mod signed;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod watching;
#[cfg(test)]
mod withdrawn;
#[cfg(test)]
mod world;
