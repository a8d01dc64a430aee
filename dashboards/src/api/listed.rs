//! Divisions that there are, by the dated lists and by the register.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use onemap_model::code::is_division;
use onemap_model::{DivisionCode, Scope};
use onemap_spatial::geocode::base_entries;

use crate::error::Problem;
use crate::views::{Register, Views};

/// That there is a division to whose things an account or a token is to be bound: a list has it, the register has it,
/// or a device lies in it.
///
/// # Errors
/// 400 `unknown_division`.
pub(super) fn some_division(views: &Views, division: Option<&DivisionCode>) -> Result<(), Problem> {
    let register = views.register.read().expect("no holder of this lock panics");
    match division.filter(|division| !is_there(&register, division)) {
        None => Ok(()),
        Some(division) => Err(Problem::bad_request(
            "unknown_division",
            format!("{division} is a division of no list and of no entity, and no device lies in it"),
        )),
    }
}

/// Whether a list has a division, the register has it, or a device lies in it.
pub(super) fn is_there(register: &Register, division: &DivisionCode) -> bool {
    is_listed(division) || register.knows(&Scope::local("listed"), division)
}

/// Whether a dated list has a division: that of the counties and what lies above them, any year; below the county that
/// of the streets, towns and communities that are shipped, where it has any of the county. Of other counties' streets
/// nobody knows, and they pass.
pub(super) fn is_listed(stated: &DivisionCode) -> bool {
    static SHIPPED: OnceLock<BTreeSet<String>> = OnceLock::new();
    let shipped = SHIPPED.get_or_init(|| {
        let entries = base_entries().into_iter().filter_map(|entry| entry.division);
        entries.map(|code| code.prefix().to_owned()).collect()
    });
    let prefix = stated.prefix();
    let county: String = stated.as_str().chars().take(6).collect();
    if prefix.len() <= 6 {
        return is_division(&format!("{county:0<6}"), None);
    }
    let mut below = shipped
        .range(county.clone()..)
        .take_while(|code| code.starts_with(&county));
    let is_shipped = below.any(|code| code.len() > 6);
    // A grid's own number behind its community is nobody's list.
    let known: String = prefix.chars().take(12).collect();
    is_division(&county, None) && (!is_shipped || shipped.contains(&known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn divisions_are_looked_for_in_dated_lists() {
        for (code, listed) in [
            ("630102", true),
            ("630122", true),
            ("630100", true),
            ("630000", true),
            ("630199", false),
            ("999999", false),
            ("630102001", true),
            ("630102001000", true),
            ("630102001005", true),
            ("630102001005001", true),
            ("630102999000", false),
            ("110101001001", true),
            ("110199001001", false),
        ] {
            assert_eq!(is_listed(&DivisionCode::new(code).unwrap()), listed, "{code}");
        }
    }
}
