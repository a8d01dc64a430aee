//! Folds what concerns commands: orders and receipts, answers, and the questions that devices ask.

use std::time::Duration;

use onemap_dashboards::rpc;
use onemap_ingest::downlink::message::{self, Upward};
use onemap_ingest::downlink::{Answered, Change};
use onemap_model::{CommandRecord, CommandStep, Device, DeviceState, Frame, Refusal};

use super::fold::{Fold, Reply};

/// A question is answered within this time, or not at all: whoever asked has given up.
const FRESH: Duration = Duration::from_secs(60);

const POISON: &str = "no holder of this lock panics";

impl Fold<'_> {
    /// An order, a sending, a receipt, a cancellation.
    pub(super) fn command(&mut self, position: u64, record: &CommandRecord) {
        let mut changes = Vec::new();
        let now = *self.now;
        {
            let mut work = self.views.commands.work();
            work.book.step(position, now, record, &mut changes);
            if let CommandStep::Created(order) = &record.what {
                work.arrived(position, &order.device);
            }
        }
        self.changed(changes);
    }

    /// What has run out is expired.
    pub(super) fn expire(&mut self, position: u64) {
        let mut changes = Vec::new();
        let now = *self.now;
        self.views.commands.work().book.tick(position, now, &mut changes);
        self.changed(changes);
    }

    pub(super) fn changed(&mut self, changes: Vec<Change>) {
        let rows = changes.into_iter().map(|change| (change.command, change.fact));
        self.pending.ledger.commands.extend(rows);
    }

    /// Takes a frame that answers a command or asks the server; gives whether it was one.
    pub(super) fn upward(&mut self, position: u64, frame: &Frame<'_>, device: &Device) -> bool {
        let Some(read) = message::upward(frame.device, frame.topic, frame.payload) else {
            return false;
        };
        if device.state == DeviceState::Retired {
            self.refuse(position, 0, frame, Refusal::Retired, "");
            return true;
        }
        match read {
            Err((refusal, detail)) => self.refuse(position, 0, frame, refusal, &detail),
            Ok(Upward::Answer {
                device: of,
                id,
                answer,
            }) => {
                let child = self.child_id(&of, frame.device);
                let of = child.unwrap_or(of);
                if of != frame.device && !self.is_child(&of, frame.device) {
                    let detail = format!("`{of}` is no child of gateway `{}`", frame.device);
                    self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
                    return true;
                }
                let mut changes = Vec::new();
                let now = *self.now;
                let answered =
                    self.views
                        .commands
                        .work()
                        .book
                        .answer(position, now, &of, id, answer, &mut changes);
                self.changed(changes);
                if let Answered::Stray(detail) = answered {
                    self.refuse(position, 0, frame, Refusal::StrayAnswer, &detail);
                }
            }
            Ok(Upward::Request { n, method, .. }) => self.reply(frame, device, n, &method),
        }
        true
    }

    /// The id of a gateway's child that it calls so.
    fn child_id(&self, name: &str, gateway: &str) -> Option<String> {
        let register = self.views.register.read().expect(POISON);
        register
            .view
            .child(gateway, name)
            .map(|child| child.id.to_string())
    }

    fn is_child(&self, device: &str, gateway: &str) -> bool {
        let register = self.views.register.read().expect(POISON);
        let known = register.view.devices.get(device);
        known.is_some_and(|child| child.gateway.as_ref().is_some_and(|g| g.as_str() == gateway))
    }

    /// The answer follows from the present, not from the journal: it changes no projection, and a replay
    /// has nobody to send it to.
    fn reply(&mut self, frame: &Frame<'_>, device: &Device, n: u64, method: &str) {
        if self.views.now().since(frame.received_at) > FRESH {
            return;
        }
        self.pending.replies.push(Reply {
            topic: format!("d/{}/rpc/response/{n}", device.id),
            payload: rpc::answer(self.views, device, method).to_string().into_bytes(),
            qos: 1,
        });
    }
}
