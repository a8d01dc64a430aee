//! A device's life: speak at a cadence, keep what is not acknowledged, reconnect with patience, do as it is
//! told.

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::mqtt::codec::Qos;
use crate::mqtt::{Incoming, Link, LinkError, Login, Outbox};
use crate::obey::{self, Deed, Obedience};
use crate::prng::{Prng, seed_of};

/// Messages that a device keeps while it is not connected; then the oldest goes.
const KEEPS: usize = 120;
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));

/// What makes one device speak.
pub struct Talker {
    /// Its connection.
    pub login: Login,
    /// When it speaks first.
    pub first: Instant,
    /// How often.
    pub every: Duration,
    /// Its next message (topic and payload), `None` while it is silent.
    pub speak: Box<dyn FnMut() -> Option<(String, Vec<u8>)> + Send>,
    /// Gets a new token after the server refused the old one. Blocks.
    pub renew: Box<dyn Fn() -> anyhow::Result<String> + Send + Sync>,
}

/// Runs a device until `stop`.
pub async fn talk(mut talker: Talker, stop: CancellationToken) {
    let mut outbox = Outbox::new(KEEPS);
    let mut obedience = Obedience::default();
    let id = talker.login.client_id.clone();
    let mut prng = Prng::new(id.bytes().fold(7, |seed, byte| seed_of(&[seed, u64::from(byte)])));
    let mut ticks = interval_at(talker.first.into(), talker.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut wait = BACK_OFF.0;
    loop {
        let (login, pause) = (talker.login.clone(), wait.mul_f64(prng.between(0.0, 1.0)));
        let connecting = async move {
            sleep(pause).await;
            Link::connect(&login).await
        };
        tokio::pin!(connecting);
        let connected = loop {
            tokio::select! {
                link = &mut connecting => break link,
                _ = ticks.tick() => if let Some((topic, payload)) = (talker.speak)() { outbox.push(topic, payload) },
                () = stop.cancelled() => return,
            }
        };
        let ended = match connected {
            Ok(link) => {
                wait = BACK_OFF.0;
                match serve(link, &mut talker, &mut outbox, &mut obedience, &mut ticks, &stop).await {
                    Ok(()) => return,
                    Err(e) => e,
                }
            }
            Err(e) => e,
        };
        debug!(device.id = %id, "`{id}` lost its connection: {ended}");
        wait = (wait * 2).min(BACK_OFF.1);
        if ended.is_wrong_token() && !renew(&mut talker, &stop).await {
            return;
        }
    }
}

/// Gets a new token; `false` when it is time to stop.
async fn renew(talker: &mut Talker, stop: &CancellationToken) -> bool {
    let id = talker.login.client_id.clone();
    let renewed = tokio::task::block_in_place(|| (talker.renew)());
    match renewed {
        Ok(token) => talker.login.token = token,
        Err(e) => warn!(device.id = %id, "`{id}` gets no new token: {e:#}"),
    }
    !stop.is_cancelled()
}

/// One connection. `Ok` means that the device was asked to stop.
async fn serve(
    mut link: Link,
    talker: &mut Talker,
    outbox: &mut Outbox,
    obedience: &mut Obedience,
    ticks: &mut tokio::time::Interval,
    stop: &CancellationToken,
) -> Result<(), LinkError> {
    link.subscribe(u16::MAX, obey::FILTER).await?;
    for waiting in outbox.all() {
        link.publish(
            &waiting.topic,
            &waiting.payload,
            Qos::AtLeastOnce,
            waiting.id,
            waiting.sent,
        )
        .await?;
        waiting.sent = true;
    }
    let mut pings = tokio::time::interval(talker.login.keep_alive / 2);
    pings.reset();
    let mut reboots = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if let Some((topic, payload)) = (talker.speak)() {
                    outbox.push(topic, payload);
                }
                for waiting in outbox.unsent() {
                    link.publish(&waiting.topic, &waiting.payload, Qos::AtLeastOnce, waiting.id, false).await?;
                    waiting.sent = true;
                }
            }
            received = link.receive(|packet| match packet {
                Incoming::PubAck(id) => (Some(id), None, None),
                Incoming::Publish { id, topic, payload } => {
                    (None, id, obedience.take(topic, payload, talker.every))
                }
                _ => (None, None, None),
            }) => {
                let (done, to_acknowledge, told) = received?;
                if let Some(id) = done {
                    outbox.acknowledge(id);
                }
                if let Some(id) = to_acknowledge {
                    link.acknowledge(id).await?;
                }
                if let Some((topic, answer, deed)) = told {
                    outbox.push(topic, answer.to_string().into_bytes());
                    for waiting in outbox.unsent() {
                        link.publish(&waiting.topic, &waiting.payload, Qos::AtLeastOnce, waiting.id, false).await?;
                        waiting.sent = true;
                    }
                    match deed {
                        Deed::None => {}
                        Deed::Interval(every) => {
                            talker.every = every;
                            *ticks = interval_at(tokio::time::Instant::now() + every, every);
                            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                        }
                        Deed::Reboot => reboots = true,
                    }
                }
                // It has said what it had to say.
                if reboots && outbox.is_empty() {
                    link.disconnect().await;
                    return Err(LinkError::Closed);
                }
            }
            _ = pings.tick() => link.ping().await?,
            () = stop.cancelled() => {
                link.disconnect().await;
                return Ok(());
            }
        }
    }
}
