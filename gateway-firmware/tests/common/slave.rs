//! A Modbus slave whose registers count its answers, and which can be made to misbehave.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

/// What happens to the next request.
#[derive(Clone, Copy, Debug)]
pub enum Prank {
    /// Answered so much later.
    Late(Duration),
    /// Answered by an exception.
    Refuse,
}

#[derive(Default)]
pub struct State {
    /// Requests answered or to be answered with values; also the value of every register.
    pub n_answers: AtomicU64,
    pub n_connections: AtomicU64,
    pub n_exceptions: AtomicU64,
    pub pranks: Mutex<VecDeque<Prank>>,
}

/// A slave that listens.
pub struct Slave {
    pub address: SocketAddr,
    pub state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct Service(Arc<State>);

impl tokio_modbus::server::Service for Service {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExceptionCode>> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            let prank = state.pranks.lock().unwrap().pop_front();
            if let Some(Prank::Refuse) = prank {
                state.n_exceptions.fetch_add(1, Ordering::SeqCst);
                return Err(ExceptionCode::ServerDeviceBusy);
            }
            let Request::ReadHoldingRegisters(start, n) = request else {
                return Err(ExceptionCode::IllegalFunction);
            };
            let answer = state.n_answers.fetch_add(1, Ordering::SeqCst) + 1;
            if let Some(Prank::Late(by)) = prank {
                tokio::time::sleep(by).await;
            }
            // The thousands say which block was asked for, the rest counts answers.
            let word = |i: u16| match start {
                0 => answer as u16,
                _ => (start + i) * 100 + (answer % 100) as u16,
            };
            Ok(Response::ReadHoldingRegisters((0..n).map(word).collect()))
        })
    }
}

impl Slave {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let server = Server::new(listener);
            let on_connected = |stream: TcpStream, peer: SocketAddr| {
                let shared = Arc::clone(&shared);
                async move {
                    shared.n_connections.fetch_add(1, Ordering::SeqCst);
                    stream.set_nodelay(true)?;
                    accept_tcp_connection(stream, peer, move |_| Ok(Some(Service(Arc::clone(&shared)))))
                }
            };
            server.serve(&on_connected, |_| {}).await.unwrap();
        });
        Self { address, state, task }
    }
    pub fn n_answers(&self) -> u64 {
        self.state.n_answers.load(Ordering::SeqCst)
    }
    pub fn prank(&self, prank: Prank) {
        self.state.pranks.lock().unwrap().push_back(prank);
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes connections and never answers.
pub async fn dead_slave() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    (address, task)
}
