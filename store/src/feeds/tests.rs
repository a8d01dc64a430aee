#![allow(clippy::unwrap_used)]

use super::*;

fn mark(seq: u64) -> Mark {
    Mark {
        seq,
        id: TransitionId::of(&[&seq.to_le_bytes()]),
        alert: Some(AlertId::of(&[&[u8::try_from(seq % 2).unwrap()]])),
        edge: "raised".to_owned(),
    }
}

fn answered(at: i64, status: u16) -> Answered {
    Answered {
        at: Timestamp::from_ms(at),
        status: Some(status),
        attempt: 1,
        answer: "ok 好".to_owned(),
    }
}

fn cursor(seq: u64) -> FeedCursor {
    FeedCursor {
        seq,
        id: Some(mark(seq).id),
    }
}

#[test]
fn a_cursor_and_its_receipts_are_there_after_a_stop_and_consumers_do_not_share_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    {
        let feeds = Feeds::open(&path).unwrap();
        assert!(!feeds.is_known("a").unwrap());
        assert_eq!(feeds.standing("a", cursor(3)).unwrap().cursor, cursor(3));
        feeds.standing("b", FeedCursor::default()).unwrap();
        let trying = Trying {
            seq: 4,
            since: Timestamp::from_ms(5),
            attempts: 2,
        };
        feeds.tried("a", trying).unwrap();
        assert_eq!(
            feeds.standing("a", FeedCursor::default()).unwrap().trying,
            Some(trying)
        );
        feeds
            .receive("a", Some(cursor(4)), &[mark(4)], &answered(9, 200))
            .unwrap();
    }
    let feeds = Feeds::open(&path).unwrap();
    // Where it begins is said once.
    let standing = feeds.standing("a", FeedCursor::default()).unwrap();
    assert_eq!(
        standing,
        Standing {
            cursor: cursor(4),
            trying: None
        }
    );
    let receipts = feeds.receipts("a", 0, 10).unwrap();
    assert_eq!((receipts.len(), &receipts[0].mark), (1, &mark(4)));
    assert_eq!(receipts[0].answered, answered(9, 200));
    assert_eq!(feeds.receipts("a", receipts[0].n, 10).unwrap(), []);
    assert_eq!(feeds.last_receipt("a").unwrap().unwrap(), receipts[0]);
    assert_eq!(feeds.receipts("b", 0, 10).unwrap(), []);
    assert!(feeds.is_told("a", &mark(6).alert.unwrap()).unwrap());
    assert!(!feeds.is_told("a", &mark(5).alert.unwrap()).unwrap());
    assert!(!feeds.is_told("b", &mark(4).alert.unwrap()).unwrap());
    assert_eq!(feeds.standing("b", cursor(9)).unwrap(), Standing::default());
    assert_eq!(feeds.retain(Timestamp::from_ms(9)).unwrap(), 0);
    assert_eq!(feeds.retain(Timestamp::from_ms(10)).unwrap(), 1);
}

#[test]
fn what_is_set_aside_is_listed_sent_again_and_gone_with_its_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = Feeds::open(&dir.path().join(FILE)).unwrap();
    feeds.standing("a", FeedCursor::default()).unwrap();
    let marks = [mark(1), mark(2)];
    feeds
        .set_aside("a", Some(cursor(2)), &marks, "status_4xx", &answered(5, 410))
        .unwrap();
    assert_eq!(
        feeds.standing("a", FeedCursor::default()).unwrap().cursor,
        cursor(2)
    );
    assert_eq!(feeds.n_aside("a").unwrap(), 2);
    let first = feeds.asides("a", 0, 1).unwrap().remove(0);
    assert_eq!(
        (&first.mark, first.reason.as_str(), &first.again),
        (&mark(1), "status_4xx", &None)
    );
    assert_eq!(feeds.next_again("a").unwrap(), None);
    let now = Timestamp::from_ms(7);
    assert_eq!(feeds.ask_again("b", first.n, now, "王").unwrap(), Again::Unknown);
    assert_eq!(feeds.ask_again("a", 99, now, "王").unwrap(), Again::Unknown);
    assert_eq!(feeds.ask_again("a", first.n, now, "王").unwrap(), Again::Asked);
    assert_eq!(feeds.ask_again("a", first.n, now, "王").unwrap(), Again::Already);
    let again = feeds.next_again("a").unwrap().unwrap();
    assert_eq!(again.again, Some((now, "王".to_owned())));
    // Refused again: under the same number, with both attempts, and waiting for another word.
    feeds
        .set_aside("a", None, &[again.mark], "status_5xx", &answered(8, 500))
        .unwrap();
    let same = feeds.asides("a", 0, 1).unwrap().remove(0);
    assert_eq!((same.n, same.answered.attempt, &same.again), (first.n, 2, &None));
    feeds.receive("a", None, &[same.mark], &answered(9, 200)).unwrap();
    assert_eq!(feeds.n_aside("a").unwrap(), 1);
    assert_eq!(
        feeds.standing("a", FeedCursor::default()).unwrap().cursor,
        cursor(2)
    );
}
