//! Paths from upstreams. An input is a path, or two with a newline between them: the second is
//! joined to the first.

use super::{Verdict, check_path};
use crate::rel_path::RelPath;

pub fn rel_path(input: &[u8]) -> Verdict {
    let Ok(input) = std::str::from_utf8(input) else {
        return Verdict::Refused;
    };
    let (first, second) = input.split_once('\n').unwrap_or((input, "x"));
    let Ok(path) = RelPath::parse(first) else {
        return Verdict::Refused;
    };
    check_path(&path);
    assert!(first.ends_with(path.file_name()) || first.contains('/'));
    if let Some(parent) = path.parent() {
        check_path(&parent);
        assert_eq!(parent.join(path.file_name()).as_ref(), Ok(&path));
    }
    let root = std::path::Path::new("/root/of/all");
    assert!(path.below(root).starts_with(root));
    let mut verdict = Verdict::Accepted;
    for joined in [path.join(second), path.with_file_name(second)] {
        match joined {
            Ok(joined) => check_path(&joined),
            Err(_) => verdict = Verdict::Refused,
        }
    }
    verdict
}
