//! Callbacks of operators' platforms: taken apart by the source's mapping, each message folded as its device's.

use anyhow::Result;
use onemap_model::{Device, Frame, Refusal, Timestamp};
use onemap_wire::message::Refused;
use onemap_wire::push::{Pushed, Source, of_part_topic, part_topic};

use super::fold::{Fold, Said};

impl Fold<'_> {
    pub(super) fn pushed(&mut self, position: u64, frame: &Frame<'_>, source: &str) -> Result<()> {
        let part = of_part_topic(frame.topic);
        let source = part.map_or(source, |(source, _)| source);
        let sources = self.views.sources.read().expect("no holder of this lock panics");
        let Some(source) = sources.get(source).cloned() else {
            drop(sources);
            self.refuse(position, 0, frame, Refusal::UnknownSource, "");
            return Ok(());
        };
        drop(sources);
        if let Some((_, at)) = part {
            return self.pushed_again(position, frame, &source, at);
        }
        let messages = match source.messages(frame.payload) {
            Ok(messages) => messages,
            Err(refused) => {
                self.refuse(position, 0, frame, refused.refusal, &refused.detail);
                return Ok(());
            }
        };
        let mut refused = Vec::new();
        let mut ordinal = 0;
        for pushed in messages {
            let pushed = match pushed {
                Ok(pushed) => pushed,
                Err(why) => {
                    refused.push(why);
                    continue;
                }
            };
            let Some(device) = self.device(&pushed.device) else {
                let shown: String = pushed.device.chars().take(Refused::QUOTED).collect();
                let detail = format!("no device is called `{}`", shown.escape_debug());
                refused.push(Refused::new(Refusal::UnknownDevice, detail));
                continue;
            };
            match self.pushed_one(position, frame, &source, &pushed, &device, ordinal)? {
                Ok(next) => ordinal = next,
                Err(missing) => refused.push(missing),
            }
        }
        self.refuse_from(ordinal, position, frame, &refused);
        Ok(())
    }

    /// One message of a call, as the quarantine kept it.
    fn pushed_again(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        source: &Source,
        at: Option<Timestamp>,
    ) -> Result<()> {
        let Some(device) = self.device(frame.device) else {
            self.refuse(position, 0, frame, Refusal::UnknownDevice, "");
            return Ok(());
        };
        let pushed = Pushed {
            device: frame.device.to_owned(),
            at,
            payload: frame.payload.to_vec(),
        };
        if let Err(missing) = self.pushed_one(position, frame, source, &pushed, &device, 0)? {
            self.refuse(position, 0, frame, missing.refusal, &missing.detail);
        }
        Ok(())
    }

    /// What of one message is refused is kept as the device sent it, with the platform's time.
    fn pushed_one(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        source: &Source,
        pushed: &Pushed,
        device: &Device,
        ordinal: u32,
    ) -> Result<Result<u32, Refused>> {
        let profile = source.profile.as_ref().or(device.profile.as_ref());
        let message = match self.profile(profile) {
            Ok(profile) => pushed.decode(profile),
            Err(missing) => return Ok(Err(missing)),
        };
        let topic = part_topic(source.id.as_str(), pushed.at);
        let part = Frame {
            device: device.id.as_str(),
            topic: &topic,
            payload: &pushed.payload,
            ..*frame
        };
        let said = Said {
            frame,
            part: &part,
            device,
            profile,
            ordinal,
        };
        self.said(position, &said, message).map(Ok)
    }
}
