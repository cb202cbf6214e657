//! Starts threads on systems that limit their number (`ulimit -u`, `TasksMax=`): fewer threads are
//! used, and if none can be started that is an error, not a panic. Locks what they share.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Starts a named thread. If this fails, the caller may do the work itself.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    let thread = Builder::new().name(name.to_owned());
    thread
        .spawn_scoped(scope, work)
        .map_err(|error| refused(name, &error))
}

/// A pool of the wanted number of threads, or as many as can be started.
pub fn pool(name: &'static str, wanted: usize) -> io::Result<rayon::ThreadPool> {
    let mut threads = wanted.max(1);
    loop {
        let built = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |index| format!("{name}-{index}"))
            .build();
        match built {
            Ok(pool) => {
                if threads < wanted {
                    log::warn!(
                        "only {threads} of {wanted} threads ({name}) could be started: is their number limited (ulimit -u)?"
                    );
                }
                return Ok(pool);
            }
            Err(error) if threads == 1 => return Err(refused(name, &error)),
            Err(_) => threads /= 2,
        }
    }
}

/// Explains errors of libraries that start threads themselves.
pub fn explain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::other(format!(
            "cannot start a thread: {error}: is the number of processes limited (ulimit -u)?"
        ));
    }
    error
}

/// Locks a mutex whose value stays valid if a thread panics while it holds the lock.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(name: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!(
        "cannot start thread {name}: {error}: is the number of processes limited (ulimit -u)?"
    ))
}
