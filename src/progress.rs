//! Progress of downloads: bars on a terminal, otherwise a log line at intervals.
//!
//! Bars and log lines share one [`MultiProgress`], so that neither garbles the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// Interval of the log lines if there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// How progress is shown.
#[derive(Clone)]
pub enum Progress {
    Bars(MultiProgress),
    Lines,
}

/// The downloads of one repository: all files and bytes together, and a line for each active one.
#[derive(Clone)]
pub struct Downloads {
    shared: Arc<Shared>,
}

struct Shared {
    label: String,
    progress: Progress,
    overall: ProgressBar,
    files_total: u64,
    files_done: AtomicU64,
    started: Instant,
    /// Milliseconds since `started` at which the last line was logged.
    last_line: AtomicU64,
}

/// One file that is being downloaded; dropping it removes its line.
pub struct ActiveDownload {
    downloads: Downloads,
    bar: Option<ProgressBar>,
    /// Bytes added to the overall bar so far.
    counted: AtomicU64,
}

impl Progress {
    /// Removes the bars from the terminal before other output.
    pub fn clear(&self) {
        if let Self::Bars(bars) = self {
            // An error means that the terminal was closed.
            let _ = bars.clear();
        }
    }

    /// `label` is the name of the repository; the label and file names must be escaped for a
    /// terminal.
    pub fn downloads(&self, label: &str, files_total: u64, bytes_total: u64) -> Downloads {
        let overall = ProgressBar::new(bytes_total);
        let overall = match self {
            Self::Bars(bars) => bars.add(overall),
            Self::Lines => {
                overall.set_draw_target(indicatif::ProgressDrawTarget::hidden());
                overall
            }
        };
        overall.set_style(style(
            "{prefix} {bytes}/{total_bytes} {msg} {binary_bytes_per_sec}, {eta} left {wide_bar}",
        ));
        overall.set_prefix(label.to_owned());
        overall.set_message(format!("0/{files_total} files"));
        if matches!(self, Self::Bars(_)) {
            // The library starts a thread for this and panics if that fails.
            let spare = std::thread::Builder::new().spawn(|| {});
            if spare.is_ok_and(|thread| thread.join().is_ok()) {
                overall.enable_steady_tick(Duration::from_millis(200));
            }
        }
        Downloads {
            shared: Arc::new(Shared {
                label: label.to_owned(),
                progress: self.clone(),
                overall,
                files_total,
                files_done: AtomicU64::new(0),
                started: Instant::now(),
                last_line: AtomicU64::new(0),
            }),
        }
    }
}

impl Downloads {
    /// Begins a file of `size` bytes; `None` if the size is unknown.
    pub fn file(&self, name: &str, size: Option<u64>) -> ActiveDownload {
        let bar = match &self.shared.progress {
            Progress::Bars(bars) => {
                let bar = bars.add(match size {
                    Some(size) => ProgressBar::new(size),
                    None => ProgressBar::no_length(),
                });
                bar.set_style(style("  {bytes:>10}/{total_bytes:<10} {wide_msg}"));
                bar.set_message(name.to_owned());
                Some(bar)
            }
            Progress::Lines => None,
        };
        ActiveDownload {
            downloads: self.clone(),
            bar,
            counted: AtomicU64::new(0),
        }
    }

    /// Counts bytes of a file that has no line of its own: it is not downloaded, but read.
    pub fn add(&self, bytes: u64) {
        self.shared.overall.inc(bytes);
        if matches!(self.shared.progress, Progress::Lines) {
            self.log_progress_if_due();
        }
    }

    /// Such a file is complete.
    pub fn file_done(&self) {
        let done = self.shared.files_done.fetch_add(1, Ordering::Relaxed) + 1;
        if matches!(self.shared.progress, Progress::Bars(_)) {
            let total = self.shared.files_total;
            self.shared
                .overall
                .set_message(format!("{done}/{total} files"));
        }
    }

    fn log_progress_if_due(&self) {
        let shared = &self.shared;
        let elapsed = shared.started.elapsed();
        let last = Duration::from_millis(shared.last_line.load(Ordering::Relaxed));
        if elapsed < last + LINE_INTERVAL {
            return;
        }
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let before = u64::try_from(last.as_millis()).unwrap_or(u64::MAX);
        // Only the thread that updates the time writes the line.
        if shared
            .last_line
            .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            log::info!(
                "{}: {}/{} files, {} of {}",
                shared.label,
                shared.files_done.load(Ordering::Relaxed),
                shared.files_total,
                HumanBytes(shared.overall.position()),
                HumanBytes(shared.overall.length().unwrap_or_default()),
            );
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.shared.overall.finish_and_clear();
    }
}

impl ActiveDownload {
    pub fn add(&self, bytes: u64) {
        self.counted.fetch_add(bytes, Ordering::Relaxed);
        self.downloads.shared.overall.inc(bytes);
        match &self.bar {
            Some(bar) => bar.inc(bytes),
            None => self.downloads.log_progress_if_due(),
        }
    }

    /// The download starts from the beginning: the bytes counted so far are subtracted.
    pub fn restart(&self) {
        let counted = self.counted.swap(0, Ordering::Relaxed);
        self.downloads.shared.overall.dec(counted);
        if let Some(bar) = &self.bar {
            bar.set_position(0);
        }
    }

    /// The file is complete.
    pub fn done(self) {
        let shared = &self.downloads.shared;
        let done = shared.files_done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.bar.is_some() {
            shared
                .overall
                .set_message(format!("{done}/{} files", shared.files_total));
        }
    }
}

impl Drop for ActiveDownload {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates in this file are valid")
}
