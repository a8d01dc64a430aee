//! Callbacks of operators' platforms: taken apart by the source's mapping, each message folded as its device's.

use anyhow::Result;
use onemap_model::{Frame, Refusal};
use onemap_wire::message::Refused;

use super::fold::{Fold, Said};

impl Fold<'_> {
    pub(super) fn pushed(&mut self, position: u64, frame: &Frame<'_>, source: &str) -> Result<()> {
        let sources = self.views.sources.read().expect("no holder of this lock panics");
        let Some(source) = sources.get(source).cloned() else {
            drop(sources);
            self.refuse(position, 0, frame, Refusal::UnknownSource, "");
            return Ok(());
        };
        drop(sources);
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
            let profile = source.profile.as_ref().or(device.profile.as_ref());
            let message = match self.profile(profile) {
                Ok(profile) => pushed.decode(profile),
                Err(missing) => {
                    refused.push(missing);
                    continue;
                }
            };
            // What is refused of one message is kept as the device sent it.
            let topic = format!("d/{}/telemetry", device.id);
            let part = Frame {
                device: device.id.as_str(),
                topic: &topic,
                payload: &pushed.payload,
                ..*frame
            };
            let said = Said {
                frame,
                part: &part,
                device: &device,
                profile,
                ordinal,
            };
            ordinal = self.said(position, &said, message)?;
        }
        self.refuse_from(ordinal, position, frame, &refused);
        Ok(())
    }
}
