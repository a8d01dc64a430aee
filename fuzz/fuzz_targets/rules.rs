#![no_main]
//! Any text as a rule file or a profile: read or refused, never a panic.

use libfuzzer_sys::fuzz_target;
use onemap_model::ProfileId;

fuzz_target!(|text: &str| {
    if let Ok(set) = onemap_rules::RuleSet::parse("fuzz", text) {
        assert!(onemap_rules::RuleSet::parse("fuzz", set.text()).is_ok());
    }
    let _ = onemap_wire::Profile::parse(&ProfileId::new("fuzz").unwrap(), text);
});
