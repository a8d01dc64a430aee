//! Bodies of ASCII frames: `symbol value symbol value `, one blank between items.
//!
//! Functions have in text what they have in binary bodies. What has a symbol in Annex C stands by it ([`items`]), the
//! rest as the envelope does, two characters a byte ([`commands`]).

mod commands;
mod items;
#[cfg(test)]
mod stories;
mod words;

use self::words::{Words, bytes_of, element_of, step_of, step_word, symbol_of};
use super::body::{Body, Content, has_groups, table};
use super::{Definition, Direction, Element, End, Error, Frame, Stamp, Table};

/// Characters of the serial number and of the send time.
const SERIAL: usize = 4;
const HEAD: usize = 16;

/// Reads a body. Of a first packet what is whole: an item may go on in the next one.
pub(super) fn read(frame: &Frame, at: usize) -> Result<Body, Error> {
    let body = &frame.body;
    let ends = |what, from: usize, need| Error::BodyEnds {
        at: at + from,
        what,
        need,
    };
    let serial = body.get(..SERIAL).ok_or(ends("the serial number", 0, 4))?;
    let serial = bytes_of(serial, at)?;
    let sent = body.get(SERIAL..HEAD).ok_or(ends("the send time", SERIAL, 12))?;
    let text = &body[HEAD..];
    let content = match frame.direction {
        Direction::Up if !frame.is_whole() => first_packet(text, at + HEAD, frame.function),
        Direction::Up => up(Words::new(text, at + HEAD), frame.function)?,
        Direction::Down if frame.end == End::Enq => question(Words::new(text, at + HEAD), frame.function)?,
        Direction::Down => answer(Words::new(text, at + HEAD), frame.function)?,
    };
    Ok(Body {
        serial: Some(u16::from(serial[0]) << 8 | u16::from(serial[1])),
        sent: Some(Stamp {
            digits: String::from_utf8_lossy(sent).into_owned(),
        }),
        content,
    })
}

fn is_report(function: u8) -> bool {
    (0x30..=0x3A).contains(&function)
}

/// The last word of a first packet may go on in the next one, unless a blank ends it.
fn first_packet(text: &[u8], at: usize, function: u8) -> Content {
    if !has_groups(function) {
        return Content::Part(text.to_vec());
    }
    let ended = text.iter().rposition(|b| *b == b' ').map_or(0, |last| last + 1);
    let mut groups = Vec::new();
    let mut words = Words::new(&text[..ended], at);
    let read = items::read(&mut words, is_report(function), &mut groups);
    let takes_all = matches!(
        groups.last(),
        Some(super::Group::Manual(_) | super::Group::Picture(_) | super::Group::Velocities(_))
    );
    if takes_all {
        // A text or a picture has no items that a packet could cut.
        groups.clear();
        let mut words = Words::new(text, at);
        return match items::read(&mut words, is_report(function), &mut groups) {
            Ok(()) => Content::Groups { groups, n_cut: 0 },
            Err(_) => Content::Part(text.to_vec()),
        };
    }
    let n_left = if read.is_ok() { 0 } else { words.len() };
    Content::Groups {
        groups,
        n_cut: n_left + text.len() - ended,
    }
}

fn up(mut words: Words<'_>, function: u8) -> Result<Content, Error> {
    if has_groups(function) {
        return groups(words, function);
    }
    if let Some(table) = table(function) {
        let station = items::station(&mut words)?;
        let items = commands::parameters(&mut words, table)?;
        return Ok(Content::Parameters { station, items });
    }
    Ok(match function {
        0x45 | 0x4C..=0x50 => Content::Control {
            station: items::station(&mut words)?,
            control: Some(commands::control(&mut words, function)?),
        },
        0x47 | 0x48 | 0x4A | 0x51 => {
            let station = items::station(&mut words)?;
            words.end()?;
            let control = None;
            Content::Control { station, control }
        }
        _ => Content::Unknown(words.all().to_vec()),
    })
}

fn groups(mut words: Words<'_>, function: u8) -> Result<Content, Error> {
    let mut groups = Vec::new();
    items::read(&mut words, is_report(function), &mut groups)?;
    Ok(Content::Groups { groups, n_cut: 0 })
}

fn nothing(words: Words<'_>) -> Result<Content, Error> {
    words.end()?;
    Ok(Content::Groups {
        groups: Vec::new(),
        n_cut: 0,
    })
}

fn answer(mut words: Words<'_>, function: u8) -> Result<Content, Error> {
    match function {
        0x2F..=0x3A | 0x40..=0x51 => nothing(words),
        _ => Ok(Content::Unknown(words.all().to_vec())),
    }
}

fn question(mut words: Words<'_>, function: u8) -> Result<Content, Error> {
    match function {
        0x38 => period(words),
        0x3A => {
            items::station(&mut words)?;
            let mut asked = Vec::new();
            while words.peek().is_some() {
                asked.push(words.formed("an element's symbol", asked_element)?);
            }
            Ok(Content::Asked(asked))
        }
        0x41 | 0x43 => {
            items::station(&mut words)?;
            let table = table(function).unwrap_or(Table::Basic);
            let asked = commands::asked(&mut words, table)?;
            Ok(Content::AskedItems(table, asked))
        }
        0x40 | 0x42 | 0x49 => Ok(Content::Parameters {
            station: items::station(&mut words)?,
            items: commands::parameters(&mut words, table(function).unwrap_or(Table::Basic))?,
        }),
        0x47 | 0x48 | 0x4C..=0x4F => Ok(Content::Control {
            station: items::station(&mut words)?,
            control: Some(commands::control(&mut words, function)?),
        }),
        0x4B => groups(words, function),
        0x2F..=0x37 | 0x39 | 0x44..=0x46 | 0x4A | 0x50 | 0x51 => nothing(words),
        _ => Ok(Content::Unknown(words.all().to_vec())),
    }
}

/// A symbol has no definition byte: the usual one stands for it, 00 where there is none.
fn asked_element(word: &[u8]) -> Option<(Element, Definition)> {
    let element = element_of(word)?;
    let usual = element.kind().and_then(|kind| kind.usual_definition());
    Some((element, usual.unwrap_or(Definition(0))))
}

/// The question for a period: its first and last hour, the step, the element's symbol.
fn period(mut words: Words<'_>) -> Result<Content, Error> {
    let hour = |word: &[u8]| {
        let is_hour = word.len() == 8 && word.iter().all(u8::is_ascii_digit);
        let digits = String::from_utf8(word.to_vec()).ok()?;
        is_hour.then_some(Stamp { digits })
    };
    let content = Content::Period {
        from: words.formed("the first hour, eight digits", hour)?,
        to: words.formed("the last hour, eight digits", hour)?,
        step: words.formed("a time step", step_of)?,
        element: words.formed("an element's symbol", asked_element)?,
    };
    words.end()?;
    Ok(content)
}

/// Writes a body as text. `None` for what has no text form: an element without a symbol, an item without bytes.
pub(super) fn write(body: &Body) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    if let Some(serial) = body.serial {
        let sent = body
            .sent
            .as_ref()
            .filter(|sent| sent.digits.len() == HEAD - SERIAL)?;
        out.extend(format!("{serial:04X}{}", sent.digits).into_bytes());
    }
    let put = |text: String, out: &mut Vec<u8>| out.extend(text.into_bytes());
    match &body.content {
        Content::Groups { groups, n_cut: 0 } => {
            for group in groups {
                items::write(group, &mut out)?;
            }
        }
        Content::Groups { .. } => return None,
        Content::Parameters { station, items } => {
            if let Some(station) = station {
                put(format!("ST {station} "), &mut out);
            }
            for item in items {
                commands::write_parameter(item, &mut out)?;
            }
        }
        Content::Control { station, control } => {
            if let Some(station) = station {
                put(format!("ST {station} "), &mut out);
            }
            if let Some(control) = control {
                commands::write_control(control, &mut out)?;
            }
        }
        Content::Asked(asked) => {
            for (element, _) in asked {
                put(format!("{} ", symbol_of(*element)?), &mut out);
            }
        }
        Content::AskedItems(table, asked) => {
            for (element, definition) in asked {
                commands::write_asked(*table, *element, *definition, &mut out)?;
            }
        }
        Content::Period {
            from,
            to,
            step,
            element: (element, _),
        } => {
            let (step, symbol) = (step_word(*step)?, symbol_of(*element)?);
            put(
                format!("{} {} {step} {symbol} ", from.digits, to.digits),
                &mut out,
            );
        }
        Content::Part(bytes) | Content::Unknown(bytes) => out.extend(bytes),
    }
    Some(out)
}
