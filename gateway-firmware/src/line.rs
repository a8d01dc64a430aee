//! One connection to Modbus slaves: polls each at its own fixed rate.
//!
//! Slaves that share an address share the connection, one request at a time. Every time-out and every
//! transport error drops the connection, because a late answer would be taken for the next one's; a
//! Modbus exception keeps it. A slave that does not answer is left alone for a growing while, so that it
//! never holds up the others on its line for more than its time-out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use onemap_log::{Batch, LogError};
use onemap_model::Timestamp;
use onemap_wire::modbus::{Read, Table, decode_bits, decode_registers};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_modbus::client::{Context, Reader, tcp};
use tokio_modbus::slave::{Slave as Unit, SlaveContext};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Slave;
use crate::record::{KIND_POLL, Poll};
use crate::schedule::{BackOff, Schedule, chance};
use crate::spool::Spool;
use crate::status::{Counters, add, count};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// An append that waits longer than this is reported: the spool is full or its disk hangs.
const SPOOL_PATIENCE: Duration = Duration::from_secs(1);

/// A slave with what is known of it at the moment.
struct Polled {
    slave: Slave,
    plan: Vec<Read>,
    schedule: Schedule,
    back_off: BackOff,
    /// What was last said about it in the log; one line a change.
    trouble: Option<String>,
}

/// Why a poll gave nothing.
enum Failure {
    /// The connection must go.
    Broken(String),
    /// The slave refuses; the connection is fine.
    Exception(String),
}

/// The slaves of one address.
pub struct Line {
    address: String,
    polled: Vec<Polled>,
    connecting: BackOff,
    spool: Spool,
    counters: Arc<Counters>,
}

impl Line {
    /// A line of slaves that all have the first one's address.
    pub fn new(slaves: Vec<Slave>, spool: Spool, counters: Arc<Counters>) -> Self {
        let start = Instant::now();
        let address = slaves.first().map_or_else(String::new, |s| s.address.clone());
        let polled = slaves
            .into_iter()
            .map(|slave| Polled {
                plan: slave.map.read_plan(),
                schedule: Schedule::new(start, slave.map.poll),
                back_off: BackOff::new(BACK_OFF.0, BACK_OFF.1),
                trouble: None,
                slave,
            })
            .collect();
        Self {
            address,
            polled,
            connecting: BackOff::new(BACK_OFF.0, BACK_OFF.1),
            spool,
            counters,
        }
    }

    /// Polls until `stop`.
    ///
    /// # Errors
    /// When the spool has failed for good.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LogError> {
        stop.clone()
            .run_until_cancelled(self.poll_for_ever())
            .await
            .unwrap_or(Ok(()))
    }

    async fn poll_for_ever(&mut self) -> Result<(), LogError> {
        let mut context: Option<Context> = None;
        loop {
            let Some(next) = (0..self.polled.len()).min_by_key(|i| self.polled[*i].schedule.due()) else {
                return Ok(());
            };
            sleep_until(self.polled[next].schedule.due().into()).await;
            let connected = match context.take() {
                Some(connected) => Some(connected),
                None => self.connect().await,
            };
            let Some(mut connected) = connected else { continue };
            let polled = &mut self.polled[next];
            let outcome = poll(polled, &mut connected, &self.counters).await;
            match outcome {
                Ok(reading) => {
                    self.connecting.reset();
                    polled.works();
                    count(&self.counters.polls);
                    context = Some(connected);
                    let missed_before = polled.schedule.used(Instant::now());
                    add(&self.counters.missed, missed_before);
                    spool(&self.spool, &self.counters, polled, reading).await?;
                }
                Err(Failure::Exception(what)) => {
                    self.connecting.reset();
                    polled.fails(what);
                    context = Some(connected);
                    add(&self.counters.missed, polled.schedule.used(Instant::now()));
                }
                Err(Failure::Broken(what)) => {
                    drop(connected);
                    polled.fails(what);
                    let pause = polled.back_off.pause(chance());
                    let missed = polled.schedule.used(Instant::now())
                        + polled.schedule.skip_to(Instant::now() + pause);
                    add(&self.counters.missed, missed);
                }
            }
        }
    }

    /// Connects, or lets every slave of the line rest for a while.
    async fn connect(&mut self) -> Option<Context> {
        let connecting = timeout(CONNECT_WITHIN, TcpStream::connect(&self.address)).await;
        let failure = match connecting {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Some(tcp::attach(stream)),
                Err(e) => e.to_string(),
            },
            Ok(Err(e)) => e.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        count(&self.counters.transport_errors);
        let rested = Instant::now() + self.connecting.pause(chance());
        for polled in &mut self.polled {
            polled.fails(format!("no connection to {}: {failure}", self.address));
            add(&self.counters.missed, polled.schedule.skip_to(rested));
        }
        None
    }
}

impl Polled {
    fn works(&mut self) {
        self.back_off.reset();
        if self.trouble.take().is_some() {
            info!(slave = %self.slave.name, "slave `{}` answers again", self.slave.name);
        }
    }
    fn fails(&mut self, what: String) {
        if self.trouble.as_ref() != Some(&what) {
            warn!(slave = %self.slave.name, "slave `{}`: {what}", self.slave.name);
            self.trouble = Some(what);
        }
    }
}

/// One poll: every request of the plan. Values of answered requests are kept when a later one meets an
/// exception.
async fn poll(polled: &Polled, context: &mut Context, counters: &Counters) -> Result<Poll, Failure> {
    let slave = &polled.slave;
    context.set_slave(Unit(slave.unit));
    let mut values = Vec::new();
    let mut refused = None;
    for read in &polled.plan {
        let decoded = match timeout(slave.timeout, request(context, slave, *read)).await {
            Err(_) => {
                count(&counters.timeouts);
                return Err(Failure::Broken(format!(
                    "no answer within {} ms",
                    slave.timeout.as_millis()
                )));
            }
            Ok(Err(e)) => {
                count(&counters.transport_errors);
                return Err(Failure::Broken(e.to_string()));
            }
            Ok(Ok(answered)) => answered,
        };
        match decoded {
            Ok(decoded) => values.extend(decoded),
            Err(exception) => {
                count(&counters.exceptions);
                refused = Some(format!(
                    "registers {} to {}: {exception}",
                    read.start,
                    read.start + (read.count - 1)
                ));
            }
        }
    }
    match refused {
        Some(what) if values.is_empty() => Err(Failure::Exception(what)),
        _ => Ok(Poll {
            at: Timestamp::from_system(SystemTime::now()),
            slave: slave.name.clone(),
            values,
        }),
    }
}

type Answer = Result<Vec<(onemap_model::Quantity, u16, f64)>, tokio_modbus::ExceptionCode>;

async fn request(context: &mut Context, slave: &Slave, read: Read) -> Result<Answer, tokio_modbus::Error> {
    let words = |words: Vec<u16>| decode_registers(&slave.map, read, &words);
    let bits = |bits: Vec<bool>| decode_bits(&slave.map, read, &bits);
    Ok(match read.table {
        Table::Holding => context
            .read_holding_registers(read.start, read.count)
            .await?
            .map(words),
        Table::Input => context
            .read_input_registers(read.start, read.count)
            .await?
            .map(words),
        Table::Coil => context.read_coils(read.start, read.count).await?.map(bits),
        Table::Discrete => context
            .read_discrete_inputs(read.start, read.count)
            .await?
            .map(bits),
    })
}

/// Gives a poll to the spool; waits while it is full and says so.
async fn spool(
    spool: &Spool,
    counters: &Counters,
    polled: &mut Polled,
    reading: Poll,
) -> Result<(), LogError> {
    let mut batch = Batch::new();
    batch.push(KIND_POLL, |out| reading.encode(out));
    let append = spool.log.append(&batch);
    tokio::pin!(append);
    let appended = match timeout(SPOOL_PATIENCE, &mut append).await {
        Ok(appended) => appended,
        Err(_) => {
            error!(
                slave = %reading.slave, max_bytes = spool.max_bytes,
                "spool_full: polling of `{}` stands still until the server has stored what waits", reading.slave
            );
            let appended = append.await;
            add(&counters.spool_full, polled.schedule.skip_to(Instant::now()));
            info!(slave = %reading.slave, "there is room in the spool again, polling of `{}` goes on", reading.slave);
            appended
        }
    };
    appended?;
    add(&counters.spooled_bytes, batch.bytes() as u64);
    Ok(())
}
