//! `repo_gpgcheck: auto`, which only rpm has, and signatures of repomd.xml that are there or not.

use super::{ASC, REPOMD, plain};
use crate::corpus::Client::{self, Agrees, CannotJudge};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::signers::good;
use crate::corpus::{BAD, Case, UNKNOWN, refused, warned};

const NOT_ASKED: Client = CannotJudge("it is not asked to verify");
const NO_SIGNATURE: Client = CannotJudge("there is no signature");

fn not_trusted(reasons: &[(&str, &str)]) -> Expected {
    crate::corpus::not_trusted(REPOMD, reasons)
}

fn stripped() -> Expected {
    refused(
        4,
        format!(
            "[server]/{REPOMD} is not signed, but earlier ones were ([server]/{ASC} does not exist or is refused)"
        ),
        "hint: if the upstream no longer signs its metadata, set `repo_gpgcheck: false`; the state of the last successful sync is unchanged\n",
    )
}

cases!(
    no_signature_any_more = Case::signature(
        plain,
        |scene| {
            scene.tree.remove(ASC);
            scene.says("repo_gpgcheck: auto");
        },
        stripped(),
        [NO_SIGNATURE, Agrees],
    ),
    no_signature_from_the_start = Case::signature(
        plain,
        |scene| {
            scene.before = None;
            scene.tree.remove(ASC);
            scene.says("repo_gpgcheck: auto");
        },
        Accepted,
        [NO_SIGNATURE, NOT_ASKED],
    ),
    signed_by_a_stranger = Case::signature(
        plain,
        |scene| {
            scene.signed_by(&[("stranger", good())]);
            scene.says("repo_gpgcheck: auto");
        },
        not_trusted(&[("[stranger]", UNKNOWN)]),
        [Agrees; 2],
    ),
    a_bad_signature_at_the_first_sync = Case::signature(
        plain,
        |scene| {
            scene.before = None;
            scene.edit_text(REPOMD, |text| text.replacen("primary", "Primary", 1));
            scene.says("repo_gpgcheck: auto");
        },
        not_trusted(&[("[archive]", BAD)]),
        [Agrees; 2],
    ),
    a_good_signature_and_no_key = Case::signature(
        plain,
        |scene| {
            scene.says("repo_gpgcheck: auto");
            scene.trusts(&[]);
        },
        warned(&format!(
            "[server]/{ASC} exists, but no key is configured to verify it"
        )),
        [NOT_ASKED; 2],
    ),
);
