//! What a repair needs from the process.

use std::sync::Arc;

use crate::config::Config;
use crate::progress::Progress;
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;
use crate::upstream::Limiter;

/// What a repair needs from the process.
#[derive(Clone, Copy)]
pub struct RepairContext<'a> {
    pub config: &'a Config,
    /// Key files for clients contain it where chantal has generated a root.
    pub key: &'a ConfiguredKey<'a>,
    /// Shared with other runs.
    pub storage: &'a Storage,
    /// Download threads.
    pub workers: &'a rayon::ThreadPool,
    pub progress: &'a Progress,
    /// The global bandwidth limit.
    pub limiter: Option<&'a Arc<Limiter>>,
}
