//! What a result says of one repository that failed, beside its error.

use serde::Serialize;

/// Beside the error's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What to do, if that can be said.
    pub hint: Option<String>,
    /// What a run for this repository alone would end with.
    pub exit_code: i32,
}
