//! `InRelease` and `Release.gpg` beside each other, and what only signatures inside of `InRelease`
//! can do.

use super::{IN_RELEASE, NO_MESSAGE, RELEASE};
use super::{detached, marred, not_clear_signed, not_trusted, plain};
use crate::corpus::Client::{Agrees, CannotJudge};
use crate::corpus::Expected::Accepted;
use crate::corpus::signers::{clear_signed, good, signer};
use crate::corpus::{BAD, Case, warned};

cases!(
    a_good_release_gpg = Case::signature(detached, |_| {}, Accepted, [Agrees; 2]),
    no_in_release_but_a_good_release_gpg = Case::signature(
        plain,
        |scene| scene.tree.remove(IN_RELEASE),
        Accepted,
        [Agrees; 2]
    ),
    two_signers_one_of_other_bytes = Case::signature(
        plain,
        |scene| {
            scene.trusts(&["archive", "second"]);
            let text = scene.text(RELEASE);
            let packets = [
                signer("second").sign_text_packet("Suite: evil\n", good()),
                signer("archive").sign_text_packet(&text, good()),
            ];
            scene.edit(IN_RELEASE, |_| {
                clear_signed(&text, "SHA256", &packets.concat()).into()
            });
        },
        marred(&[("[second]", BAD)]),
        [Agrees; 2],
    ),
    gpgcheck_false_and_text_around = Case::signature(
        plain,
        |scene| {
            scene.edit_text(IN_RELEASE, |text| format!("Suite: evil\n{text}"));
            scene.says("gpgcheck: false");
        },
        not_clear_signed(NO_MESSAGE),
        [CannotJudge("it is not asked to verify"); 2],
    ),
    a_bad_in_release_beside_a_good_release_gpg = Case::signature(
        plain,
        |scene| scene.edit_text(IN_RELEASE, |text| text.replace("Label: Kit", "Label: Cat")),
        not_trusted(&[("[archive]", BAD)]),
        [Agrees; 2],
    ),
    a_good_in_release_beside_another_release = Case::signature(
        plain,
        |scene| scene.edit_text(RELEASE, |text| text.replace("Kit", "Cat")),
        warned(&format!(
            "[server]/{RELEASE} skipped: differs from the verified root"
        )),
        [Agrees; 2],
    ),
);
