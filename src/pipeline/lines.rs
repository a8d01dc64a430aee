//! Line protocol whose lines name their devices: each line goes to its own.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use foldhash::{HashMap, HashMapExt as _};
use onemap_model::{Device, DeviceId, DivisionCode, Frame, Reach, Refusal};
use onemap_wire::Message;
use onemap_wire::line::{Line, Params, Place, Reader};
use onemap_wire::message::Refused;

use super::fold::{Fold, Said};

const POISON: &str = "no holder of this lock panics";
/// Bytes of refused lines in one entry of the quarantine; more make more entries. A longer line is one by itself.
const KEPT_BYTES: usize = 64 << 10;

/// The lines of one device.
struct Part {
    device: Arc<Device>,
    message: Message,
    lines: Vec<Place>,
    /// For each sample and each refusal of the message, which of the lines it is of.
    of_samples: Vec<usize>,
    of_refused: Vec<usize>,
}

impl Part {
    fn of(device: Arc<Device>) -> Self {
        Self {
            device,
            message: Message::default(),
            lines: Vec::new(),
            of_samples: Vec::new(),
            of_refused: Vec::new(),
        }
    }
}

/// A line, or something of it, that is refused.
struct Fault {
    why: Refused,
    range: Range<usize>,
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
        // A child may be called by two names.
        let mut part_of: HashMap<DeviceId, usize> = HashMap::new();
        let mut faults = Vec::new();
        let mut reader = Reader::new(frame.payload);
        while let Some((place, line)) = reader.next_line() {
            let line = match line {
                Ok(line) => line,
                Err(bad) => {
                    faults.push(Fault {
                        why: Refused::new(Refusal::BrokenLine, bad.to_string()),
                        range: place.range,
                    });
                    continue;
                }
            };
            let name = name_of(line, params, writer.as_deref());
            let found = match known.get(name) {
                Some(found) => found.clone(),
                None => {
                    let found = self
                        .line_device(position, name, params, writer.as_ref())
                        .map(|device| {
                            *part_of.entry(device.id.clone()).or_insert_with(|| {
                                parts.push(Part::of(device));
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
                    let part = &mut parts[at];
                    line.add_to(&mut part.message, place.number, params.precision, profile);
                    let line = part.lines.len();
                    part.of_samples.resize(part.message.samples.len(), line);
                    part.of_refused.resize(part.message.refused.len(), line);
                    part.lines.push(place);
                }
                Err(why) => {
                    let detail = format!("line {}: {}", place.number, why.detail);
                    faults.push(Fault {
                        why: Refused::new(why.refusal, detail),
                        range: place.range,
                    });
                }
            }
        }
        let mut ordinal = self.refuse_lines(0, position, frame, &faults);
        for part in parts {
            let Part {
                device,
                message,
                lines,
                of_samples,
                of_refused,
            } = part;
            let own = Frame {
                device: device.id.as_str(),
                ..*frame
            };
            let said = Said {
                frame,
                part: &own,
                device: &device,
                profile: device.profile.as_ref(),
                ordinal,
            };
            let admitted = self.admitted(position, &said, message);
            let n_read = of_refused.len();
            let mut faults = Vec::with_capacity(admitted.refused.len());
            for (i, why) in admitted.refused.iter().enumerate() {
                let of_sample = i
                    .checked_sub(n_read)
                    .and_then(|i| admitted.refused_samples.get(i));
                let line = match of_sample {
                    Some(sample) => of_samples.get(*sample),
                    None => of_refused.get(i),
                };
                match line {
                    Some(line) => {
                        let Place { number, range } = &lines[*line];
                        let detail = match of_sample {
                            Some(_) => format!("line {number}: {}", why.detail),
                            None => why.detail.clone(),
                        };
                        faults.push(Fault {
                            why: Refused::new(why.refusal, detail),
                            range: range.clone(),
                        });
                    }
                    // The device is refused, and with it each of its lines.
                    None => faults.extend(lines.iter().map(|Place { number, range }| Fault {
                        why: Refused::new(
                            why.refusal,
                            format!("line {number}: {} is {}", device.id, why.refusal.label()),
                        ),
                        range: range.clone(),
                    })),
                }
            }
            ordinal = self.refuse_lines(ordinal, position, &own, &faults);
            self.take(&said, admitted)?;
        }
        Ok(())
    }

    /// Keeps refused lines of one sender: of each reason its lines in their order, in entries of bounded size.
    /// `frame` holds the whole body; gives the number of the frame's next refusal.
    fn refuse_lines(&mut self, first: u32, position: u64, frame: &Frame<'_>, faults: &[Fault]) -> u32 {
        let mut reasons: Vec<Refusal> = Vec::new();
        for Fault { why, .. } in faults {
            if !reasons.contains(&why.refusal) {
                reasons.push(why.refusal);
            }
        }
        let mut ordinal = first;
        for reason in reasons {
            let mut of_it: Vec<&Fault> = faults.iter().filter(|f| f.why.refusal == reason).collect();
            of_it.sort_by_key(|fault| fault.range.start);
            let mut rest = of_it.as_slice();
            while let Some(start) = rest.first() {
                let (mut payload, mut details) = (Vec::new(), Vec::new());
                let mut last = None;
                for fault in rest {
                    let bytes = &frame.payload[fault.range.clone()];
                    if last != Some(fault.range.start) {
                        if fault.range.start != start.range.start && payload.len() + bytes.len() > KEPT_BYTES
                        {
                            break;
                        }
                        payload.extend_from_slice(bytes);
                        last = Some(fault.range.start);
                    }
                    details.push(fault.why.detail.as_str());
                }
                let entry = Frame {
                    payload: &payload,
                    ..*frame
                };
                self.refuse_all((position, ordinal), &entry, reason, &details);
                ordinal += 1;
                rest = &rest[details.len()..];
            }
        }
        ordinal
    }

    /// The device of a line, if the writer may write for it.
    fn line_device(
        &self,
        position: u64,
        name: &str,
        params: &Params<'_>,
        writer: Option<&Arc<Device>>,
    ) -> Result<Arc<Device>, Refused> {
        if let Some(writer) = writer {
            if writer.id.as_str() == name {
                return Ok(writer.clone());
            }
            return self.known_child(position, writer, name);
        }
        let unknown = |detail: String| Refused::new(Refusal::UnknownDevice, detail);
        if name.is_empty() {
            let tags = params.tags.join("`, `");
            return Err(unknown(format!("no tag `{tags}` names a device")));
        }
        let register = self.views.register.read().expect(POISON);
        // What the writer may not see is answered like what is not there.
        let division = params.division.map(DivisionCode::new);
        let is_covered = |device: &Device| match division.clone().transpose() {
            Ok(division) => {
                let departments = params.departments.clone();
                let reach = Reach {
                    division,
                    departments,
                };
                reach.covers(device.belongs(register.divisions.get(&device.id)))
            }
            Err(_) => false,
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
