//! The provider: what it says of itself, its keys, and its word for somebody.
//!
//! What it says of itself is read when it is first needed and again once an hour; while it does not answer, what it said
//! last holds. Keys are read again when a token names one that is not known, at most once a minute. Every question has a
//! time and a size, and redirects are not followed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::Uri;
use onemap_model::{Subject, Timestamp};
use onemap_store::engine::StoreError;
use onemap_store::remote::Endpoint;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreClientAuthMethod, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AsyncHttpClient, AuthType, AuthenticationFlow, AuthorizationCode,
    ClaimsVerificationError, Client, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    IdTokenFields, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, SignatureVerificationError, StandardErrorResponse,
    StandardTokenResponse, TokenResponse as _, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::people::claim;
use super::refusal::Refusal;
use super::settings::Settings;

/// How long one question may take, its connection apart.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MOST_BYTES: usize = 1 << 20;
/// How long what the provider says of itself holds.
const HOLDS: Duration = Duration::from_secs(3600);
/// How soon a provider that did not answer is asked again, when nothing is known of it and when what it said last holds.
const RETRY: Duration = Duration::from_secs(3);
const RETRY_KNOWN: Duration = Duration::from_secs(60);
/// How soon keys are read again for a token that names another one.
const KEYS_AGAIN: Duration = Duration::from_secs(60);
/// Log-ins that ask the provider at once, and how long others wait.
const AT_ONCE: usize = 16;
const TURN: Duration = Duration::from_secs(5);
/// Hosts that a provider's parts are on.
const N_HOSTS: usize = 8;
/// How far its clock may be off.
const SKEW_S: i64 = 120;

const POISON: &str = "no holder of this lock panics";

/// Claims that the standard does not name: groups, roles and what else a provider says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Others(Map<String, Value>);

impl AdditionalClaims for Others {}

type Tokens = StandardTokenResponse<
    IdTokenFields<
        Others,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

type Party = Client<
    Others,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What the provider said of itself.
struct Known {
    said: CoreProviderMetadata,
    read: Instant,
    /// When its keys were read again for a token that names another one.
    keys_again: Option<Instant>,
}

/// The last look at the provider.
#[derive(Default)]
struct Looked {
    known: Option<Known>,
    /// When it did not answer, and what was wrong.
    failed: Option<(Instant, String)>,
}

/// A log-in that is about to go to the provider.
pub(super) struct Begun {
    /// Where the browser goes.
    pub(super) url: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
}

/// What the provider says of somebody, verified.
pub(super) struct Word {
    pub(super) subject: Subject,
    /// The claims of its ID token.
    pub(super) id_token: Map<String, Value>,
    /// These, and behind them those that only its userinfo holds.
    pub(super) claims: Map<String, Value>,
}

/// What an answer is held against.
pub(super) struct Asked<'a> {
    pub(super) nonce: &'a str,
    pub(super) verifier: &'a str,
    pub(super) began: Timestamp,
    pub(super) now: Timestamp,
    pub(super) redirect: &'a str,
}

pub(super) struct Provider {
    settings: Settings,
    looked: tokio::sync::Mutex<Looked>,
    endpoints: Mutex<HashMap<String, Endpoint>>,
    turns: Semaphore,
}

impl Provider {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            looked: tokio::sync::Mutex::default(),
            endpoints: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Where a browser goes to log in.
    ///
    /// # Errors
    /// [`Refusal::Away`], [`Refusal::Answer`].
    pub(super) async fn begin(&self, state: &str, redirect: &str) -> Result<Begun, Refusal> {
        let party = self.party(redirect).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let state = state.to_owned();
        let mut asked = party.authorize_url(flow, || CsrfToken::new(state), Nonce::new_random);
        for scope in self.settings.scopes.iter().filter(|scope| *scope != "openid") {
            asked = asked.add_scope(Scope::new(scope.clone()));
        }
        let (url, _, nonce) = asked.set_pkce_challenge(challenge).url();
        Ok(Begun {
            url: url.into(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
        })
    }

    /// Exchanges a code for the provider's word.
    ///
    /// # Errors
    /// As the word is wrong: see [`Refusal`].
    pub(super) async fn word(&self, code: String, asked: Asked<'_>) -> Result<Word, Refusal> {
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Busy)?;
        let mut party = self.party(asked.redirect).await?;
        let tokens = party
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| Refusal::Answer(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(asked.verifier.to_owned()))
            .request_async(self)
            .await
            .map_err(|error| match error {
                // Its description may hold anything.
                RequestTokenError::ServerResponse(told) => Refusal::Code(told.error().to_string()),
                RequestTokenError::Request(error) => Refusal::Away(error.to_string()),
                RequestTokenError::Parse(error, _) => Refusal::Answer(error.path().to_string()),
                _ => Refusal::Answer("no answer of a token endpoint".to_owned()),
            })?;
        let mut found = verified(&party, &tokens, &asked);
        if matches!(found, Err(Unverified::NewKey)) {
            self.keys_again().await;
            party = self.party(asked.redirect).await?;
            found = verified(&party, &tokens, &asked);
        }
        let (subject, id_token) = found.map_err(|unverified| match unverified {
            Unverified::NewKey => Refusal::Signature("its key is not one of the provider's".to_owned()),
            Unverified::Refused(refusal) => refusal,
        })?;
        let mut claims = id_token.clone();
        if self.is_wanting(&claims) {
            for (name, value) in self.user_info(&party, &tokens, &subject).await? {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(Word {
            subject,
            id_token,
            claims,
        })
    }

    /// Whether a claim that decides something is not there.
    fn is_wanting(&self, claims: &Map<String, Value>) -> bool {
        let makes = self.settings.makes.iter().map(|make| &make.claim);
        let mut names = makes.chain([&self.settings.name_claim]);
        names.any(|name| claim(claims, name).is_none())
    }

    /// What the userinfo endpoint says of the subject; nothing when there is none.
    async fn user_info(
        &self,
        party: &Party,
        tokens: &Tokens,
        subject: &Subject,
    ) -> Result<Map<String, Value>, Refusal> {
        let expected = openidconnect::SubjectIdentifier::new(subject.sub.clone());
        let Ok(request) = party.user_info(tokens.access_token().clone(), Some(expected)) else {
            return Ok(Map::new());
        };
        let said: UserInfoClaims<Others, CoreGenderClaim> =
            request.request_async(self).await.map_err(|error| match error {
                openidconnect::UserInfoError::Request(error) => Refusal::Away(error.to_string()),
                openidconnect::UserInfoError::ClaimsVerification(error) => Refusal::Answer(error.to_string()),
                _ => Refusal::Answer("no answer of a userinfo endpoint".to_owned()),
            })?;
        object(&said)
    }

    /// What there is to say to the provider.
    async fn party(&self, redirect: &str) -> Result<Party, Refusal> {
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|e| Refusal::Answer(e.to_string()))?;
        let said = self.said().await?;
        let secret = self.settings.client_secret.as_ref();
        let secret = secret.map(|secret| ClientSecret::new(secret.0.clone()));
        let methods = said.token_endpoint_auth_methods_supported();
        let takes = |method| methods.is_some_and(|all| all.contains(&method));
        let by_body =
            takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic);
        let id = ClientId::new(self.settings.client_id.clone());
        let party: Party = Client::from_provider_metadata(said, id, secret).set_redirect_uri(redirect);
        Ok(match by_body {
            true => party.set_auth_type(AuthType::RequestBody),
            false => party,
        })
    }

    /// What the provider says of itself, asked when it is time to.
    async fn said(&self) -> Result<CoreProviderMetadata, Refusal> {
        let mut looked = self.looked.lock().await;
        let is_fresh = |known: &Known| known.read.elapsed() < HOLDS;
        if let Some(known) = looked.known.as_ref().filter(|known| is_fresh(known)) {
            return Ok(known.said.clone());
        }
        let retry = match looked.known {
            Some(_) => RETRY_KNOWN,
            None => RETRY,
        };
        let waits = looked.failed.as_ref().filter(|(at, _)| at.elapsed() < retry);
        if let Some((_, why)) = waits {
            let known = looked.known.as_ref();
            return known
                .map(|known| known.said.clone())
                .ok_or_else(|| Refusal::Away(why.clone()));
        }
        let discovered = tokio::time::timeout(TIMEOUT, self.discover()).await;
        match discovered.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(said) => {
                looked.failed = None;
                let before = looked.known.as_ref();
                looked.known = Some(Known {
                    said: said.clone(),
                    read: Instant::now(),
                    keys_again: before.and_then(|known| known.keys_again),
                });
                info!(issuer = %self.settings.issuer, "the provider of OpenID Connect has said what it is");
                Ok(said)
            }
            Err(why) => {
                warn!(issuer = %self.settings.issuer, "the provider of OpenID Connect does not answer: {why}");
                looked.failed = Some((Instant::now(), why.clone()));
                // What it said last is better than nobody coming in.
                let known = looked.known.as_ref();
                known.map(|known| known.said.clone()).ok_or(Refusal::Away(why))
            }
        }
    }

    async fn discover(&self) -> Result<CoreProviderMetadata, String> {
        let issuer = IssuerUrl::new(self.settings.issuer.clone()).map_err(|e| e.to_string())?;
        let said = CoreProviderMetadata::discover_async(issuer, self).await;
        said.map_err(|error| match error {
            DiscoveryError::Request(error) => error.to_string(),
            DiscoveryError::Response(status, ..) => format!("it answers {status}"),
            DiscoveryError::Validation(words) => words,
            DiscoveryError::Parse(error) => format!("what it says of itself cannot be read: {error}"),
            error => error.to_string(),
        })
    }

    /// Reads its keys again, unless that was done a moment ago.
    async fn keys_again(&self) {
        let mut looked = self.looked.lock().await;
        let Some(known) = looked.known.as_mut() else {
            return;
        };
        if known.keys_again.is_some_and(|at| at.elapsed() < KEYS_AGAIN) {
            return;
        }
        known.keys_again = Some(Instant::now());
        match CoreJsonWebKeySet::fetch_async(known.said.jwks_uri(), self).await {
            Ok(keys) => known.said = known.said.clone().set_jwks(keys),
            Err(error) => warn!("the keys of the provider of OpenID Connect cannot be read: {error}"),
        }
    }

    /// One question to one of the provider's addresses.
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, StoreError> {
        let endpoint = self.endpoint(request.uri())?;
        endpoint.exchange(request, MOST_BYTES).await
    }

    fn endpoint(&self, of: &Uri) -> Result<Endpoint, StoreError> {
        let unusable = |why: String| StoreError::Unavailable { why };
        let origin = match (of.scheme_str(), of.authority()) {
            (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
            _ => return Err(unusable("the provider names an address that is none".to_owned())),
        };
        if !is_private_enough(of) {
            return Err(unusable(format!("{origin}: not asked without TLS")));
        }
        let mut endpoints = self.endpoints.lock().expect(POISON);
        if let Some(endpoint) = endpoints.get(&origin) {
            return Ok(endpoint.clone());
        }
        let roots = self.settings.roots.as_deref();
        let endpoint =
            Endpoint::new(&origin, None, &[], roots, TIMEOUT).map_err(|e| unusable(e.to_string()))?;
        if endpoints.len() >= N_HOSTS {
            endpoints.clear();
        }
        endpoints.insert(origin, endpoint.clone());
        Ok(endpoint)
    }
}

impl<'c> AsyncHttpClient<'c> for Provider {
    type Error = StoreError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, StoreError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

/// Whether codes and tokens may go to an address: over TLS, or not beyond this machine.
pub(super) fn is_private_enough(address: &Uri) -> bool {
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match address.scheme_str() {
        Some("https") => true,
        Some("http") => is_here,
        _ => false,
    }
}

enum Unverified {
    /// The token names a key that is not known.
    NewKey,
    Refused(Refusal),
}

impl From<Refusal> for Unverified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whom an ID token speaks of and what it claims, once it is seen to be the provider's word for this log-in.
fn verified(
    party: &Party,
    tokens: &Tokens,
    asked: &Asked<'_>,
) -> Result<(Subject, Map<String, Value>), Unverified> {
    let id_token = tokens
        .id_token()
        .ok_or_else(|| Refusal::Answer("it has no ID token".to_owned()))?;
    let (now_s, began_s) = (asked.now.ms() / 1000, asked.began.ms() / 1000);
    let verifier = party
        .id_token_verifier()
        .set_allowed_algs(ALGORITHMS)
        .set_issue_time_verifier_fn(move |at| {
            let at_s = at.timestamp();
            match at_s >= began_s - SKEW_S && at_s <= now_s + SKEW_S {
                true => Ok(()),
                false => Err("issued at another time".to_owned()),
            }
        });
    let nonce = Nonce::new(asked.nonce.to_owned());
    let claims = id_token.claims(&verifier, &nonce).map_err(unverified)?;
    // Signed for another party, with this one among its listeners (OpenID Connect Core 1.0, section 3.1.3.7, 5).
    let is_for_us = |party_: &ClientId| party_ == party.client_id();
    if !claims.authorized_party().is_none_or(is_for_us) {
        return Err(Refusal::Audience.into());
    }
    if let Some(expected) = claims.access_token_hash() {
        let unsigned = |error: SignatureVerificationError| Refusal::Signature(error.to_string());
        let algorithm = id_token.signing_alg().map_err(unsigned)?;
        let key = id_token.signing_key(&verifier).map_err(unsigned)?;
        let found = AccessTokenHash::from_token(tokens.access_token(), algorithm, key);
        let found = found.map_err(|error| Refusal::Signature(error.to_string()))?;
        if found != *expected {
            return Err(Refusal::Signature("its at_hash is of another access token".to_owned()).into());
        }
    }
    let subject = Subject {
        issuer: claims.issuer().to_string(),
        sub: claims.subject().to_string(),
    };
    subject.check().map_err(|_| Refusal::Name)?;
    Ok((subject, object(claims)?))
}

/// Algorithms by which a provider signs with a key that only it has. The ones that are made of the client's secret, and
/// none at all, are nobody's signature here.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

fn unverified(error: ClaimsVerificationError) -> Unverified {
    use ClaimsVerificationError as E;
    Unverified::Refused(match error {
        E::SignatureVerification(SignatureVerificationError::NoMatchingKey) => return Unverified::NewKey,
        E::SignatureVerification(error) => Refusal::Signature(error.to_string()),
        E::Expired(_) | E::InvalidAuthTime(_) => Refusal::Time,
        E::InvalidAudience(_) => Refusal::Audience,
        E::InvalidIssuer(_) => Refusal::Issuer,
        E::InvalidNonce(_) => Refusal::Nonce,
        E::InvalidSubject(_) => Refusal::Name,
        E::Unsupported(words) | E::Other(words) => Refusal::Answer(words),
        error => Refusal::Answer(error.to_string()),
    })
}

fn object(claims: &impl Serialize) -> Result<Map<String, Value>, Refusal> {
    match serde_json::to_value(claims) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(Refusal::Answer("its claims are no object".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens_go_over_tls_or_nowhere() {
        for (address, may) in [
            ("https://sso.example/token", true),
            ("http://127.0.0.1:3000/token", true),
            ("http://[::1]:3000/token", true),
            ("http://localhost/token", true),
            ("http://sso.example/token", false),
            ("http://localhost.example/token", false),
            ("ftp://127.0.0.1/token", false),
            ("/token", false),
        ] {
            assert_eq!(is_private_enough(&address.parse().unwrap()), may, "{address}");
        }
    }
}
