//! A station's connection: TCP, or datagrams, with what goes wrong on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::faults::{Faults, Noise};
use super::{Out, Speaker, Tally, now};

/// Between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Connections of many stations are made one behind the other.
const STAGGER: Duration = Duration::from_micros(500);

/// A datagram of the centre is not longer.
const LARGEST: usize = 16 << 10;

/// What a station speaks over.
enum Link {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Link {
    async fn connect(to: &str, is_udp: bool) -> io::Result<Self> {
        if !is_udp {
            let stream = TcpStream::connect(to).await?;
            let _ = stream.set_nodelay(true);
            return Ok(Self::Tcp(stream));
        }
        let Some(address) = tokio::net::lookup_host(to).await?.next() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(address).await?;
        Ok(Self::Udp(socket))
    }

    /// Frames that leave together; by datagrams each in its own.
    async fn write(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(&frames.concat()).await,
            Self::Udp(socket) => {
                for frame in frames.iter().filter(|frame| !frame.is_empty()) {
                    socket.send(frame).await?;
                }
                Ok(())
            }
        }
    }

    async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read_buf(buffer).await,
            Self::Udp(socket) => {
                buffer.resize(LARGEST, 0);
                let n = socket.recv(buffer).await?;
                buffer.truncate(n);
                Ok(n)
            }
        }
    }

    async fn shutdown(&mut self) {
        if let Self::Tcp(stream) = self {
            let _ = stream.shutdown().await;
        }
    }
}

pub(super) struct Line {
    to: Arc<str>,
    is_udp: bool,
    faults: Arc<Faults>,
    noise: Noise,
    number: usize,
    started: Instant,
    n_connects: u64,
    n_given_up: u64,
}

enum End {
    Stop,
    Done,
    Broken,
    GivenUp,
    /// The line is away until then.
    Silence(Instant),
}

impl Line {
    pub(super) fn new(to: Arc<str>, is_udp: bool, faults: Arc<Faults>, seed: u64, number: usize) -> Self {
        Self {
            to,
            is_udp,
            faults,
            noise: Noise::new(seed),
            number,
            started: Instant::now(),
            n_connects: 0,
            n_given_up: 0,
        }
    }

    /// Until the stop, or until the station has no more to do.
    pub(super) async fn run(mut self, mut speaker: Box<dyn Speaker>, stop: CancellationToken) -> Tally {
        let mut pause = FIRST_PAUSE;
        let mut away_until = Instant::now() + STAGGER * self.number as u32;
        loop {
            if !self.stay_away(&mut *speaker, away_until, &stop).await {
                break;
            }
            let connecting = timeout(CONNECT_WITHIN, Link::connect(&self.to, self.is_udp));
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                connected = connecting => connected,
            };
            let end = match stream {
                Ok(Ok(stream)) => {
                    self.n_connects += 1;
                    let since = Instant::now();
                    let end = self.talk(&mut *speaker, stream, &stop).await;
                    if since.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    end
                }
                Ok(Err(error)) => {
                    debug!("station {} cannot connect: {error}", self.number);
                    End::Broken
                }
                Err(_) => End::Broken,
            };
            away_until = match end {
                End::Stop | End::Done => break,
                End::Silence(until) => until,
                End::Broken | End::GivenUp => {
                    self.n_given_up += u64::from(matches!(end, End::GivenUp));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Instant::now() + pause
                }
            };
        }
        Tally {
            n_connects: self.n_connects,
            n_given_up: self.n_given_up,
            n_faults: self.noise.n_faults,
            ..speaker.tally()
        }
    }

    /// Without a connection until then; whether to go on.
    async fn stay_away(
        &mut self,
        speaker: &mut dyn Speaker,
        until: Instant,
        stop: &CancellationToken,
    ) -> bool {
        while Instant::now() < until {
            let wake = until.min(Instant::now() + wait_for(speaker.next(now())));
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep_until(wake) => {}
            }
            speaker.tick(now(), false, &mut Out::default());
        }
        !stop.is_cancelled()
    }

    async fn talk(&mut self, speaker: &mut dyn Speaker, mut stream: Link, stop: &CancellationToken) -> End {
        let mut buffer = Vec::with_capacity(1024);
        let mut out = Out::default();
        speaker.connected(now(), &mut out);
        loop {
            speaker.tick(now(), true, &mut out);
            let frames = std::mem::take(&mut out.frames);
            let mut frames: Vec<Vec<u8>> = frames
                .into_iter()
                .map(|frame| self.noise.send(&self.faults, vec![frame]))
                .collect();
            if frames.iter().all(Vec::is_empty) {
                frames = vec![self.noise.rest()];
            }
            if frames.iter().any(|frame| !frame.is_empty()) && stream.write(&frames).await.is_err() {
                return End::Broken;
            }
            if out.hang_up {
                return End::GivenUp;
            }
            if speaker.is_done() {
                stream.shutdown().await;
                return End::Done;
            }
            let silence = self.silence();
            if let Some((_, back)) = silence.filter(|(from, _)| *from <= Instant::now()) {
                return End::Silence(back);
            }
            let mut wait = wait_for(speaker.next(now()));
            if let Some((from, _)) = silence {
                wait = wait.min(from.saturating_duration_since(Instant::now()));
            }
            buffer.clear();
            tokio::select! {
                () = stop.cancelled() => {
                    stream.shutdown().await;
                    return End::Stop;
                }
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return End::Broken,
                    Ok(_) if self.noise.is_deaf(&self.faults) => {}
                    Ok(_) => speaker.heard(now(), &buffer, &mut out),
                },
                () = sleep(wait) => {}
            }
        }
    }

    /// The silence that is or comes next: its beginning and its end. Stations are silent at different times.
    fn silence(&self) -> Option<(Instant, Instant)> {
        let (long, every) = self.faults.silence?;
        let phase = every.mul_f64(0.5 + 0.5 * (self.number as f64 * 0.618).fract());
        let first = self.started + phase;
        let n_before = Instant::now()
            .saturating_duration_since(first)
            .as_secs_f64()
            .div_euclid(every.as_secs_f64());
        let from = first + every.mul_f64(n_before);
        match Instant::now() < from + long {
            true => Some((from, from + long)),
            false => Some((from + every, from + every + long)),
        }
    }
}

fn wait_for(next: Timestamp) -> Duration {
    Duration::from_millis((next.ms() - now().ms()).clamp(0, 3_600_000) as u64)
}
