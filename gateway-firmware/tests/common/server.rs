//! The server's side as a gateway sees it: takes readings, gives receipts, and can fail in known ways.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use onemap_wire::native::{self, Receipt};
use rumqttc::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck, SubscribeReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One reading as stored: value, and how often it came without and with the mark of a repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored {
    pub value: f64,
    pub first_times: u32,
    pub repeats: u32,
}

/// What outlives a restart of the server.
#[derive(Default)]
pub struct World {
    /// By spool number, quantity and channel.
    pub stored: Mutex<BTreeMap<(u64, String, u16), Stored>>,
    /// Give PUBACK and forget the message.
    pub forgets: AtomicBool,
    /// Store and give no receipt.
    pub mute: AtomicBool,
    /// Accept and read nothing.
    pub wedged: AtomicBool,
    pub n_forgotten: AtomicU64,
    pub n_connects: AtomicU64,
}

impl World {
    /// The values of one channel in the order of the spool.
    pub fn values(&self, channel: u16) -> Vec<f64> {
        let stored = self.stored.lock().unwrap();
        stored
            .iter()
            .filter(|((_, _, ch), _)| *ch == channel)
            .map(|(_, s)| s.value)
            .collect()
    }
    pub fn n_values(&self) -> usize {
        self.stored.lock().unwrap().len()
    }
    pub fn n_repeats(&self) -> u32 {
        self.stored.lock().unwrap().values().map(|s| s.repeats).sum()
    }
    /// Sent more than once without the mark.
    pub fn n_unmarked_repeats(&self) -> usize {
        self.stored
            .lock()
            .unwrap()
            .values()
            .filter(|s| s.first_times > 1)
            .count()
    }
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(address: SocketAddr, world: Arc<World>) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&world)));
            }
        });
        Self { address, task }
    }
    pub async fn free(world: Arc<World>) -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), world).await
    }
    /// Ends at once, with all connections.
    pub async fn kill(self) -> SocketAddr {
        self.task.abort();
        assert!(self.task.await.is_err());
        self.address
    }
}

async fn serve(mut stream: TcpStream, world: Arc<World>) -> Option<()> {
    world.n_connects.fetch_add(1, Ordering::SeqCst);
    let mut inbox = BytesMut::new();
    let mut receipts_to = None;
    loop {
        while world.wedged.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let mut answers = BytesMut::new();
        while let Ok(packet) = Packet::read(&mut inbox, 1 << 20) {
            match packet {
                Packet::Connect(connect) => {
                    let user = connect.login.map(|l| l.username);
                    let good = user.as_deref() == Some("gateway-token");
                    let code = if good {
                        ConnectReturnCode::Success
                    } else {
                        ConnectReturnCode::NotAuthorized
                    };
                    ConnAck::new(code, false).write(&mut answers).ok()?;
                }
                Packet::Subscribe(subscribe) => {
                    let filter = &subscribe.filters[0].path;
                    if filter.ends_with("/receipt") {
                        receipts_to = Some(filter.clone());
                    } else {
                        assert_eq!(filter, "onemap/v1/gw-1/command");
                    }
                    let code = SubscribeReasonCode::Success(QoS::AtLeastOnce);
                    SubAck::new(subscribe.pkid, vec![code]).write(&mut answers).ok()?;
                }
                Packet::Publish(publish) => {
                    assert_eq!(publish.topic, "onemap/v1/gw-1/readings");
                    let receipt = take(&world, &publish);
                    PubAck::new(publish.pkid).write(&mut answers).ok()?;
                    if let (Some(receipt), Some(topic)) = (receipt, &receipts_to) {
                        let receipt = Publish::new(topic, QoS::AtMostOnce, receipt.encode());
                        receipt.write(&mut answers).ok()?;
                    }
                }
                Packet::PingReq => answers.extend_from_slice(&[0xd0, 0]),
                Packet::Disconnect => return None,
                _ => {}
            }
        }
        stream.write_all(&answers).await.ok()?;
        if stream.read_buf(&mut inbox).await.ok()? == 0 {
            return None;
        }
    }
}

fn take(world: &World, publish: &Publish) -> Option<Receipt> {
    let message = native::decode(&publish.payload);
    assert!(message.refused.is_empty(), "{:?}", message.refused);
    if world.forgets.load(Ordering::SeqCst) {
        world.n_forgotten.fetch_add(1, Ordering::SeqCst);
        return None;
    }
    let mut stored = world.stored.lock().unwrap();
    for sample in &message.samples {
        let key = (sample.seq.unwrap(), sample.quantity.to_string(), sample.channel);
        let value = sample.value.number().unwrap();
        let entry = stored.entry(key).or_insert(Stored {
            value,
            first_times: 0,
            repeats: 0,
        });
        assert_eq!(entry.value, value, "a spool number keeps its value");
        *(if sample.resent {
            &mut entry.repeats
        } else {
            &mut entry.first_times
        }) += 1;
    }
    (!world.mute.load(Ordering::SeqCst)).then(|| Receipt::of(message.epoch.unwrap(), &message.seqs))
}
