//! From an assessment to metrics and an API: the half of `serve` that speaks HTTP and holds no capability.
#![forbid(unsafe_code)]

mod accounts;
mod alert;
mod alerting;
mod approvals;
mod assessed;
mod confined;
mod crier;
mod crowd;
pub mod daemon;
mod dismissals;
mod document;
mod event_log;
mod exposure;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
mod fixtures;
mod follower;
mod frames;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod history;
mod http;
mod identity;
mod judge;
mod log_heads;
mod manager;
mod matched;
mod metrics;
mod muffler;
mod open_drifts;
mod outbox;
mod passing;
mod past_events;
mod powers;
mod priority;
mod rules;
mod run;
mod runtime_folder;
mod scribe;
mod silence;
mod snapshot;
mod state;
mod textfile;
mod web_config;

pub use accounts::{AccountBook, user_id, user_name};
pub use alert::{id_together, is_of_many};
pub use alerting::{
    AlertReceiver, AlertReceiverError, AlertReceiverKeys, AlertReceiverKind, Alerting, try_receiver,
};
pub use confined::{Needs, confine};
pub use dismissals::dismissed;
pub use document::{
    Listed, MAX_INVENTORY, NoInventory, diff_document, gaps_document, listeners_document, missing_document,
    read_listeners, standing_document, witnessed_document,
};
pub use follower::{Follower, News, OutOfStep, Witnessed};
pub use frames::{Frames, Packet, forward};
pub use history::{CoveredBy, HistoryError, Past, ServicePast, Turns, history};
pub use http::{Inherited, InheritedError, ListenAddress, Right, Role, escaped_html, take_inherited};
pub use identity::{Identity, IdentityError, Origin, drop_to};
pub use matched::{Matched, MatchedError, matched};
pub use open_drifts::{OpenDriftsError, open_drifts};
pub use outbox::{Exports, Receiver, ReceiverError, TlsFiles};
pub use past_events::{PastEvents, oldest_event, past_events};
pub use rules::{BaselineSet, Load, LoadOutcome};
pub use run::{ApiSocket, Error, Options, Web, run};
pub use runtime_folder::prepare_runtime_folder;
pub use state::{StateError, StateLock, lock_state, prepare_state};
pub use web_config::{WebConfigError, web_config_files};
