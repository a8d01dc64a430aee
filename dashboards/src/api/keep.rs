//! Frames that come in by HTTP: answered when the journal has them durably.

use onemap_log::Batch;
use onemap_model::record::{KIND_FRAME, KIND_REFUSED, RefusedFrame};
use onemap_model::{Frame, Refusal, Source};

use crate::error::Problem;
use crate::views::Views;

/// Bytes that are kept of what is refused at the door.
const KEPT_BYTES: usize = 4096;

/// What a door knows of a request's body.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<'a> {
    /// Whose it is; empty when nobody's, or several devices'.
    pub(crate) device: &'a str,
    pub(crate) peer: &'a str,
    /// Never with a token in it.
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
}

impl<'a> Arrived<'a> {
    fn frame(&self, views: &Views, refused: Option<Refusal>, payload: &'a [u8]) -> Frame<'a> {
        Frame {
            received_at: views.now(),
            source: Source::Http,
            refused,
            qos: 0,
            retain: false,
            device: self.device,
            peer: self.peer,
            topic: self.topic,
            payload,
        }
    }

    /// Keeps the frame; gives its journal position once it is durable.
    pub(crate) async fn keep(&self, views: &Views) -> Result<u64, Problem> {
        let frame = self.frame(views, None, self.payload);
        let mut batch = Batch::new();
        batch
            .try_push(KIND_FRAME, |out| frame.encode(out))
            .map_err(|_| Problem::too_large("the body is larger than one record of the journal"))?;
        let position = views
            .log
            .append(&batch)
            .await
            .map_err(|e| Problem::unavailable(e.to_string()))?;
        views
            .log
            .wait_durable(position)
            .await
            .map_err(|e| Problem::unavailable(e.to_string()))?;
        Ok(position)
    }

    /// Counts a refusal at the door and keeps the first bytes of what was refused.
    pub(crate) async fn refuse(&self, views: &Views, refusal: Refusal, detail: &str) -> Result<(), Problem> {
        views.counters.refuse(refusal);
        let kept = &self.payload[..self.payload.len().min(KEPT_BYTES)];
        let frame = self.frame(views, Some(refusal), kept);
        let mut batch = Batch::new();
        batch.push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
        views
            .log
            .append(&batch)
            .await
            .map_err(|e| Problem::unavailable(e.to_string()))?;
        Ok(())
    }
}
