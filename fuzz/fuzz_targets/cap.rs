#![no_main]
//! Any bytes as a message of CAP and as a feed: read or refused by name. What is read is good by its own check, and
//! what of it can be written is read as it was.

use libfuzzer_sys::fuzz_target;
use onemap_cap::{Fault, feed, gbt35965, read, write};

fuzz_target!(|data: &[u8]| {
    match read(data) {
        Ok(message) => {
            assert!(message.alert.check().is_ok());
            if let Ok(text) = write(&message.alert) {
                assert_eq!(read(text.as_bytes()).map(|again| again.alert), Ok(message.alert));
            }
        }
        Err(error) => assert!(Fault::CODES.contains(&error.code()) && error.to_string().len() < 2048),
    }
    if let Ok(feed) = feed::read(data) {
        for item in &feed.items {
            let _ = item.alert_link();
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = gbt35965::WarningId::parse(text)
    {
        assert_eq!(id.to_string(), text);
    }
});
