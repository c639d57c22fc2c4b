use std::sync::Arc;

use crate::web_config::Subject;

/// Who asks, as far as they have shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Who {
    /// The user whose password was right.
    pub(crate) user: Option<String>,
    /// Whom the client's certificate names, where an authority vouches for it.
    pub(crate) certificate: Option<Arc<Subject>>,
}
