//! Panics that become errors: of redb, which panics when pages are damaged, and bugs in the work on
//! one repository.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

thread_local! {
    static IS_EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Lets [`catch_expected`] keep the messages of panics in redb to itself. All others are printed.
pub fn install_hook() {
    let print = take_hook();
    set_hook(Box::new(move |panic| {
        let is_redb = panic
            .location()
            .is_some_and(|location| location.file().contains("redb"));
        if IS_EXPECTED.get() && is_redb {
            log::debug!("{panic}");
        } else {
            print(panic);
        }
    }));
}

/// Runs work in which redb may panic; the message of the panic is the error.
pub fn catch_expected<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = IS_EXPECTED.replace(true);
    let result = catch(work);
    IS_EXPECTED.set(before);
    result
}

/// Runs work whose panic is a bug, which is printed.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()).to_owned())
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    let text = panic.downcast_ref::<String>().map(String::as_str);
    literal.or(text).unwrap_or("unknown panic")
}
