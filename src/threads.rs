//! Starting threads where the system may refuse more (`ulimit -u`, `TasksMax=`): fewer do, and where none can be had that is an
//! error, not a panic.

use std::io;
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// A thread with a name. Work that can be done without one is done by the caller when this fails.
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

/// As many threads as are wanted, or as many as can be had.
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
                        "the system gives no more than {threads} of {wanted} threads ({name}): is their number limited (ulimit -u)?"
                    );
                }
                return Ok(pool);
            }
            Err(error) if threads == 1 => return Err(refused(name, &error)),
            Err(_) => threads /= 2,
        }
    }
}

/// Of a library that starts threads itself.
pub fn explain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::other(format!(
            "a thread cannot be started: {error}: is the number of processes limited (ulimit -u)?"
        ));
    }
    error
}

fn refused(name: &str, error: &dyn std::error::Error) -> io::Error {
    io::Error::other(format!(
        "the thread {name} cannot be started: {error}: is the number of processes limited (ulimit -u)?"
    ))
}
