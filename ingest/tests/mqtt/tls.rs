//! MQTT over TLS: certificates, the deny list, reload, and handshakes that never end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onemap_ingest::mqtt::{ClientAuth, TlsConfig};
use onemap_model::Refusal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, Connect, TELEMETRY, publish};
use crate::neighbour::Neighbour;
use crate::server::{PATIENCE, Server, until};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A CA's folder with what a server and its devices need.
pub(crate) struct Pki {
    dir: TempDir,
    ca: Issuer,
}

fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, PEM.
fn leaf(ca: &Issuer, common_name: &str, names: &[&str], serial: u64) -> (String, String) {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    (certificate.pem(), key.serialize_pem())
}

impl Pki {
    pub(crate) fn new() -> Self {
        let pki = Self {
            dir: tempfile::tempdir().unwrap(),
            ca: issuer("city"),
        };
        pki.server_certificate(1);
        pki.write("ca.pem", &pki.ca.pem());
        pki.write("denied.txt", "# none yet\n");
        pki
    }

    fn server_certificate(&self, serial: u64) {
        let (certificate, key) = leaf(&self.ca, "server", &["localhost"], serial);
        self.write("server.pem", &certificate);
        self.write("server.key", &key);
    }

    /// Whole or not at all, as operators should.
    fn write(&self, name: &str, text: &str) {
        let part = self.path("part");
        std::fs::write(&part, text).unwrap();
        std::fs::rename(part, self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn config(&self, client_auth: ClientAuth) -> TlsConfig {
        let is_asked = client_auth != ClientAuth::None;
        TlsConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            cert_file: self.path("server.pem"),
            key_file: self.path("server.key"),
            client_ca_file: is_asked.then(|| self.path("ca.pem")),
            client_auth,
            deny_file: is_asked.then(|| self.path("denied.txt")),
            handshake_timeout: Duration::from_secs(10),
        }
    }

    async fn server(&self, client_auth: ClientAuth) -> Server {
        Server::with(|config| config.tls = Some(self.config(client_auth)), |_| {}).await
    }

    /// A client that trusts the CA and shows a certificate, if it has one.
    pub(crate) fn client(&self, own: Option<(&str, &str)>) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

fn address(server: &Server) -> std::net::SocketAddr {
    server.addresses.tls.unwrap()
}

async fn shake(server: &Server, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address(server)).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::clone(config));
    let name = "localhost".try_into().unwrap();
    timeout(PATIENCE, connector.connect(name, stream)).await.unwrap()
}

/// Connects; gives the code of the CONNACK, or `None` when the server ended it before.
async fn try_connect(
    server: &Server,
    config: ClientConfig,
    connect: &Connect,
) -> (Option<Client<TlsStream<TcpStream>>>, Option<u8>) {
    match shake(server, &Arc::new(config)).await {
        Err(_) => (None, None),
        Ok(stream) => {
            let (client, code) = Client::over(stream, connect).await;
            (Some(client), code)
        }
    }
}

/// CONNECT without a user name.
fn nameless(device: &str) -> Connect {
    Connect {
        token: None,
        ..Connect::of(device)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_with_a_token_is_served_over_tls() {
    let pki = Pki::new();
    let server = pki.server(ClientAuth::None).await;
    let mut config = pki.client(None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    let (client, code) = try_connect(&server, config, &Connect::of("A")).await;
    assert_eq!(code, Some(0));
    let mut client = client.unwrap();
    assert_eq!(client.stream().get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
    // More than one TLS record, and more than one write of the server.
    for id in 1..=300u16 {
        client.send(&publish(TELEMETRY, 1, id, &[b'x'; 1000])).await;
    }
    for id in 1..=300u16 {
        client.expect_id(0x40, id).await;
    }
    client.ping().await;
    let (_, code) = try_connect(&server, pki.client(None), &nameless("A")).await;
    assert_eq!(code, Some(5), "without a certificate a token is needed");
    let mut other = pki.client(None);
    other.alpn_protocols = vec![b"h2".to_vec()];
    assert!(shake(&server, &Arc::new(other)).await.is_err());
    assert_eq!(server.counters.refused(Refusal::TlsHandshake), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_its_device() {
    let pki = Pki::new();
    // A second CA in the same file counts too.
    let second = issuer("second");
    pki.write("ca.pem", &format!("{}{}", pki.ca.pem(), second.pem()));
    let server = pki.server(ClientAuth::Optional).await;
    let by_name = leaf(&pki.ca, "meter-1", &[], 11);
    let by_dns = leaf(&second, "some box", &["meter-2"], 12);
    let unknown = leaf(&pki.ca, "stranger", &["nobody.example"], 13);
    let foreign = leaf(&issuer("elsewhere"), "meter-1", &[], 14);
    let show = |(certificate, key): &(String, String)| pki.client(Some((certificate, key)));
    for (own, connect, wanted) in [
        (&by_name, nameless("meter-1"), Some(0)),
        (&by_dns, nameless("meter-2"), Some(0)),
        (&by_name, Connect::of("meter-1"), Some(0)),
        (&by_name, Connect::of("meter-2"), Some(5)),
        (&unknown, nameless("stranger"), Some(5)),
        (&unknown, Connect::of("meter-1"), Some(5)),
        (&foreign, nameless("meter-1"), None),
    ] {
        let (client, code) = try_connect(&server, show(own), &connect).await;
        assert_eq!(code, wanted, "{:?}", connect.client_id);
        if code == Some(0) {
            let mut client = client.unwrap();
            client.send(&publish(TELEMETRY, 1, 1, b"x")).await;
            client.expect_id(0x40, 1).await;
            let device = server.frames().pop().unwrap().device;
            assert_eq!(format!("client-{device}"), connect.client_id);
        }
    }
    assert_eq!(server.counters.refused(Refusal::DeniedCertificate), 3);
    assert_eq!(server.counters.refused(Refusal::TlsHandshake), 1);
    let wrong_token = Connect {
        token: Some("nobody".to_owned()),
        ..Connect::of("meter-1")
    };
    assert_eq!(
        try_connect(&server, show(&by_name), &wrong_token).await.1,
        Some(4)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_a_server_that_requires_one_does_not_listen() {
    let pki = Pki::new();
    let server = pki.server(ClientAuth::Required).await;
    assert_eq!(
        try_connect(&server, pki.client(None), &Connect::of("A")).await.1,
        None
    );
    until("the refusal", || {
        server.counters.refused(Refusal::TlsHandshake) == 1
    })
    .await;
    let own = leaf(&pki.ca, "meter-1", &[], 11);
    let config = pki.client(Some((&own.0, &own.1)));
    assert_eq!(
        try_connect(&server, config, &nameless("meter-1")).await.1,
        Some(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_certificate_is_cut_off_and_not_let_in_again_not_even_resumed() {
    let pki = Pki::new();
    let server = pki.server(ClientAuth::Required).await;
    let stolen = leaf(&pki.ca, "meter-1", &[], 0xAB01);
    let other = leaf(&pki.ca, "meter-2", &[], 0xAB02);
    let config = Arc::new(pki.client(Some((&stolen.0, &stolen.1))));
    let mut thief = Client::over(shake(&server, &config).await.unwrap(), &nameless("meter-1"))
        .await
        .0;
    thief.ping().await;
    let resumed = shake(&server, &config).await.unwrap();
    assert_eq!(
        resumed.get_ref().1.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    drop(resumed);
    let (honest, code) = try_connect(
        &server,
        pki.client(Some((&other.0, &other.1))),
        &nameless("meter-2"),
    )
    .await;
    assert_eq!(code, Some(0));
    let mut honest = honest.unwrap();

    // The watch finds the change by itself.
    pki.write("denied.txt", "serial:00:ab:01 # stolen\n");
    thief.expect_end().await;
    honest.ping().await;
    for own in [config, Arc::new(pki.client(Some((&stolen.0, &stolen.1))))] {
        let n_before = server.counters.refused(Refusal::DeniedCertificate);
        if let Ok(mut stream) = shake(&server, &own).await {
            let mut byte = [0];
            let read = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap();
            assert!(!matches!(read, Ok(n) if n > 0), "{read:?}");
        }
        until("the refusal", || {
            server.counters.refused(Refusal::DeniedCertificate) == n_before + 1
        })
        .await;
    }
    // A list that cannot be read takes nobody off it.
    pki.write("denied.txt", "this is no serial\n");
    until("the error", || server.counters.counted().certificate_errors > 0).await;
    let again = pki.client(Some((&stolen.0, &stolen.1)));
    assert_eq!(try_connect(&server, again, &nameless("meter-1")).await.1, None);
    honest.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let pki = Pki::new();
    let server = pki.server(ClientAuth::None).await;
    let serial = |stream: &TlsStream<TcpStream>| {
        let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
        onemap_ingest::mqtt::Identity::read(shown).unwrap().serial
    };
    let (client, _) = try_connect(&server, pki.client(None), &Connect::of("A")).await;
    let mut old = client.unwrap();
    assert_eq!(serial(old.stream()), [1]);

    pki.write(
        "server.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    assert!(!server.certificates.as_ref().unwrap().reload(&server.counters));
    assert!(server.counters.counted().certificate_errors > 0);
    let stream = shake(&server, &Arc::new(pki.client(None))).await.unwrap();
    assert_eq!(serial(&stream), [1], "the former one stays");

    pki.server_certificate(2);
    let start = std::time::Instant::now();
    loop {
        let stream = shake(&server, &Arc::new(pki.client(None))).await.unwrap();
        if serial(&stream) == [2] {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the new certificate is not taken up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    old.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_serve_are_named_at_start() {
    let pki = Pki::new();
    let config = |change: fn(&Path, &mut TlsConfig)| {
        let mut tls = pki.config(ClientAuth::Optional);
        change(pki.dir.path(), &mut tls);
        onemap_ingest::mqtt::Certificates::load(tls)
            .unwrap_err()
            .to_string()
    };
    std::fs::write(
        pki.path("other.key"),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    std::fs::write(pki.path("empty.pem"), "").unwrap();
    assert!(config(|d, c| c.cert_file = d.join("none.pem")).contains("none.pem"));
    assert!(config(|d, c| c.cert_file = d.join("empty.pem")).contains("no usable certificate"));
    assert!(config(|d, c| c.key_file = d.join("server.pem")).contains("no usable private key"));
    assert!(config(|d, c| c.key_file = d.join("other.key")).contains("cannot be used"));
    assert!(config(|d, c| c.deny_file = Some(d.join("server.pem"))).contains("deny list"));
    assert!(config(|_, c| c.client_ca_file = None).contains("client_ca_file"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_handshakes_and_garbage_hold_nobody_up() {
    let pki = Pki::new();
    let tls = pki.config(ClientAuth::None);
    let server = Server::with(
        |config| {
            config.tls = Some(tls);
            config.limits.tls_handshakes = 64;
        },
        |_| {},
    )
    .await;
    let neighbour = Neighbour::start(server.address).await;
    // Hundreds that say nothing, the beginning of a handshake, or nonsense.
    let mut stalled = Vec::new();
    for i in 0..400usize {
        let mut stream = TcpStream::connect(address(&server)).await.unwrap();
        let bytes: &[u8] = match i % 4 {
            0 => &[],
            1 => b"\x16\x03\x01\x02\x00\x01\x00",
            2 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            _ => &[0xFF; 40],
        };
        tokio::io::AsyncWriteExt::write_all(&mut stream, bytes)
            .await
            .unwrap();
        stalled.push(stream);
    }
    let start = std::time::Instant::now();
    let (client, code) = try_connect(&server, pki.client(None), &Connect::of("A")).await;
    assert_eq!(code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    client.unwrap().ping().await;
    let mut over_tcp = Client::connect(server.address, &Connect::of("B")).await;
    over_tcp.ping().await;
    neighbour.was_well(&server).await;
    until("the refusals of nonsense", || {
        server.counters.refused(Refusal::TlsHandshake) >= 200
    })
    .await;
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_has_a_time_limit() {
    let pki = Pki::new();
    let mut tls = pki.config(ClientAuth::None);
    tls.handshake_timeout = Duration::from_millis(300);
    let server = Server::with(|config| config.tls = Some(tls), |_| {}).await;
    let mut stream = TcpStream::connect(address(&server)).await.unwrap();
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(server.counters.refused(Refusal::TlsHandshake), 1);
}
