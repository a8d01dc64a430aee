//! Documents that are made to harm: all are refused at once, by name.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use onemap_cap::{CapError, feed, read};

const GOOD: &str = include_str!("good.xml");

/// Both readers' word on a document. The time is bounded far above what it takes, for slow machines.
fn refusals(text: &str) -> [&'static str; 2] {
    let from = Instant::now();
    let code = |error: CapError| {
        assert!(error.to_string().len() < 1000, "an error as long as the document");
        error.code()
    };
    let codes = [
        read(text.as_bytes()).map_or_else(code, |_| "good"),
        feed::read(text.as_bytes()).map_or_else(code, |_| "good"),
    ];
    assert!(from.elapsed() < Duration::from_secs(10), "{:?}", from.elapsed());
    codes
}

#[test]
fn a_billion_laughs_are_not_heard() {
    let mut entities = "<!ENTITY lol0 \"lol\">".to_owned();
    for i in 1..10 {
        entities += &format!("<!ENTITY lol{i} \"{}\">", format!("&lol{};", i - 1).repeat(10));
    }
    let text = format!("<?xml version=\"1.0\"?><!DOCTYPE lolz [{entities}]><alert>&lol9;</alert>");
    assert_eq!(refusals(&text), ["dtd", "dtd"]);
    assert_eq!(
        refusals(&GOOD.replace("<event>", "<event>&lol9;")),
        ["entity", "entity"]
    );
}

#[test]
fn files_and_addresses_of_entities_are_not_opened() {
    for inside in [
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
        "<!DOCTYPE a [<!ENTITY % x SYSTEM \"http://127.0.0.1:1/x.dtd\">%x;]>",
        "<!DOCTYPE a PUBLIC \"-//x\" \"http://127.0.0.1:1/x.dtd\">",
        "<!doctype a>",
    ] {
        let text = GOOD.replace("<alert", &format!("{inside}<alert"));
        assert_eq!(refusals(&text)[0], "dtd", "{inside}");
    }
}

#[test]
fn depth_size_and_counts_have_their_limits() {
    let in_note = |inside: &str| GOOD.replace("<info>", &format!("<note>{inside}</note><info>"));
    let n = 100_000;
    for (text, code) in [
        (in_note(&("<a>".repeat(n) + &"</a>".repeat(n))), "too_deep"),
        ("<a>".repeat(n), "too_deep"),
        (in_note(&"x".repeat(2 << 20)), "too_large"),
        (in_note(&"<a/>".repeat(n)), "too_many"),
        (
            in_note(&format!(
                "<a {}/>",
                (0..60_000).map(|i| format!("a{i}='' ")).collect::<String>()
            )),
            "too_many",
        ),
        (
            in_note(&format!(
                "<a {}/>",
                (0..40_000)
                    .map(|i| format!("xmlns:a{i}='u' "))
                    .collect::<String>()
            )),
            "too_many",
        ),
        (
            GOOD.replace("<info>", &("<code>c</code>".repeat(5000) + "<info>")),
            "too_many",
        ),
    ] {
        assert_eq!(refusals(&text)[0], code);
    }
    let a_megabyte = in_note(&"&amp;".repeat(200_000));
    assert!(a_megabyte.len() <= 1 << 20);
    assert_eq!(refusals(&a_megabyte)[0], "good");
    let eight = format!(
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>{}</title></feed>",
        "x".repeat(8 << 20)
    );
    assert_eq!(refusals(&eight), ["too_large", "too_large"]);
}

#[test]
fn a_large_polygon_is_read() {
    let ring: String = (0..40_000).map(|i| format!("36.{:05},101.7 ", i)).collect();
    let text = GOOD.replace(
        "</areaDesc>",
        &format!("</areaDesc><polygon>{ring}36.00000,101.7</polygon>"),
    );
    assert_eq!(refusals(&text)[0], "good");
}

#[test]
fn bytes_that_are_no_utf_8_are_refused() {
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(GOOD.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    assert_eq!(read(&utf16).unwrap_err().code(), "not_utf8");
    let latin = [b"<alert>".as_slice(), &[0xe9], b"</alert>"].concat();
    assert_eq!(read(&latin).unwrap_err().code(), "not_utf8");
    assert_eq!(
        read(GOOD.replace("UTF-8", "GBK").as_bytes()).unwrap_err().code(),
        "encoding"
    );
    assert_eq!(read(b"").unwrap_err().code(), "broken_xml");
}
