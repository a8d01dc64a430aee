//! Tables, switches, versions and counters as text.
//!
//! The known text of the standard has no symbols for them. They stand as the envelope does, two characters a byte:
//! an item's number and its value (`0C 02 `), a run parameter's value as a number (`28 10.500 `), switches by their bytes
//! (`02 01 `). An item's number may have its definition byte behind it (`2823 00010500 `); then its value is its bytes.

use super::words::{Words, bytes_of};
use crate::hex;
use crate::sl651::control::Control;
use crate::sl651::group::Cursor;
use crate::sl651::item::usual;
use crate::sl651::{Decimal, Definition, Element, Error, Number, Parameter, Table};

const ITEM: &str = "an item's number, two characters, or four with its definition byte";
const CARD: Element = Element(0x0F);

/// The numbers of items that are asked for.
pub(super) fn asked(words: &mut Words<'_>, table: Table) -> Result<Vec<(Element, Definition)>, Error> {
    let mut asked = Vec::new();
    while words.peek().is_some() {
        let (element, definition) = words.formed(ITEM, number)?;
        let definition = definition.or_else(|| usual(table, element));
        asked.push((element, definition.unwrap_or(Definition(0))));
    }
    Ok(asked)
}

/// `None` for a number of more than one byte.
pub(super) fn write_asked(
    table: Table,
    element: Element,
    definition: Definition,
    out: &mut Vec<u8>,
) -> Option<()> {
    (element.0 <= 0xFF).then_some(())?;
    let word = match usual(table, element).unwrap_or(Definition(0)) == definition {
        true => format!("{element} "),
        false => format!("{element}{:02X} ", definition.0),
    };
    out.extend(word.into_bytes());
    Some(())
}

/// Items with their values.
pub(super) fn parameters(words: &mut Words<'_>, table: Table) -> Result<Vec<Parameter>, Error> {
    let mut items = Vec::new();
    while words.peek().is_some() {
        let (element, definition) = words.formed(ITEM, number)?;
        let (at, value) = words.word("a parameter")?;
        let (definition, raw) = match definition {
            Some(definition) => (definition, bytes_of(value, at)?),
            None => value_of(table, element, value, at)?,
        };
        if raw.len() != definition.n_bytes() {
            let want = "as many bytes as the definition says, at most 31";
            return Err(Error::Unexpected { at, want });
        }
        items.push(Parameter {
            table,
            element,
            definition,
            raw,
        });
    }
    Ok(items)
}

fn number(word: &[u8]) -> Option<(Element, Option<Definition>)> {
    match hex::read(word).ok()?.as_slice() {
        [code] => Some((Element(u16::from(*code)), None)),
        [code, definition] => Some((Element(u16::from(*code)), Some(Definition(*definition)))),
        _ => None,
    }
}

fn value_of(table: Table, element: Element, value: &[u8], at: usize) -> Result<(Definition, Vec<u8>), Error> {
    let sized = |raw: Vec<u8>| {
        let want = "at most 31 bytes";
        let definition = Definition::new(raw.len(), 0).ok_or(Error::Unexpected { at, want })?;
        Ok((definition, raw))
    };
    match usual(table, element) {
        Some(usual) if table == Table::Run => {
            let given = std::str::from_utf8(value).ok().and_then(Decimal::of_text);
            let raw = match given {
                Some(given) => bcd(given, usual),
                None => bytes_of(value, at).ok().map(|raw| (usual, raw)),
            };
            let want = "a number that the parameter has room for";
            raw.ok_or(Error::Unexpected { at, want })
        }
        Some(_) if table == Table::Basic && element == CARD => sized(value.to_vec()),
        _ => sized(bytes_of(value, at)?),
    }
}

/// A number in the length and decimals that are usual for it; of a longer one in those that it needs.
fn bcd(given: Decimal, usual: Definition) -> Option<(Definition, Vec<u8>)> {
    let decimals = usual.decimals().max(given.decimals.min(7));
    let given = given
        .with_decimals(usual.decimals())
        .or_else(|| given.with_decimals(decimals))?;
    (usual.n_bytes()..=8).find_map(|n_bytes| {
        let definition = Definition::new(n_bytes, given.decimals)?;
        let raw = Number::Value(given).to_bcd(n_bytes, given.decimals)?;
        Some((definition, raw))
    })
}

/// `None` for a value without bytes, and for a number of more than one byte.
pub(super) fn write_parameter(item: &Parameter, out: &mut Vec<u8>) -> Option<()> {
    (item.raw.len() == item.definition.n_bytes() && item.element.0 <= 0xFF).then_some(())?;
    let usual = usual(item.table, item.element);
    let shown = match item.table {
        Table::Run => match Number::of_bcd(&item.raw, item.definition.decimals()) {
            // What reads back as the same bytes.
            Number::Value(decimal)
                if usual.and_then(|usual| bcd(decimal, usual))
                    == Some((item.definition, item.raw.clone())) =>
            {
                Some(decimal.to_string())
            }
            _ => None,
        },
        Table::Basic if item.element == CARD => {
            let is_word = !item.raw.is_empty() && item.raw.iter().all(u8::is_ascii_graphic);
            let is_plain = item.definition.decimals() == 0;
            let text = String::from_utf8(item.raw.clone()).ok();
            text.filter(|_| is_word && is_plain)
        }
        Table::Basic => {
            let is_plain = item.definition.decimals() == 0 && !item.raw.is_empty();
            is_plain.then(|| hex::upper(&item.raw))
        }
    };
    let code = item.element;
    let item = match shown {
        Some(shown) => format!("{code} {shown} "),
        None if item.raw.is_empty() => return None,
        None => format!("{code}{:02X} {} ", item.definition.0, hex::upper(&item.raw)),
    };
    out.extend(item.into_bytes());
    Some(())
}

/// What a command sets or has set, by its bytes; words may stand together or apart.
pub(super) fn control(words: &mut Words<'_>, function: u8) -> Result<Control, Error> {
    if function == 0x45 {
        return version(words);
    }
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    while let Some((at, word)) = words.next() {
        let read = bytes_of(word, at)?;
        places.extend((0..read.len()).map(|i| at + 2 * i));
        bytes.extend(read);
    }
    // The mark of clearing goes by itself, as symbols do, or with its definition byte.
    if matches!((function, bytes.as_slice()), (0x47 | 0x48, [_])) {
        bytes.push(0);
    }
    let end = words.at();
    let place = |i: usize| places.get(i).copied().unwrap_or(end);
    let mut cursor = Cursor::new(&bytes, 0);
    Control::read(&mut cursor, function).map_err(|error| match error {
        Error::BodyEnds { at, what, need } => Error::BodyEnds {
            at: place(at),
            what,
            need: 2 * need,
        },
        Error::Unexpected { at, want } => Error::Unexpected { at: place(at), want },
        Error::Surplus { at, extra } => Error::Surplus {
            at: place(at),
            extra: 2 * extra,
        },
        other => other,
    })
}

/// A version: its length in two characters and the text. Text without a length is taken as it stands.
fn version(words: &mut Words<'_>) -> Result<Control, Error> {
    let at = words.at();
    let all = words.all();
    let text = all.strip_suffix(b" ").unwrap_or(all);
    let Some(length) = text.get(..2).and_then(hex::byte).map(usize::from) else {
        return Ok(Control::Version(text.to_vec()));
    };
    let behind = &text[2..];
    // With and without the blanks around it, which a version may end with itself.
    let fits = [behind, &all[2..]]
        .into_iter()
        .flat_map(|text| [text.strip_prefix(b" "), Some(text)])
        .flatten()
        .find(|text| text.len() == length);
    let (at, got) = (at + 2, behind.strip_prefix(b" ").unwrap_or(behind).len());
    match fits {
        Some(text) => Ok(Control::Version(text.to_vec())),
        None if got < length => Err(Error::BodyEnds {
            at,
            what: "a version",
            need: length,
        }),
        None => Err(Error::Surplus {
            at: at + length,
            extra: got - length,
        }),
    }
}

/// `None` for what has no binary form either.
pub(super) fn write_control(control: &Control, out: &mut Vec<u8>) -> Option<()> {
    let bytes = control.write()?;
    match control {
        Control::Version(text) => {
            out.extend(format!("{:02X} ", bytes.first()?).into_bytes());
            out.extend(text);
        }
        Control::Confirm(mark) => out.extend(format!("{mark:02X}").into_bytes()),
        Control::Counters(counters) => {
            let words: Vec<String> = counters.iter().map(|counter| format!("{counter:04X}")).collect();
            out.extend(words.join(" ").into_bytes());
        }
        Control::Switches(_) | Control::Gates(_) => {
            let (count, bits) = bytes.split_first()?;
            out.extend(format!("{count:02X} {}", hex::upper(bits)).into_bytes());
        }
        Control::FixedQuantity(_) => out.extend(hex::upper(&bytes).into_bytes()),
    }
    out.push(b' ');
    Some(())
}
