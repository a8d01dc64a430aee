//! Laws: what is written is read as it was; whatever the bytes are, there is a message or a named refusal.
#![allow(clippy::unwrap_used, missing_docs)]

mod messages;

use messages::{alert, time};
use onemap_cap::{Version, feed, read, write};
use onemap_model::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(alert in alert()) {
        let text = write(&alert).unwrap();
        let message = read(text.as_bytes()).unwrap();
        prop_assert_eq!(&message.alert, &alert);
        prop_assert_eq!((message.version, message.is_signed), (Version::V1_2, false));
        prop_assert_eq!(write(&message.alert).unwrap(), text);
    }

    #[test]
    fn what_a_feed_shows_is_read_again(alerts in vec(alert(), 0..4)) {
        let ids: Vec<String> = (0..alerts.len()).map(|i| format!("https://example.cn/cap/{i}.xml")).collect();
        let entries: Vec<_> = alerts.iter().zip(&ids).map(|(alert, id)| feed::Entry { id, href: id, alert }).collect();
        let outgoing = feed::Outgoing {
            id: "https://example.cn/feeds/cap.atom",
            title: "预警",
            author: "西宁",
            self_href: "https://example.cn/feeds/cap.atom",
            updated: Timestamp::from_ms(1_763_856_000_000),
            language: "zh-CN",
        };
        let text = feed::write(&outgoing, &entries).unwrap();
        let read = feed::read(text.as_bytes()).unwrap();
        prop_assert_eq!(&read.faults, &[]);
        prop_assert_eq!(read.self_link.as_deref(), Some(outgoing.self_href));
        prop_assert_eq!(read.updated, Some(outgoing.updated));
        prop_assert_eq!(read.items.len(), alerts.len());
        for item in &read.items {
            let i = ids.iter().position(|id| item.id.as_deref() == Some(id)).unwrap();
            prop_assert_eq!(item.alert_link(), Some(ids[i].as_str()));
            prop_assert_eq!(item.updated, Some(alerts[i].sent.at()));
        }
        let order: Vec<_> = read.items.iter().map(|item| std::cmp::Reverse(item.updated)).collect();
        prop_assert!(order.is_sorted());
    }

    #[test]
    fn any_bytes_are_a_message_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        let _ = (read(&bytes), feed::read(&bytes));
    }

    #[test]
    fn any_markup_is_a_message_or_refused(
        parts in vec(select(vec![
            "<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'>", "</alert>", "<info>", "</info>", "<area>", "</area>",
            "<identifier>i</identifier>", "<sender>s</sender>", "<sent>2026-11-23T08:15:00+08:00</sent>", "<sent>", "</sent>",
            "<status>Actual</status>", "<msgType>Alert</msgType>", "<scope>Public</scope>", "<polygon>1,1</polygon>",
            "<feed xmlns='http://www.w3.org/2005/Atom'>", "</feed>", "<entry>", "</entry>", "<title>t</title>", "<rss>",
            "<channel>", "<item/>", "</channel>", "</rss>", "<a:b/>", "&amp;", "&x;", "&#x", "<!--", "-->", "<![CDATA[", "]]>",
            "<!DOCTYPE", "<?", "?>", "<", ">", "&", "'", "\"", "=", "\u{feff}", "é", "\0",
        ]), 0..40),
    ) {
        let text: String = parts.concat();
        let _ = (read(text.as_bytes()), feed::read(text.as_bytes()));
    }

    /// A good message with one byte changed, taken out or put in.
    #[test]
    fn a_slip_is_read_or_refused(alert in alert(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), how in 0..3) {
        let mut bytes = write(&alert).unwrap().into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => { bytes.remove(at); }
            _ => bytes.insert(at, byte),
        }
        if let Ok(message) = read(&bytes) && let Ok(text) = write(&message.alert) {
            prop_assert_eq!(read(text.as_bytes()).unwrap().alert, message.alert);
        }
    }

    #[test]
    fn times_are_read_as_written(time in time()) {
        let sent = "2026-11-23T08:15:00+08:00";
        let text = include_str!("good.xml").replacen(sent, &time.to_string(), 1);
        prop_assert_eq!(read(text.as_bytes()).unwrap().alert.sent, time);
    }
}
