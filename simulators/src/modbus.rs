//! Simulated Modbus TCP slaves: meters that count and measure, for tests and the demo.
//!
//! | registers (input and holding alike) | type | what |
//! |---|---|---|
//! | 0 … 19 | u16 | counters: 0, 1, 2 … one step each `step`, wrapping at 65,536 |
//! | 20 | u32, big-endian words | the same count, not wrapping |
//! | 100 | u16, 0.1 V | voltage |
//! | 101 | u16, 0.01 A | current |
//! | 102 | i32, W | power |
//! | 104 | u32, Wh | energy |
//!
//! Any other address answers with exception 2 (illegal data address), writing with exception 1.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::prng::{seed_of, wave};

/// Number of counting registers.
pub const N_COUNTERS: u16 = 20;

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct ModbusConfig {
    /// Address of the first slave.
    pub listen: SocketAddr,
    /// How many slaves, each on its own port.
    pub slaves: u16,
    /// One step of the counters.
    pub step: Duration,
    /// Answers come so much later.
    pub delay: Duration,
}

/// One slave's registers: a pure function of the time since its start.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Which slave, for its noise.
    pub number: u16,
    /// One step of the counters.
    pub step: Duration,
}

impl Meter {
    /// One register after a time; `None` for an address that does not exist.
    pub fn register(&self, address: u16, since: Duration) -> Option<u16> {
        let count = since.as_nanos() / self.step.as_nanos().max(1);
        let seconds = since.as_secs_f64();
        let noise = |channel: u64, period_s: f64| {
            wave(seed_of(&[u64::from(self.number), channel]), seconds, period_s)
        };
        let voltage = 228.0 + 3.0 * noise(1, 40.0);
        let current = 12.0 + 5.0 * noise(2, 90.0);
        let high = |n: u32| (n >> 16) as u16;
        let low = |n: u32| (n & 0xffff) as u16;
        let power = (voltage * current) as u32;
        let energy = (228.0 * 12.0 * seconds / 3600.0) as u32;
        Some(match address {
            0..N_COUNTERS => (count % 65_536) as u16,
            20 => high((count % (1 << 32)) as u32),
            21 => low((count % (1 << 32)) as u32),
            100 => (voltage * 10.0) as u16,
            101 => (current * 100.0) as u16,
            102 => high(power),
            103 => low(power),
            104 => high(energy),
            105 => low(energy),
            _ => return None,
        })
    }

    fn read(&self, address: u16, n: u16, since: Duration) -> Result<Vec<u16>, ExceptionCode> {
        if n == 0 || n > 125 {
            return Err(ExceptionCode::IllegalDataValue);
        }
        (0..n)
            .map(|i| {
                address
                    .checked_add(i)
                    .and_then(|a| self.register(a, since))
                    .ok_or(ExceptionCode::IllegalDataAddress)
            })
            .collect()
    }
}

struct Slave {
    meter: Meter,
    started: Instant,
    delay: Duration,
}

impl tokio_modbus::server::Service for Slave {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExceptionCode>> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let (meter, started, delay) = (self.meter, self.started, self.delay);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            let since = started.elapsed();
            match request {
                Request::ReadInputRegisters(address, n) => {
                    meter.read(address, n, since).map(Response::ReadInputRegisters)
                }
                Request::ReadHoldingRegisters(address, n) => {
                    meter.read(address, n, since).map(Response::ReadHoldingRegisters)
                }
                _ => Err(ExceptionCode::IllegalFunction),
            }
        })
    }
}

/// Binds the slaves: the address of each, and the listeners.
async fn bind(config: &ModbusConfig) -> anyhow::Result<Vec<(SocketAddr, TcpListener)>> {
    let mut listeners = Vec::new();
    for i in 0..config.slaves {
        let port = match config.listen.port() {
            0 => 0,
            first => first.checked_add(i).context("the slaves' ports run over 65535")?,
        };
        let ip: IpAddr = config.listen.ip();
        let address = SocketAddr::new(ip, port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        listeners.push((listener.local_addr()?, listener));
    }
    Ok(listeners)
}

/// Runs the slaves until `stop`; prints `{"ready":true,"slaves":["127.0.0.1:40001",…]}`.
///
/// # Errors
/// When a port cannot be had.
pub async fn run(config: ModbusConfig, stop: CancellationToken) -> anyhow::Result<()> {
    let listeners = bind(&config).await?;
    let addresses: Vec<String> = listeners.iter().map(|(address, _)| address.to_string()).collect();
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for (i, (_, listener)) in listeners.into_iter().enumerate() {
        let meter = Meter {
            number: i as u16 + 1,
            step: config.step,
        };
        tasks.spawn(serve(listener, meter, started, config.delay, stop.clone()));
    }
    println!("{}", json!({ "ready": true, "slaves": addresses }));
    while let Some(ended) = tasks.join_next().await {
        ended.context("a slave's task ended badly")??;
    }
    Ok(())
}

async fn serve(
    listener: TcpListener,
    meter: Meter,
    started: Instant,
    delay: Duration,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let server = Server::new(listener);
    let new_service = |_: SocketAddr| {
        Ok(Some(Arc::new(Slave {
            meter,
            started,
            delay,
        })))
    };
    let on_connected = |stream: TcpStream, peer: SocketAddr| async move {
        stream.set_nodelay(true)?;
        accept_tcp_connection(stream, peer, new_service)
    };
    let stopped = Box::pin(async move { stop.cancelled().await });
    let on_error = |e: std::io::Error| debug!("a Modbus connection ended: {e}");
    tokio::select! {
        ended = server.serve(&on_connected, on_error) => ended.context("a slave cannot accept any more"),
        () = stopped => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const METER: Meter = Meter {
        number: 1,
        step: Duration::from_millis(100),
    };

    #[test]
    fn counters_step_ten_times_a_second_and_wrap() {
        let at = |ms| METER.register(7, Duration::from_millis(ms)).unwrap();
        assert_eq!((at(0), at(99), at(100), at(1_050)), (0, 0, 1, 10));
        assert_eq!(at(65_536 * 100), 0);
        assert_eq!(
            METER.read(20, 2, Duration::from_millis(65_537 * 100)),
            Ok(vec![1, 1])
        );
    }

    #[test]
    fn what_does_not_exist_is_an_exception() {
        assert_eq!(
            METER.read(0, 126, Duration::ZERO),
            Err(ExceptionCode::IllegalDataValue)
        );
        assert_eq!(
            METER.read(99, 2, Duration::ZERO),
            Err(ExceptionCode::IllegalDataAddress)
        );
        assert_eq!(
            METER.read(u16::MAX, 2, Duration::ZERO),
            Err(ExceptionCode::IllegalDataAddress)
        );
        assert_eq!(
            METER.read(100, 6, Duration::from_secs(3600)).map(|r| r.len()),
            Ok(6)
        );
    }
}
