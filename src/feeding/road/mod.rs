//! How something goes to a consumer: HTTP, mail or MQTT. Each answers what became of it, and keeps nothing.

mod mail;
mod mqtt;

use std::fmt;

use onemap_alerts::feeds::{Failure, Kind, Made, Verdict, retry_after};
use onemap_model::Timestamp;
use onemap_store::remote::{Endpoint, Unanswered};

pub(crate) use mail::Mailer;
pub(crate) use mqtt::Publisher;

use super::settled::Sent;

/// Bytes that are read of an answer.
const N_ANSWER: usize = 64 << 10;
/// Characters of an answer that its receipt keeps.
const N_KEPT: usize = 200;

/// The way to one consumer.
#[derive(Clone)]
pub(crate) enum Road {
    /// HTTP requests.
    Http(Endpoint),
    /// Messages to mail boxes.
    Mail(Mailer),
    /// Messages of a topic of another broker.
    Mqtt(Publisher),
}

impl fmt::Debug for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http(_) => "Http",
            Self::Mail(_) => "Mail",
            Self::Mqtt(_) => "Mqtt",
        })
    }
}

/// What became of something that was sent.
struct Outcome {
    verdict: Verdict,
    status: Option<u16>,
    answer: String,
}

impl Road {
    /// Sends one request and waits for its answer; `clock` says when that came.
    pub(super) async fn tell(&self, kind: &Kind, made: Made, clock: &(dyn Fn() -> Timestamp + Sync)) -> Sent {
        let outcome = match self {
            Self::Http(endpoint) => by_http(endpoint, kind, made, clock).await,
            Self::Mail(mailer) => mailer.send(&made).await,
            Self::Mqtt(publisher) => publisher.publish(made).await,
        };
        Sent {
            verdict: outcome.verdict,
            at: clock(),
            status: outcome.status,
            answer: outcome.answer.trim().chars().take(N_KEPT).collect(),
        }
    }
}

async fn by_http(
    endpoint: &Endpoint,
    kind: &Kind,
    made: Made,
    clock: &(dyn Fn() -> Timestamp + Sync),
) -> Outcome {
    let told = endpoint
        .tell(made.method, &made.target, &made.headers, made.body, N_ANSWER)
        .await;
    match told {
        Ok(told) => {
            let after = told.retry_after.and_then(|text| retry_after(&text, clock()));
            Outcome {
                verdict: kind.judge(told.status, after, &told.body),
                status: Some(told.status),
                answer: String::from_utf8_lossy(&told.body).into_owned(),
            }
        }
        Err(why) => Outcome {
            verdict: match why {
                Unanswered::Unmade => Verdict::Never(Failure::Unmade),
                Unanswered::Late => Verdict::Later(Failure::Late, None),
                Unanswered::Broken => Verdict::Later(Failure::Broken, None),
                _ => Verdict::Later(Failure::Unreached, None),
            },
            status: None,
            answer: why.to_string(),
        },
    }
}
