//! Mail boxes, by SMTP (RFC 5321): in TLS from the first byte, or by STARTTLS; in the clear only where that is allowed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lettre::address::Envelope;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{Error, extension::ClientId};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use onemap_alerts::feeds::{Failure, Made, Verdict};

use super::Outcome;

/// Most mail boxes of one consumer.
const MOST_BOXES: usize = 20;

/// How the connection is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS; a server that has none is not spoken to.
    Starttls,
    /// In the clear.
    Plain,
}

/// Where mail is handed in, and to whom it goes.
pub(crate) struct Post<'a> {
    /// The server's name.
    pub(crate) host: &'a str,
    /// Its port; the usual one of the guard when it is not said.
    pub(crate) port: Option<u16>,
    /// How the connection is kept from others.
    pub(crate) guard: Guard,
    /// Certificates of authorities, PEM; those of the system when there are none.
    pub(crate) roots: Option<Vec<u8>>,
    /// Name and password.
    pub(crate) login: Option<(String, String)>,
    /// Whose mail it is.
    pub(crate) sender: &'a str,
    /// Who gets it.
    pub(crate) to: &'a [String],
    /// How long one step may take.
    pub(crate) timeout: Duration,
}

/// One consumer's way to its mail boxes.
#[derive(Clone)]
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
}

impl Mailer {
    /// Checks who sends to whom.
    pub(crate) fn new(post: Post<'_>) -> Result<Self> {
        let sender: Mailbox = post
            .sender
            .parse()
            .context("sender: it is no address like onemap@example.org")?;
        ensure!(
            (1..=MOST_BOXES).contains(&post.to.len()),
            "to: 1 to {MOST_BOXES} addresses"
        );
        let to = post.to.iter().map(|text| {
            let parsed: Result<Mailbox, _> = text.parse();
            parsed.with_context(|| format!("to: `{text}` is no address like duty@example.org"))
        });
        let to: Vec<Mailbox> = to.collect::<Result<_>>()?;
        let tls = || -> Result<TlsParameters> {
            let parameters = TlsParameters::builder(post.host.to_owned());
            let parameters = match &post.roots {
                None => parameters,
                Some(pem) => parameters
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(Certificate::from_pem(pem).context("ca_file")?),
            };
            parameters.build_rustls().context("ca_file")
        };
        let (tls, port) = match post.guard {
            Guard::Tls => (Tls::Wrapper(tls()?), 465),
            Guard::Starttls => (Tls::Required(tls()?), 587),
            Guard::Plain => (Tls::None, 25),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(post.host)
            .port(post.port.unwrap_or(port))
            .tls(tls)
            .hello_name(ClientId::Domain(sender.email.domain().to_owned()))
            .timeout(Some(post.timeout));
        if let Some((user, password)) = post.login {
            transport = transport.credentials(Credentials::new(user, password));
        }
        Ok(Self {
            transport: transport.build(),
            sender,
            to,
            timeout: post.timeout,
        })
    }

    /// Hands the message in for each mail box by itself: one that is refused keeps none of the others from theirs. It is
    /// received when one box has it and none is still to get it.
    pub(super) async fn send(&self, made: &Made) -> Outcome {
        let message = match self.message(made) {
            Ok(message) => message,
            Err(error) => return Outcome::unmade(error.to_string()),
        };
        let (mut n_taken, mut refused) = (0, Vec::new());
        for to in &self.to {
            let envelope = Envelope::new(Some(self.sender.email.clone()), vec![to.email.clone()]);
            let envelope = match envelope {
                Ok(envelope) => envelope,
                Err(error) => return Outcome::unmade(error.to_string()),
            };
            let formatted = message.formatted();
            let sending = self.transport.send_raw(&envelope, &formatted);
            let sent = tokio::time::timeout(self.timeout.saturating_mul(4), sending).await;
            match sent {
                Ok(Ok(_)) => n_taken += 1,
                Ok(Err(error)) => match verdict(&error) {
                    Verdict::Never(_) => refused.push(format!("{}: {}", to.email, said(&error))),
                    verdict => {
                        return Outcome {
                            verdict,
                            status: code(&error),
                            answer: said(&error),
                        };
                    }
                },
                Err(_) => {
                    return Outcome {
                        verdict: Verdict::Later(Failure::Late, None),
                        status: None,
                        answer: "no answer in time".to_owned(),
                    };
                }
            }
        }
        let verdict = match n_taken {
            0 => Verdict::Never(Failure::Words),
            _ => Verdict::Received,
        };
        Outcome {
            verdict,
            status: Some(if n_taken > 0 { 250 } else { 550 }),
            answer: match refused.is_empty() {
                true => format!("{n_taken} of {} mail boxes", self.to.len()),
                false => format!(
                    "{n_taken} of {} mail boxes; refused {}",
                    self.to.len(),
                    refused.join("; ")
                ),
            },
        }
    }

    fn message(&self, made: &Made) -> Result<Message, lettre::error::Error> {
        let head = |name: &str| {
            let found = made.headers.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let to: Mailboxes = self.to.iter().cloned().collect();
        let id = format!("<{}@{}>", head("message-id"), self.sender.email.domain());
        Message::builder()
            .from(self.sender.clone())
            .mailbox(lettre::message::header::To::from(to))
            .subject(head("subject"))
            .message_id(Some(id))
            .header(ContentType::TEXT_PLAIN)
            .body(String::from_utf8_lossy(&made.body).into_owned())
    }
}

impl Outcome {
    fn unmade(answer: String) -> Self {
        Self {
            verdict: Verdict::Never(Failure::Unmade),
            status: None,
            answer,
        }
    }
}

/// A server's refusal for good (5yz) but for those that a person mends at the server: who may send, a full box.
fn verdict(error: &Error) -> Verdict {
    const MENDED: [u16; 6] = [421, 452, 530, 534, 535, 552];
    let is_mended = code(error).is_some_and(|code| MENDED.contains(&code));
    if error.is_permanent() && !is_mended {
        return Verdict::Never(Failure::Words);
    }
    Verdict::Later(
        match error {
            error if error.is_timeout() => Failure::Late,
            error if error.is_transient() || error.is_permanent() => Failure::Words,
            error if error.is_response() || error.is_client() => Failure::Broken,
            _ => Failure::Unreached,
        },
        None,
    )
}

fn code(error: &Error) -> Option<u16> {
    error.status().and_then(|code| code.to_string().parse().ok())
}

fn said(error: &Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
