//! Events as messages of syslog (RFC 5424), for datagrams (RFC 5426) and streams (RFC 6587, octets counted). Pure.

use super::Event;

/// Facility of security and authorisation (RFC 5424 table 1).
const AUTHPRIV: u8 = 10;

/// One event as a message (RFC 5424 section 6): kind as MSGID, no structured data, its JSON in UTF-8. `host` and `pid` say
/// who tells it; an empty host is the nil value.
pub fn message(event: &Event, host: &str, pid: u32) -> Vec<u8> {
    let priority = AUTHPRIV * 8 + event.kind.severity();
    let json = serde_json::to_string(event).expect("events have text keys only");
    let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-" } else { &host };
    let name = event.kind.name();
    // The mark says that UTF-8 follows.
    format!(
        "<{priority}>1 {} {host} onemap {pid} {name} - \u{feff}{json}",
        event.at
    )
    .into_bytes()
}

/// A message as it stands in a stream: its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [format!("{} ", message.len()).as_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use onemap_model::Timestamp;

    use super::super::Kind;
    use super::*;

    #[test]
    fn an_event_is_a_message_of_its_facility_and_severity() {
        let event = Event {
            seq: 7,
            at: Timestamp::from_ms(1_763_856_000_123),
            kind: Kind::LoginFailed,
            actor: None,
            peer: Some("192.0.2.1".to_owned()),
            subject: "李".to_owned(),
            detail: "wrong".to_owned(),
            n: 3,
        };
        let said = message(&event, "city host", 42);
        let text = String::from_utf8_lossy(&said);
        let (head, json) = text.split_once('\u{feff}').unwrap_or_default();
        assert_eq!(
            head,
            "<84>1 2025-11-23T08:00:00.123+08:00 cityhost onemap 42 login_failed - "
        );
        assert_eq!(serde_json::from_str::<Event>(json).ok(), Some(event.clone()));
        let framed = framed(&said);
        assert!(framed.starts_with(format!("{} <84>1 ", said.len()).as_bytes()));
        assert!(String::from_utf8_lossy(&message(&event, "", 1)).contains(" - onemap 1 "));
    }
}
