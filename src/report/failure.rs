//! The failure of one repository in a result, in addition to the text of the error.

use serde::Serialize;

/// Additional fields of an error in a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What the user can do, if known.
    pub hint: Option<String>,
    /// The exit code of a run for this repository alone.
    pub exit_code: i32,
}
