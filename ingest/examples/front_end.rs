//! The MQTT front end alone with a journal, to be measured beside other brokers.
//!
//! `front_end LISTEN JOURNAL_DIR TOKENS_FILE [THREADS]`; line N of the file is the token of device
//! `dev-N`. Prints its address, and its counters when standard input ends.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::SystemTime;

use onemap_ingest::mqtt::Holder;
use onemap_ingest::{Auth, Counters, Fanout, MqttConfig, MqttServer};
use onemap_log::{Config, Log};
use onemap_model::{DeviceId, Timestamp};
use tokio_util::sync::CancellationToken;

struct Tokens(HashMap<String, DeviceId>);

impl Auth for Tokens {
    fn device(&self, token: &str) -> Option<Holder> {
        let device = self.0.get(token)?.clone();
        Some(Holder {
            device,
            is_gateway: false,
        })
    }

    fn certificate(&self, names: &[String]) -> Option<Holder> {
        let mut known = names.iter().filter_map(|name| DeviceId::new(name).ok());
        let device = known.find(|name| self.0.values().any(|device| device == name))?;
        Some(Holder {
            device,
            is_gateway: false,
        })
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: front_end LISTEN JOURNAL_DIR TOKENS_FILE [THREADS]";
    let (listen, dir, tokens) = (
        args.next().ok_or(usage)?,
        args.next().ok_or(usage)?,
        args.next().ok_or(usage)?,
    );
    let n_threads: usize = args.next().as_deref().unwrap_or("2").parse()?;
    let text = std::fs::read_to_string(tokens)?;
    let tokens = text
        .lines()
        .enumerate()
        .map(|(n, token)| Ok((token.to_owned(), DeviceId::new(&format!("dev-{n}"))?)))
        .collect::<Result<_, onemap_model::IdError>>()?;
    let config = MqttConfig::new(listen.parse()?);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(n_threads)
        .enable_all()
        .build()?
        .block_on(serve(config, dir, Tokens(tokens)))
}

async fn serve(config: MqttConfig, dir: String, tokens: Tokens) -> Result<(), Failure> {
    let (log, recovery) = Log::open(Config::new(dir))?;
    let (server, address) = MqttServer::bind(config).await?;
    println!("listening on {address}, journal ends at {}", recovery.last);
    let (stop, counters) = (CancellationToken::new(), Counters::new());
    let told = stop.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
        }
        told.cancel();
    });
    let clock = || Timestamp::from_system(SystemTime::now());
    server
        .run(
            log.clone(),
            Arc::new(tokens),
            Fanout::new(),
            counters.clone(),
            clock,
            stop,
        )
        .await;
    println!("{:?}", counters.counted());
    println!("{:?}", log.status());
    log.close()?;
    Ok(())
}
