//! Feeds of others as they come, and ours.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_cap::feed::{Entry, Outgoing, read, write};
use onemap_cap::read as read_message;
use onemap_model::Timestamp;

const GOOD: &str = include_str!("good.xml");

fn alert(inside: &str) -> String {
    GOOD.lines()
        .skip(1)
        .collect::<Vec<_>>()
        .join("\n")
        .replace("<event>", &format!("<event>{inside}"))
}

#[test]
fn a_message_inside_of_an_entry_is_read() {
    let text = format!(
        "<feed xmlns='http://www.w3.org/2005/Atom' xmlns:cap='urn:oasis:names:tc:emergency:cap:1.1'>
        <id>f</id><title type='html'>t</title><updated>2026-11-23T00:00:00.5Z</updated>
        <entry><id>e1</id><title>one</title><updated>2026-11-23T00:00:00Z</updated><published>yesterday</published>
          <cap:event>Flood</cap:event><cap:expires>soon</cap:expires>
          <cap:geocode><valueName>FIPS6</valueName><value>1</value><valueName>UGC</valueName><value>2</value></cap:geocode>
          <content type='text/xml'>{}</content></entry>
        <entry><id>e2</id><title type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'>t<b>wo</b></div></title>
          <content type='text/xml'>{}</content><category term='Met'/></entry>
        <entry/>
        <entry><title>four</title><link href='a.html'/><link href='a.xml' type='application/cap+xml; charset=utf-8'/></entry>
        </feed>",
        alert(""),
        alert("").replace("Actual", "actual"),
    );
    let feed = read(text.as_bytes()).unwrap();
    let titles: Vec<_> = feed.items.iter().map(|item| item.title.as_str()).collect();
    assert_eq!(titles, ["one", "two", "four"]);
    let one = &feed.items[0];
    assert_eq!(one.alert.as_ref().unwrap().alert.sender, "qxt@xining.gov.cn");
    let pairs = |all: &[onemap_cap::Named]| {
        all.iter()
            .map(|n| format!("{}={}", n.name, n.value))
            .collect::<Vec<_>>()
    };
    assert_eq!(pairs(&one.hints), ["event=Flood", "expires=soon"]);
    assert_eq!(pairs(&one.geocodes), ["FIPS6=1", "UGC=2"]);
    assert!(feed.items[1].alert.is_none());
    assert_eq!(feed.items[1].categories, ["Met"]);
    assert_eq!(feed.items[2].alert_link(), Some("a.xml"));
    let faults: Vec<_> = feed
        .faults
        .iter()
        .map(|fault| (fault.code(), fault.place.path.as_str()))
        .collect();
    assert_eq!(
        faults,
        [
            ("feed_time", "feed/entry[1]/published"),
            ("word", "feed/entry[2]/content/alert/status"),
            ("missing", "feed/entry[3]"),
            ("missing", "feed/entry[3]"),
            ("missing", "feed/entry[4]"),
        ]
    );
}

#[test]
fn rss_says_its_times_in_its_own_way() {
    let item = |inside: &str| format!("<item><title>t</title>{inside}</item>");
    let text = format!(
        "<rss version='2.0' xmlns:a='http://www.w3.org/2005/Atom'><channel><title>t</title><pubDate>Sun, 04 Feb 11 20:32:08 EST</pubDate>
        <a:link rel='self' href='https://x.cn/f'/>{}{}{}{}</channel></rss>",
        item("<link>l</link><pubDate>2026-11-23 08:00:00</pubDate>"),
        item("<enclosure url='https://x.cn/1.xml' type='application/cap+xml' length='1'/><link>l</link>"),
        item(&alert("")),
        "<item><pubDate>Mon, 23 Nov 2026 08:00:00 +0800</pubDate></item>",
    );
    let feed = read(text.as_bytes()).unwrap();
    assert_eq!(feed.updated.unwrap().to_string(), "2011-02-05T09:32:08+08:00");
    assert_eq!(feed.self_link.as_deref(), Some("https://x.cn/f"));
    assert_eq!(feed.items.len(), 3);
    assert_eq!(feed.items[0].alert_link(), Some("l"));
    assert_eq!(feed.items[1].alert_link(), Some("https://x.cn/1.xml"));
    assert!(feed.items[2].alert.is_some());
    let faults: Vec<_> = feed
        .faults
        .iter()
        .map(|fault| (fault.code(), fault.place.path.as_str()))
        .collect();
    assert_eq!(
        faults,
        [
            ("feed_time", "rss/channel/item[1]/pubDate"),
            ("missing", "rss/channel/item[4]")
        ]
    );
}

#[test]
fn what_is_no_feed_is_refused() {
    for (text, code) in [
        (GOOD, "root"),
        ("<html/>", "root"),
        ("<feed/>", "root"),
        ("<feed xmlns='http://purl.org/atom/ns#'/>", "root"),
        ("<feed xmlns='http://www.w3.org/2005/Atom'/>", "missing"),
        ("<rss/>", "missing"),
        ("<rss><channel/></rss>", "missing"),
        ("<!DOCTYPE rss><rss/>", "dtd"),
        ("<rss><channel><title>a&nbsp;b</title></channel></rss>", "entity"),
    ] {
        assert_eq!(read(text.as_bytes()).unwrap_err().code(), code, "{text}");
    }
}

#[test]
fn our_feed_has_the_newest_first() {
    let older = read_message(alert("甲").as_bytes()).unwrap().alert;
    let newer = read_message(alert("乙 &lt;&amp;").replace("T08:15", "T09:15").as_bytes())
        .unwrap()
        .alert;
    let outgoing = Outgoing {
        id: "https://example.cn/feeds/cap.atom",
        title: "预警 & warnings",
        author: "西宁",
        self_href: "https://example.cn/feeds/cap.atom?a=1&b=2",
        updated: Timestamp::parse("2026-11-23T09:15:01+08:00").unwrap(),
        language: "zh-CN",
    };
    let entries = [
        Entry {
            id: "https://example.cn/feeds/cap/1.xml",
            href: "https://example.cn/feeds/cap/1.xml",
            alert: &older,
        },
        Entry {
            id: "https://example.cn/feeds/cap/2.xml",
            href: "https://example.cn/feeds/cap/2.xml",
            alert: &newer,
        },
    ];
    let text = write(&outgoing, &entries).unwrap();
    assert_eq!(write(&outgoing, &[entries[1], entries[0]]).unwrap(), text);
    assert_eq!(
        text.lines().take(28).collect::<Vec<_>>().join("\n"),
        r#"<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:cap="urn:oasis:names:tc:emergency:cap:1.2" xml:lang="zh-CN">
  <id>https://example.cn/feeds/cap.atom</id>
  <title>预警 &amp; warnings</title>
  <updated>2026-11-23T09:15:01+08:00</updated>
  <author>
    <name>西宁</name>
  </author>
  <link rel="self" type="application/atom+xml" href="https://example.cn/feeds/cap.atom?a=1&amp;b=2"/>
  <entry>
    <id>https://example.cn/feeds/cap/2.xml</id>
    <title>乙 &lt;&amp;暴雨橙色预警</title>
    <updated>2026-11-23T09:15:00+08:00</updated>
    <published>2026-11-23T09:15:00+08:00</published>
    <link rel="alternate" type="application/cap+xml" href="https://example.cn/feeds/cap/2.xml"/>
    <summary>乙 &lt;&amp;暴雨橙色预警</summary>
    <cap:status>Actual</cap:status>
    <cap:msgType>Alert</cap:msgType>
    <cap:category>Met</cap:category>
    <cap:event>乙 &lt;&amp;暴雨橙色预警</cap:event>
    <cap:urgency>Expected</cap:urgency>
    <cap:severity>Severe</cap:severity>
    <cap:certainty>Likely</cap:certainty>
    <cap:effective>2026-11-23T09:15:00+08:00</cap:effective>
    <cap:areaDesc>西宁市城东区</cap:areaDesc>
  </entry>
  <entry>
    <id>https://example.cn/feeds/cap/1.xml</id>"#
    );
    let nowhere = Entry {
        id: "1",
        ..entries[0]
    };
    assert_eq!(
        write(&outgoing, &[entries[1], nowhere]).unwrap_err().to_string(),
        "feed/entry[2]/id: `1` is not an absolute URI"
    );
    assert_eq!(
        write(
            &Outgoing {
                title: " ",
                ..outgoing
            },
            &[]
        )
        .unwrap_err()
        .code(),
        "empty"
    );
}
