//! Messages of others: the same is the same, replaced is replaced whichever comes first, over is over.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_alerts::warnings::received::{MOST_RECEIVED, ReceivedBook, Took};
use onemap_model::Timestamp;

const HOUR: i64 = 3_600_000;

fn at(hours: i64) -> Timestamp {
    Timestamp::from_ms(Timestamp::parse("2026-11-23T08:00:00+08:00").unwrap().ms() + hours * HOUR)
}

/// `identifier kind status hours-until-over`, perhaps the identifier of what it references.
fn message(said: &str) -> String {
    let words: Vec<&str> = said.split(' ').collect();
    let [id, kind, status, end] = [words[0], words[1], words[2], words[3]];
    let time = |hours| onemap_cap::DateTime::beijing(at(hours)).unwrap().to_string();
    let references = words.get(4).map_or(String::new(), |of| {
        format!("<references>a.cn,{of},{}</references>", time(0))
    });
    let expires = end.parse().map_or(String::new(), |hours: i64| {
        format!("<expires>{}</expires>", time(hours))
    });
    format!(
        "<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'><identifier>{id}</identifier><sender>a.cn</sender>\
         <sent>{}</sent><status>{status}</status><msgType>{kind}</msgType><scope>Public</scope>{references}<info>\
         <category>Met</category><event>e</event><urgency>Immediate</urgency><severity>Severe</severity>\
         <certainty>Likely</certainty>{expires}</info></alert>",
        time(0)
    )
}

fn book(all: &[&str]) -> ReceivedBook {
    let mut book = ReceivedBook::default();
    for (said, position) in all.iter().zip(1..) {
        book.take(position, at(1), "office", message(said).as_bytes())
            .unwrap();
    }
    book
}

fn active(book: &ReceivedBook, hours: i64) -> Vec<String> {
    let all = book.newest_first().into_iter().filter(|r| r.is_active(at(hours)));
    let mut names: Vec<String> = all.map(|r| r.alert.identifier.clone()).collect();
    names.sort();
    names
}

#[test]
fn what_is_replaced_is_over_whichever_comes_first_and_only_within_a_status() {
    let table: [(&[&str], &[&str]); 8] = [
        (&["1 Alert Actual 9"], &["1"]),
        (&["1 Alert Actual 9", "2 Update Actual 9 1"], &["2"]),
        (&["2 Update Actual 9 1", "1 Alert Actual 9"], &["2"]),
        (&["1 Alert Actual 9", "2 Cancel Actual 9 1"], &[]),
        (&["1 Alert Actual 9", "2 Cancel Exercise 9 1"], &["1"]),
        (&["1 Alert Actual 9", "2 Alert Actual 9 1"], &["1", "2"]),
        (&["1 Alert Actual 9", "2 Ack Actual 9 1"], &["1"]),
        (&["1 Alert Actual none"], &["1"]),
    ];
    for (all, left) in table {
        let book = book(all);
        assert_eq!(active(&book, 2), left, "{all:?}");
        let again = ReceivedBook::restore(&book.snapshot()).unwrap();
        assert_eq!(active(&again, 2), left, "{all:?}");
    }
}

#[test]
fn the_same_is_the_same_and_what_is_over_leaves() {
    let mut book = book(&["1 Alert Actual 5"]);
    let mut take = |said: &str, now| book.take(9, now, "x", message(said).as_bytes()).unwrap();
    assert_eq!(take("1 Alert Actual 5", at(1)), Took::Known);
    assert_eq!(take("2 Alert Actual 5", at(5)), Took::Over);
    assert_eq!(take("3 Alert Actual none", at(25)), Took::Over);
    assert_eq!(active(&book, 4), ["1"]);
    assert!(active(&book, 5).is_empty());
    book.tick(at(28));
    assert_eq!(book.newest_first().len(), 1);
    book.tick(at(29));
    assert!(book.newest_first().is_empty());
}

#[test]
fn a_replaced_message_stays_replaced_when_what_replaced_it_is_let_go() {
    let mut book = book(&["1 Alert Actual 99", "2 Cancel Actual 3 1"]);
    book.tick(at(40));
    assert_eq!(book.newest_first().len(), 1);
    let again = ReceivedBook::restore(&book.snapshot()).unwrap();
    assert!(active(&again, 40).is_empty());
}

#[test]
fn no_more_than_bounded_are_kept_and_the_bytes_are_as_they_came() {
    let mut book = ReceivedBook::default();
    for n in 0..MOST_RECEIVED as u64 + 5 {
        let document = message(&format!("{n} Alert Actual 9"));
        book.take(n + 1, at(1), "x", document.as_bytes()).unwrap();
    }
    let all = book.newest_first();
    assert_eq!(all.len(), MOST_RECEIVED);
    assert_eq!(
        all[0].document,
        message(&format!("{} Alert Actual 9", MOST_RECEIVED + 4))
    );
    assert!(book.take(1, at(1), "x", b"<alert/>").is_err());
}
