//! Receipts that are written, changed on the way and read.

use proptest::prelude::*;

use super::*;

/// As version 1 is written, for ever.
const VERSION_1: &str = include_str!("../../../fixtures/receipt-v1/receipt");

fn entry(number: u64, arrival: Arrival) -> ReceiptEntry {
    ReceiptEntry {
        number,
        manifest: ObjectId::of(number.to_string().as_bytes()),
        arrival,
    }
}

fn receipt(transfers: Vec<ReceiptEntry>) -> Receipt {
    Receipt {
        exporter: "0123456789abcdef0123456789abcdef".to_owned(),
        destination: DestinationName::parse("plant-a").unwrap(),
        made_at: 1_795_845_600,
        transfers,
        log: Some(ObjectId::of(b"log")),
    }
}

fn example() -> Receipt {
    receipt(vec![
        entry(42, Arrival::Complete),
        entry(43, Arrival::of_missing([41, 17, 2, 1, 3, 40, 17])),
        entry(44, Arrival::Missing(Missing::Part(2))),
        entry(45, Arrival::Missing(Missing::All)),
    ])
}

fn error_of(text: &str) -> String {
    Receipt::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn version_1_is_read_and_written_for_ever() {
    assert_eq!(Receipt::parse(VERSION_1.as_bytes()), Ok(example()));
    assert_eq!(example().encode().as_deref(), Ok(VERSION_1));
}

#[test]
fn only_line_ends_may_change_on_the_way() {
    let crlf = VERSION_1.replace('\n', "\r\n");
    let blanks = VERSION_1.replace('\n', " \t\n") + "\n\r\n  ";
    for text in [crlf, blanks] {
        assert_eq!(Receipt::parse(text.as_bytes()), Ok(example()));
    }
    for end in 0..VERSION_1.len() {
        let cut = &VERSION_1[..end];
        // The log is optional, and so are all transfers but the first.
        let is_receipt = cut.contains("transfer 42") && cut.ends_with('\n');
        assert_eq!(Receipt::parse(cut.as_bytes()).is_ok(), is_receipt, "{cut}");
    }
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    for (from, to, error) in [
        (
            "receipt 1",
            "receipt 2",
            "version 2 of receipts needs a newer chantal; this one reads version 1",
        ),
        (
            "chantal receipt 1",
            "-----BEGIN PGP SIGNED MESSAGE----------------",
            "line 1: expected `chantal receipt 1`, got `-----BEGIN PGP SIGNED MESSAGE-----------...`",
        ),
        (
            "receipt 1",
            "receipt 01",
            "line 1: expected `chantal receipt 1`, got `chantal receipt 01`",
        ),
        (
            "exporter 0123",
            "exporter 0123A",
            "line 2: expected 32 lowercase hexadecimal digits, got `0123A456789abcdef0123456789abcdef`",
        ),
        (
            "destination plant-a\n",
            "",
            "line 3: expected `destination NAME`, got `made 2026-11-28T06:00:00Z`",
        ),
        (
            "plant-a",
            "../\"",
            "line 3: expected the name of a destination, got `../\\\"`",
        ),
        (
            "06:00:00Z",
            "06:00Z",
            "line 4: expected a time such as 2026-11-28T06:00:00Z, got `2026-11-28T06:00Z`",
        ),
        (
            "transfer 42",
            "transfer +42",
            "line 5: expected a number from 1, got `+42`",
        ),
        (
            "sha256:73475cb4",
            "sha256:73475CB4",
            "line 5: expected `sha256:` and 64 lowercase hexadecimal digits, \
             got `sha256:73475CB40a568e8da8a045ced110137e1...`",
        ),
        (
            "complete",
            "",
            "line 5: expected `complete` or `missing ...`, got nothing",
        ),
        (
            "transfer 43",
            "transfer 42",
            "line 6: transfer 42 after transfer 42; expected ascending numbers",
        ),
        (
            "part 2",
            "part 02",
            "line 7: expected a number from 1, got `02`",
        ),
        (
            "log ",
            "logs ",
            "line 9: expected `transfer`, `log` or the end, \
             got `logs sha256:836ff184e7b41b1e13cb5fd89fa1...`",
        ),
        (
            "log ",
            "\nlog ",
            "line 9: expected `transfer`, `log` or the end, got nothing",
        ),
        (
            "plant-a",
            "plant-\u{e4}",
            "line 3: expected printable ASCII, got byte 0xc3",
        ),
        (
            "plant-a",
            "\u{1b}[2J",
            "line 3: expected printable ASCII, got byte 0x1b",
        ),
    ] {
        let text = VERSION_1.replacen(from, to, 1);
        assert_eq!(error_of(&text), error);
    }
}

#[test]
fn a_text_has_an_end_and_a_largest_size() {
    assert_eq!(
        error_of(&format!("{VERSION_1}log sha256:{}\n", ObjectId::of(b""))),
        "line 10: expected the end, got `log sha256:e3b0c44298fc1c149afbf4c8996fb...`"
    );
    assert_eq!(
        error_of(VERSION_1.trim_end()),
        "line 9: the line end is missing; the text may be truncated"
    );
    let head = VERSION_1.split("transfer").next().unwrap();
    assert_eq!(
        error_of(head),
        "line 5: expected `transfer NUMBER sha256:DIGEST ...`, got the end"
    );
    assert_eq!(
        error_of(""),
        "line 1: expected `chantal receipt 1`, got the end"
    );
    let longest = format!("{VERSION_1}{}", "\n".repeat(SIZE_MAX - VERSION_1.len()));
    assert_eq!(Receipt::parse(longest.as_bytes()), Ok(example()));
    assert_eq!(
        error_of(&(longest + "\n")),
        "a receipt has at most 4096 bytes, got 4097"
    );
}

#[test]
fn ranges_have_one_text() {
    for (text, is_canonical) in [
        ("1", true),
        ("1-2,4", true),
        ("18446744073709551615", true),
        ("1-18446744073709551615", true),
        ("", false),
        ("0-2", false),
        ("1-1", false),
        ("2-1", false),
        ("1,2", false),
        ("1-3,4-5", false),
        ("1,1", false),
        ("3,1", false),
        ("1,", false),
        ("1-", false),
        ("1-2-3", false),
        ("1, 3", false),
        ("01", false),
        ("18446744073709551616", false),
        ("18446744073709551615,1", false),
        ("all,1", false),
        ("all ", true),
        ("part", false),
        ("part 0", false),
    ] {
        let text = VERSION_1.replacen("1-3,17,40-41", text, 1);
        assert_eq!(
            Receipt::parse(text.as_bytes()).is_ok(),
            is_canonical,
            "{text}"
        );
    }
    let last = u64::MAX;
    assert_eq!(Arrival::of_missing([]), Arrival::Complete);
    assert_eq!(
        Arrival::of_missing([last, 1, last - 1, 2, 1]),
        Arrival::Missing(Missing::Ranges(vec![1..=2, last - 1..=last]))
    );
}

#[test]
fn what_cannot_be_read_is_not_written() {
    let mut transfers = example().transfers;
    transfers.swap(0, 1);
    let empty = Arrival::Missing(Missing::Ranges(Vec::new()));
    for bad in [
        receipt(Vec::new()),
        receipt(transfers),
        receipt(vec![entry(0, Arrival::Complete)]),
        receipt(vec![entry(1, empty)]),
        receipt(vec![entry(1, Arrival::of_missing([0]))]),
        Receipt {
            exporter: "x".to_owned(),
            ..example()
        },
        Receipt {
            made_at: i64::MAX,
            ..example()
        },
    ] {
        assert!(bad.encode().is_err(), "{bad:?}");
    }
}

/// The ranges of the most fragmented transfer go first, and only as many as necessary.
#[test]
fn too_many_ranges_become_all() {
    let missing = |count: u64| Arrival::of_missing((1..=count).map(|place| place * 2));
    let mut expected = receipt(vec![
        entry(1, missing(2)),
        entry(2, missing(300)),
        entry(3, missing(400)),
        entry(4, missing(400)),
    ]);
    let text = expected.encode().unwrap();
    expected.transfers[2].arrival = Arrival::Missing(Missing::All);
    assert_eq!(Receipt::parse(text.as_bytes()), Ok(expected));

    let mut expected = receipt(vec![entry(1, missing(1_000_000))]);
    let text = expected.encode().unwrap();
    expected.transfers[0].arrival = Arrival::Missing(Missing::All);
    assert_eq!(Receipt::parse(text.as_bytes()), Ok(expected));
}

#[test]
fn a_number_of_transfers_always_fits() {
    let longest = |count: u64| {
        let first = u64::MAX - count;
        let part = || Arrival::Missing(Missing::Part(u64::MAX));
        Receipt {
            destination: DestinationName::parse(&"x".repeat(100)).unwrap(),
            made_at: -377_705_023_201,
            ..receipt((1..=count).map(|i| entry(first + i, part())).collect())
        }
    };
    let receipt = longest(TRANSFERS_THAT_FIT as u64);
    let text = receipt.encode().unwrap();
    assert_eq!(Receipt::parse(text.as_bytes()), Ok(receipt));
    // In a worse shape, it is still read.
    let crlf = text.replace('\n', "\r\n");
    assert!(Receipt::parse(crlf.as_bytes()).is_ok());
    let error = longest(TRANSFERS_THAT_FIT as u64 + 1).encode().unwrap_err();
    assert_eq!(
        error.to_string(),
        "28 transfers do not fit into one receipt (27 always do)"
    );
}

fn arrivals() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        Just(Arrival::Complete),
        Just(Arrival::Missing(Missing::All)),
        (1..=u64::MAX).prop_map(|part| Arrival::Missing(Missing::Part(part))),
        prop::collection::vec(1..40_u64, 1..20).prop_map(Arrival::of_missing),
        prop::collection::vec(1..=u64::MAX, 1..4).prop_map(Arrival::of_missing),
    ]
}

fn receipts() -> impl Strategy<Value = Receipt> {
    let transfer = (any::<[u8; 32]>(), arrivals());
    (
        "[0-9a-f]{32}",
        "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,30}",
        0..253_402_207_200_i64,
        prop::collection::btree_map(1..=u64::MAX, transfer, 1..12),
        prop::option::of(any::<[u8; 32]>()),
    )
        .prop_map(|(exporter, destination, made_at, transfers, log)| Receipt {
            exporter,
            destination: DestinationName::parse(&destination).unwrap(),
            made_at,
            transfers: transfers
                .into_iter()
                .map(|(number, (manifest, arrival))| ReceiptEntry {
                    number,
                    manifest: ObjectId(manifest),
                    arrival,
                })
                .collect(),
            log: log.map(ObjectId),
        })
}

proptest! {
    #[test]
    fn a_receipt_survives_its_text(receipt in receipts()) {
        let text = receipt.encode().unwrap();
        prop_assert_eq!(Receipt::parse(text.as_bytes()), Ok(receipt));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Receipt::parse(&bytes).is_err());
    }

    /// A change is noticed, or it is another receipt.
    #[test]
    fn a_text_has_one_value(
        receipt in receipts(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\n]|[0-9a-f,-]"), 1..4),
    ) {
        let text = receipt.encode().unwrap();
        let mut changed = text.clone().into_bytes();
        for (place, character) in &changes {
            let place = place.index(changed.len());
            changed[place] = character.as_bytes()[0];
        }
        if let Ok(other) = Receipt::parse(&changed) {
            let lines = str::from_utf8(&changed).unwrap().lines();
            let lines: Vec<&str> = lines.map(|line| line.trim_end_matches(BLANKS)).collect();
            let without_blanks = lines.join("\n").trim_end().to_owned() + "\n";
            prop_assert_eq!(other.encode(), Ok(without_blanks));
        }
    }
}
