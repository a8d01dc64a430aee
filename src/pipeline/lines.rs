//! Line protocol whose lines name their devices: each line goes to its own.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use onemap_model::{Device, DivisionCode, Frame, Refusal};
use onemap_wire::Message;
use onemap_wire::line::{Line, Params, Reader};
use onemap_wire::message::Refused;

use super::fold::{Fold, Said};
use super::gateway::stranger;

const POISON: &str = "no holder of this lock panics";
/// Bytes of refused lines that one entry of the quarantine keeps; the journal has all of them.
const KEPT_BYTES: usize = 64 << 10;

/// The lines of one device.
struct Part {
    device: Arc<Device>,
    message: Message,
    /// Lines of which something was refused.
    kept: Vec<u8>,
}

impl Fold<'_> {
    pub(super) fn lines(&mut self, position: u64, frame: &Frame<'_>, params: &Params<'_>) -> Result<()> {
        let writer = match frame.device {
            "" => None,
            device => match self.device(device) {
                Some(device) => Some(device),
                None => {
                    self.refuse(position, 0, frame, Refusal::UnknownDevice, "");
                    return Ok(());
                }
            },
        };
        let mut parts: Vec<Part> = Vec::new();
        let mut known: HashMap<String, Result<usize, Refused>> = HashMap::new();
        let (mut refused, mut kept) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(frame.payload);
        while let Some((place, line)) = reader.next_line() {
            let bytes = &frame.payload[place.range.clone()];
            let line = match line {
                Ok(line) => line,
                Err(bad) => {
                    refused.push(Refused::new(Refusal::BrokenLine, bad.to_string()));
                    keep(&mut kept, bytes);
                    continue;
                }
            };
            let name = name_of(line, params, writer.as_deref());
            let found = match known.get(name) {
                Some(found) => found.clone(),
                None => {
                    let found = self.line_device(name, params, writer.as_ref()).map(|device| {
                        let at = parts.iter().position(|part| part.device.id == device.id);
                        at.unwrap_or_else(|| {
                            parts.push(Part {
                                device,
                                message: Message::default(),
                                kept: Vec::new(),
                            });
                            parts.len() - 1
                        })
                    });
                    known.insert(name.to_owned(), found.clone());
                    found
                }
            };
            let profile = |at: &usize| self.profile(parts[*at].device.profile.as_ref());
            let found = found.and_then(|at| Ok((at, profile(&at)?)));
            match found {
                Ok((at, profile)) => {
                    let Part { message, kept, .. } = &mut parts[at];
                    let n_refused = message.refused.len();
                    line.add_to(message, place.number, params.precision, profile);
                    if message.refused.len() > n_refused {
                        keep(kept, bytes);
                    }
                }
                Err(why) => {
                    let detail = format!("line {}: {}", place.number, why.detail);
                    refused.push(Refused::new(why.refusal, detail));
                    keep(&mut kept, bytes);
                }
            }
        }
        let part = Frame {
            payload: &kept,
            ..*frame
        };
        let mut ordinal = self.refuse_from(0, position, &part, &refused);
        for Part {
            device,
            message,
            kept,
        } in parts
        {
            let part = Frame {
                device: device.id.as_str(),
                payload: &kept,
                ..*frame
            };
            let said = Said {
                frame,
                part: &part,
                device: &device,
                profile: device.profile.as_ref(),
                ordinal,
            };
            ordinal = self.said(position, &said, message)?;
        }
        Ok(())
    }

    /// The device of a line, if the writer may write for it.
    fn line_device(
        &self,
        name: &str,
        params: &Params<'_>,
        writer: Option<&Arc<Device>>,
    ) -> Result<Arc<Device>, Refused> {
        if let Some(writer) = writer {
            if writer.id.as_str() == name {
                return Ok(writer.clone());
            }
            return self
                .known_child(writer, name)
                .ok_or_else(|| stranger(writer, name));
        }
        let unknown = |detail: String| Refused::new(Refusal::UnknownDevice, detail);
        if name.is_empty() {
            let tags = params.tags.join("`, `");
            return Err(unknown(format!("no tag `{tags}` names a device")));
        }
        let register = self.views.register.read().expect(POISON);
        // What the writer may not see is answered like what is not there.
        let division = params.division.map(DivisionCode::new);
        let is_covered = |device: &Device| match (&division, register.divisions.get(&device.id)) {
            (None, _) => true,
            (Some(Ok(own)), Some(of_device)) => own.covers(of_device),
            _ => false,
        };
        let device = register
            .view
            .devices
            .get(name)
            .filter(|device| is_covered(device));
        device.cloned().ok_or_else(|| {
            let shown: String = name.chars().take(Refused::QUOTED).collect();
            unknown(format!("no device is called `{}`", shown.escape_debug()))
        })
    }
}

/// A device's own token writes for that device, whatever tags say (a Telegraf's disks have a tag `device`),
/// a gateway's for the children that a tag names, and any other for whom a tag names.
fn name_of<'l>(line: &'l Line<'_>, params: &Params<'_>, writer: Option<&'l Device>) -> &'l str {
    let tagged = || params.tags.iter().find_map(|tag| line.tag(tag));
    match writer {
        None => tagged().unwrap_or_default(),
        Some(writer) if writer.is_gateway => tagged().unwrap_or(writer.id.as_str()),
        Some(writer) => writer.id.as_str(),
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    if kept.len() + bytes.len() <= KEPT_BYTES {
        kept.extend_from_slice(bytes);
    }
}
