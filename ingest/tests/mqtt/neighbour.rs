//! The well-behaved device beside whatever a test does: it must lose nothing and never wait long.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Connect, TELEMETRY, publish};
use crate::server::Server;

/// Longest that an acknowledgement may take. The machine is shared: what is looked for is a device that
/// is held up for as long as others misbehave, which is seconds to for ever.
const BOUND: Duration = Duration::from_secs(2);

pub(crate) struct Neighbour {
    stop: CancellationToken,
    running: JoinHandle<(u16, Duration)>,
}

impl Neighbour {
    /// Publishes all the time, one message after the other.
    pub(crate) async fn start(address: SocketAddr) -> Self {
        let mut client = Client::connect(address, &Connect::of("neighbour")).await;
        let stop = CancellationToken::new();
        let told = stop.clone();
        let running = tokio::spawn(async move {
            let (mut n, mut longest) = (0u16, Duration::ZERO);
            while !told.is_cancelled() {
                n += 1;
                let start = Instant::now();
                let payload = format!("neighbour {n}");
                client.send(&publish(TELEMETRY, 1, n, payload.as_bytes())).await;
                client.expect_id(0x40, n).await;
                longest = longest.max(start.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (n, longest)
        });
        Self { stop, running }
    }

    /// Everything it said is kept once and in order, and no answer took long.
    pub(crate) async fn was_well(self, server: &Server) {
        self.stop.cancel();
        let (n, longest) = self.running.await.expect("the neighbour was cut off");
        let said: Vec<_> = (1..=n).map(|i| format!("neighbour {i}")).collect();
        let kept = server.payloads();
        let kept: Vec<_> = kept.iter().filter(|p| p.starts_with("neighbour")).collect();
        assert_eq!(kept, said.iter().collect::<Vec<_>>());
        assert!(n > 0, "it said {n} things only");
        assert!(longest < BOUND, "an acknowledgement took {longest:?}");
    }
}
