//! TLS: certificates that change while the server runs, client certificates, the deny list.
//!
//! Certificate, key, client CA and deny list are files. They are read at start, when [`Certificates::reload`]
//! is called, and when one of them changes. What cannot be used is said, counted, and the former stays.
//! Open connections live on across a reload, except those of a certificate that is now on the deny list.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::certificate::Identity;
use super::deny::DenyList;
use super::{ClientAuth, TlsConfig};
use crate::Counters;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why TLS cannot be served with the files there are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no PEM of the kind it should.
    #[error("{} holds no usable {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("certificate {} and its key cannot be used: {why}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What rustls said, which holds no secret.
        why: String,
    },
    /// A line of the deny list.
    #[error("deny list {}", path.display())]
    Deny {
        /// The file.
        path: PathBuf,
        /// Which line.
        #[source]
        source: super::deny::DenyError,
    },
    /// Client certificates are wanted and no CA is named that signs them.
    #[error("client certificates need a `client_ca_file`")]
    NoClientCa,
}

/// The certificates of a running server; clones share them.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: TlsConfig,
    now: RwLock<Configs>,
    denied: Arc<RwLock<Arc<DenyList>>>,
    open: Mutex<Open>,
    /// As the files were when they were last read, right or wrong.
    stamps: Mutex<Vec<Stamp>>,
}

/// What a handshake is done with.
#[derive(Clone, Debug)]
struct Configs {
    mqtt: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
}

/// Modification time and size; `None` when there is no such file.
type Stamp = Option<(SystemTime, u64)>;

/// Connections with a client certificate.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_number: HashMap<u64, (Credential, CancellationToken)>,
}

/// A client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) fingerprint: [u8; 32],
    pub(super) identity: Identity,
}

impl Credential {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self {
            fingerprint: Sha256::digest(certificate).into(),
            // One that rustls could read and we cannot has no name, and so no device.
            identity: Identity::read(certificate).unwrap_or_default(),
        }
    }
}

/// One open connection; it is cut when its certificate is denied.
#[derive(Debug)]
pub(super) struct Admission {
    certificates: Certificates,
    number: u64,
    pub(super) cut: CancellationToken,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.certificates.open().by_number.remove(&self.number);
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(config: TlsConfig) -> Result<Self, TlsError> {
        let stamps = stamps(&config);
        let denied = Arc::new(RwLock::new(Arc::new(deny_list(&config)?)));
        let now = configs(&config, &denied)?;
        Ok(Self(Arc::new(Inner {
            now: RwLock::new(now),
            denied,
            open: Mutex::default(),
            stamps: Mutex::new(stamps),
            config,
        })))
    }

    /// Reads the files again. What is right is taken; what is wrong is logged and counted, and the former
    /// stays. Gives whether all was right. Blocks for as long as the files take.
    pub fn reload(&self, counters: &Counters) -> bool {
        let inner = &*self.0;
        *lock(&inner.stamps) = stamps(&inner.config);
        let mut is_right = true;
        let mut failed = |error: &TlsError| {
            counters.certificate_error();
            error!("the former certificates stay in use: {}", chain(error));
            is_right = false;
        };
        match configs(&inner.config, &inner.denied) {
            Ok(configs) => *inner.now.write().unwrap_or_else(PoisonError::into_inner) = configs,
            Err(error) => failed(&error),
        }
        match deny_list(&inner.config) {
            Ok(list) => {
                let list = Arc::new(list);
                *inner.denied.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&list);
                self.cut(&list);
            }
            Err(error) => failed(&error),
        }
        if is_right {
            info!("certificates and deny list were read again");
        }
        is_right
    }

    /// Ends the open connections of certificates that are denied.
    fn cut(&self, list: &DenyList) {
        for (credential, cut) in self.open().by_number.values() {
            if list.holds(&credential.fingerprint, &credential.identity.serial) {
                cut.cancel();
            }
        }
    }

    /// Reads the files again whenever one has changed, until `stop`.
    pub async fn watch(&self, counters: &Counters, stop: &CancellationToken) {
        let mut clock = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = clock.tick() => {}
            }
            let (own, counters) = (self.clone(), counters.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let has_changed = *lock(&own.0.stamps) != stamps(&own.0.config);
                if has_changed {
                    own.reload(&counters);
                }
            });
            if let Err(error) = looked.await {
                warn!("the certificates' files could not be looked at: {error}");
            }
        }
    }

    /// What the next handshake is done with.
    pub(super) fn server_config(&self, is_web: bool) -> Arc<ServerConfig> {
        let now = self.0.now.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(if is_web { &now.web } else { &now.mqtt })
    }

    /// What the next handshake of a browser or an HTTP client is done with.
    pub fn for_web(&self) -> Arc<ServerConfig> {
        self.server_config(true)
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        self.0.config.handshake_timeout
    }

    /// Enters a connection, unless its certificate is denied. A resumed handshake shows no certificate to
    /// the verifier, so all of them are looked at here.
    pub(super) fn admit(&self, credential: &Credential) -> Option<Admission> {
        let mut open = self.open();
        // Under the lock of `open`, so that a reload either sees the connection or is seen by it.
        let denied = Arc::clone(&self.0.denied.read().unwrap_or_else(PoisonError::into_inner));
        if denied.holds(&credential.fingerprint, &credential.identity.serial) {
            return None;
        }
        let number = open.next;
        open.next += 1;
        let cut = CancellationToken::new();
        open.by_number.insert(number, (credential.clone(), cut.clone()));
        Some(Admission {
            certificates: self.clone(),
            number,
            cut,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.0.open)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let files = [
        Some(&config.cert_file),
        Some(&config.key_file),
        config.client_ca_file.as_ref(),
        config.deny_file.as_ref(),
    ];
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.into_iter().flatten().map(stamp).collect()
}

fn deny_list(config: &TlsConfig) -> Result<DenyList, TlsError> {
    let Some(path) = &config.deny_file else {
        return Ok(DenyList::default());
    };
    let text = std::fs::read_to_string(path).map_err(|source| TlsError::Read {
        path: path.clone(),
        source,
    })?;
    DenyList::parse(&text).map_err(|source| TlsError::Deny {
        path: path.clone(),
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let none = || TlsError::Pem {
        path: path.to_owned(),
        what: "certificate",
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|_| none())?;
    if certificates.is_empty() {
        return Err(none());
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn configs(config: &TlsConfig, denied: &Arc<RwLock<Arc<DenyList>>>) -> Result<Configs, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&config.cert_file)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&config.key_file)?).map_err(|_| TlsError::Pem {
        path: config.key_file.clone(),
        what: "private key",
    })?;
    let unusable = |error: rustls::Error| TlsError::Certificate {
        path: config.cert_file.clone(),
        why: error.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match config.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        wanted => builder.with_client_cert_verifier(verifier(config, wanted, provider, denied)?),
    };
    let mut mqtt = builder.with_single_cert(chain, key).map_err(unusable)?;
    // Tickets are kept by the client: resuming costs this side no memory. A reload makes new ticket keys,
    // so nobody resumes what was agreed under a former CA.
    mqtt.session_storage = Arc::new(NoServerSessionStorage {});
    mqtt.ticketer = ring::Ticketer::new().map_err(unusable)?;
    mqtt.send_tls13_tickets = 1;
    mqtt.alpn_protocols = vec![b"mqtt".to_vec()];
    let mut web = mqtt.clone();
    web.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Configs {
        mqtt: Arc::new(mqtt),
        web: Arc::new(web),
    })
}

fn verifier(
    config: &TlsConfig,
    wanted: ClientAuth,
    provider: Arc<CryptoProvider>,
    denied: &Arc<RwLock<Arc<DenyList>>>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let path = config.client_ca_file.as_ref().ok_or(TlsError::NoClientCa)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Certificate {
            path: path.clone(),
            why: error.to_string(),
        })?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match wanted {
        ClientAuth::Required => builder,
        _ => builder.allow_unauthenticated(),
    };
    let inner = builder.build().map_err(|error| TlsError::Certificate {
        path: path.clone(),
        why: error.to_string(),
    })?;
    Ok(Arc::new(NotDenied {
        inner,
        denied: Arc::clone(denied),
    }))
}

/// The usual checks, then the deny list.
#[derive(Debug)]
struct NotDenied {
    inner: Arc<dyn ClientCertVerifier>,
    denied: Arc<RwLock<Arc<DenyList>>>,
}

impl ClientCertVerifier for NotDenied {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let Credential {
            fingerprint,
            identity,
        } = Credential::of(end_entity);
        let denied = self.denied.read().unwrap_or_else(PoisonError::into_inner);
        if denied.holds(&fingerprint, &identity.serial) {
            return Err(CertificateError::Revoked.into());
        }
        Ok(verified)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
