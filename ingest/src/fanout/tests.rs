#![allow(clippy::unwrap_used)]
use super::*;

fn topics(member: &Member) -> Vec<String> {
    std::iter::from_fn(|| member.take())
        .map(|d| format!("{}@{}", d.topic, d.qos))
        .collect()
}

#[test]
fn a_message_comes_once_under_the_subscriber_s_name() {
    let hub = Fanout::new();
    let device = hub.join();
    device.subscribe("d/A/#", 1, Naming::Me).unwrap();
    device.subscribe("d/A/rpc/+", 0, Naming::Me).unwrap();
    let desk = hub.join();
    desk.subscribe("d/+/rpc/#", 1, Naming::Plain).unwrap();
    assert_eq!(hub.publish("d/A/rpc/1", "x", 1), 2);
    assert_eq!(hub.publish("d/B/rpc/1", "x", 0), 1);
    assert_eq!(topics(&device), ["v1/devices/me/rpc/1@1"]);
    assert_eq!(topics(&desk), ["d/A/rpc/1@1", "d/B/rpc/1@0"]);
}

#[test]
fn the_qos_is_the_smaller_one() {
    let hub = Fanout::new();
    let member = hub.join();
    assert_eq!(member.subscribe("a", 2, Naming::Plain), Ok(2));
    assert_eq!(hub.publish("a", "x", 2), 1);
    assert_eq!(hub.publish("a", "x", 0), 1);
    assert_eq!(member.subscribe("a", 0, Naming::Plain), Ok(0));
    assert_eq!(hub.publish("a", "x", 1), 1);
    assert_eq!(topics(&member), ["a@2", "a@0", "a@0"]);
}

#[test]
fn tracked_messages_bring_news() {
    let hub = Fanout::new();
    let mut news = hub.news();
    let device = hub.join();
    device.subscribe("d/A/rpc/request/+", 1, Naming::Me).unwrap();
    assert_eq!(hub.publish_tracked("d/A/rpc/request/1", "x", 7), 1);
    let taken = device.take().unwrap();
    let ticket = taken.ticket.clone().unwrap();
    assert_eq!(ticket.number, 7);
    hub.confirm(&ticket);
    let listening = News::Listening("d/A/rpc/request/+".into());
    assert_eq!(news.try_recv(), Ok(listening));
    assert_eq!(news.try_recv(), Ok(News::Confirmed(7)));
    drop(taken);
    assert!(news.try_recv().is_err(), "one still holds it");
    drop(ticket);
    assert_eq!(news.try_recv(), Ok(News::Dropped(7)));
    // Nobody took it: its sender was told by the number.
    assert_eq!(hub.publish_tracked("d/B/rpc/request/1", "x", 8), 0);
    assert!(news.try_recv().is_err());
}

#[test]
fn who_left_gets_nothing_and_leaves_nothing() {
    let hub = Fanout::new();
    let member = hub.join();
    member.subscribe("a/#", 1, Naming::Plain).unwrap();
    assert!(hub.wanted("a/b") && !hub.wanted("b"));
    assert!(member.unsubscribe("a/#", Naming::Plain));
    assert!(!member.unsubscribe("a/#", Naming::Plain));
    assert_eq!(hub.publish("a/b", "x", 1), 0);
    member.subscribe("a/+", 1, Naming::Plain).unwrap();
    drop(member);
    assert!(!hub.wanted("a/b"));
    assert_eq!(hub.0.n_subscriptions.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_slow_subscriber_is_told_and_others_are_not_touched() {
    let hub = Fanout::new();
    let slow = hub.join();
    slow.subscribe("a", 1, Naming::Plain).unwrap();
    for _ in 0..QUEUE_MESSAGES {
        hub.publish("a", "x", 1);
    }
    assert_eq!(slow.ready().await, Ok(()));
    let quick = hub.join();
    quick.subscribe("a", 1, Naming::Plain).unwrap();
    hub.publish("a", "x", 1);
    assert_eq!(slow.ready().await, Err(Overrun));
    assert_eq!(quick.ready().await, Ok(()));
    assert_eq!(topics(&quick).len(), 1);
    // Bytes count too.
    hub.publish("a", vec![0; QUEUE_BYTES + 1], 1);
    assert_eq!(quick.ready().await, Ok(()));
    hub.publish("a", "x", 1);
    assert_eq!(quick.ready().await, Err(Overrun));
}

#[test]
fn filters_are_checked_and_counted() {
    let hub = Fanout::new();
    let member = hub.join();
    assert_eq!(
        member.subscribe("a#", 0, Naming::Plain),
        Err(SubscribeError::Malformed)
    );
    for i in 0..MAX_FILTERS {
        member.subscribe(&format!("a/{i}"), 0, Naming::Plain).unwrap();
    }
    assert_eq!(
        member.subscribe("b", 0, Naming::Plain),
        Err(SubscribeError::TooMany)
    );
    assert_eq!(member.subscribe("a/1", 1, Naming::Plain), Ok(1));
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_member_in_turn() {
    let hub = Fanout::new();
    let members: Vec<Member> = (0..3).map(|_| hub.join()).collect();
    for member in &members {
        assert_eq!(member.subscribe("$share/g/a/+", 1, Naming::Plain), Ok(1));
    }
    let other_group = hub.join();
    other_group.subscribe("$share/h/a/+", 1, Naming::Plain).unwrap();
    let alone = hub.join();
    alone.subscribe("a/#", 1, Naming::Plain).unwrap();
    for _ in 0..30 {
        assert_eq!(hub.publish("a/b", "x", 1), 3);
    }
    for member in &members {
        assert_eq!(topics(member).len(), 10);
    }
    assert_eq!((topics(&other_group).len(), topics(&alone).len()), (30, 30));
    assert_eq!(hub.n_subscriptions(), 3);
    // What one had not taken goes to the others when it leaves.
    for _ in 0..3 {
        hub.publish("a/b", "x", 1);
    }
    let mut members = members;
    drop(members.pop());
    assert_eq!(members.iter().map(|m| topics(m).len()).sum::<usize>(), 3);
    drop((members, other_group));
    assert_eq!(hub.publish("a/b", "x", 1), 1);
    assert_eq!(hub.n_subscriptions(), 1);
    for bad in ["$share/g", "$share//a", "$share/+/a", "$share/g/", "$share/g/a#"] {
        assert_eq!(
            alone.subscribe(bad, 1, Naming::Plain),
            Err(SubscribeError::Malformed),
            "{bad}"
        );
    }
}

fn limits(max_messages: usize, max_bytes: usize) -> Arc<Limits> {
    Arc::new(Limits {
        max_messages,
        max_bytes,
        n_bytes: AtomicUsize::new(0),
        counters: crate::Counters::new(),
        is_changed: std::sync::atomic::AtomicBool::new(false),
    })
}

fn drain(member: &Member, holder: u64) -> Vec<String> {
    std::iter::from_fn(|| member.next(holder))
        .map(|(_, d)| String::from_utf8(d.payload.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_session_that_is_away_keeps_the_newest_and_counts_the_rest() {
    let hub = Fanout::new();
    let limits = limits(5, 1000);
    let session = hub.join_as(Some(Arc::clone(&limits)), Arc::default());
    session.subscribe("a", 1, Naming::Plain).unwrap();
    for i in 0..8 {
        assert_eq!(hub.publish("a", i.to_string(), 1), 1);
    }
    assert_eq!(hub.publish_tracked("a", "tracked", 1), 0);
    let full = onemap_model::Refusal::QueueFull;
    assert_eq!(limits.counters.refused(full), 3);
    assert!(session.resume(1).is_empty());
    assert_eq!(drain(&session, 1), ["3", "4", "5", "6", "7"]);
    // All sessions together have a limit too.
    session.leave(1);
    for _ in 0..3 {
        hub.publish("a", vec![0; 400], 1);
    }
    assert!(limits.n_bytes.load(Ordering::Relaxed) <= 1000);
    assert_eq!(limits.counters.refused(full), 4);
    drop(session);
    assert_eq!(limits.n_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_group_of_sessions_that_are_away_queues_once_and_gives_to_who_comes_first() {
    let hub = Fanout::new();
    let limits = limits(10, 1000);
    let join = || {
        let member = hub.join_as(Some(Arc::clone(&limits)), Arc::default());
        member.subscribe("$share/g/a", 2, Naming::Plain).unwrap();
        member
    };
    let (one, two) = (join(), join());
    for i in 0..4 {
        assert_eq!(hub.publish("a", i.to_string(), 2), 1);
    }
    two.resume(7);
    let mut all = drain(&two, 7);
    all.sort();
    assert_eq!(all, ["0", "1", "2", "3"]);
    one.resume(8);
    assert!(drain(&one, 8).is_empty());
    // QoS 2 under a packet id stays with its client, the rest is handed on.
    hub.publish("a", "4", 2);
    hub.publish("a", "5", 2);
    two.leave(7);
    let mut handed = drain(&one, 8);
    handed.sort();
    assert_eq!(handed, ["4", "5"]);
    assert_eq!(two.resume(9).len(), 4);
}

#[test]
fn retained_messages_come_all_and_before_what_is_new() {
    let hub = Fanout::new();
    for i in 0..QUEUE_MESSAGES + 500 {
        let topic = format!("a/{i:05}");
        hub.retain(&topic, &Bytes::from_static(b"old"), 1, 1 + i as u64)
            .unwrap();
    }
    let member = hub.join();
    member.subscribe("a/#", 0, Naming::Plain).unwrap();
    hub.publish("a/0", "new", 1);
    assert_eq!(member.push_retained("a/#", Naming::Plain, 0, false), 1500);
    let taken: Vec<Delivery> = std::iter::from_fn(|| member.take()).collect();
    assert_eq!(taken.len(), 1501);
    assert!(taken[..1500].iter().all(|d| d.retain && d.qos == 0));
    assert!(!taken[1500].retain);
    assert_eq!(member.push_retained("$share/g/a/#", Naming::Plain, 0, false), 0);
}

#[test]
fn denied_topics_do_not_come_by_a_wider_filter() {
    let hub = Fanout::new();
    let denied: Arc<[Box<str>]> = Arc::new(["d/#".into()]);
    let member = hub.join_as(None, denied);
    member.subscribe("#", 1, Naming::Plain).unwrap();
    hub.retain("d/A/x", &Bytes::from_static(b"x"), 1, 1).unwrap();
    assert_eq!(hub.publish("d/A/x", "x", 1), 0);
    assert_eq!(hub.publish("a", "x", 1), 1);
    assert_eq!(member.push_retained("#", Naming::Plain, 1, false), 0);
    assert_eq!(topics(&member), ["a@1"]);
}
