//! Tags of answers about fixed spans of the past, so that who has one need not fetch it again.
//!
//! A tag is made of the question and of what the series' counters say, before anything is read: the late points
//! and revisions of each series since this run began, its oldest time, and where the span reaches behind its
//! newest value also that and the number of its points. New values behind the span change none of these; whatever
//! changes the answer changes one of them. A restart changes every tag.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use onemap_model::Timestamp;
use onemap_store::history::SeriesInfo;
use sha2::{Digest, Sha256};

use crate::views::Views;

/// A tag in the making.
pub(crate) struct Tagging(Sha256);

impl Tagging {
    /// Of a question: everything that was asked, as text.
    pub(crate) fn new(views: &Views, question: &str) -> Self {
        let mut tagging = Self(Sha256::new());
        tagging.text(&views.instance);
        tagging.text(question);
        tagging
    }

    /// Something else that the answer holds.
    pub(crate) fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    /// The state of a series as far as an answer up to `to` depends on it. `changes` is to be read before `info`.
    pub(crate) fn series(&mut self, changes: u64, info: &SeriesInfo, to: Timestamp) {
        self.0.update(info.id.0.to_le_bytes());
        self.0.update(changes.to_le_bytes());
        self.0.update(info.first.ms().to_le_bytes());
        if to > info.last {
            self.0.update(info.n.to_le_bytes());
            self.0.update(info.last.ms().to_le_bytes());
        }
    }

    /// The tag, quoted.
    pub(crate) fn tag(self) -> Tag {
        let hash: [u8; 32] = self.0.finalize().into();
        let digits: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Tag(format!("\"{digits}\""))
    }
}

/// A strong entity tag (RFC 9110).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// Of a question and all of its answer, where nothing cheaper tells neither more nor less.
    pub(crate) fn of_answer(question: &str, answer: &[u8], damaged: &str) -> Self {
        let mut tagging = Tagging(Sha256::new());
        tagging.text(question);
        tagging.text(damaged);
        tagging.0.update(answer);
        tagging.tag()
    }

    /// Whether the asker has the answer of this tag already.
    pub(crate) fn is_known(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == self.0)
    }

    /// 304.
    pub(crate) fn unchanged(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        self.put(&mut response);
        response
    }

    /// On an answer. It may be kept by its asker and is to be asked about each time: a late point can come to any
    /// span.
    pub(crate) fn put(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(
            header::ETAG,
            HeaderValue::from_str(&self.0).expect("hexadecimal digits in quotes"),
        );
        let kept = HeaderValue::from_static("private, no-cache");
        headers.insert(header::CACHE_CONTROL, kept);
        let vary = HeaderValue::from_static("authorization, cookie");
        headers.insert(header::VARY, vary);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, Quantity, SeriesKey};
    use onemap_store::history::SeriesId;

    use super::*;

    fn tag(changes: u64, (first, last, n): (i64, i64, u64), to: i64) -> Tag {
        let info = SeriesInfo {
            id: SeriesId(7),
            key: SeriesKey {
                device: DeviceId::new("d").unwrap(),
                quantity: Quantity::named("pm2_5").unwrap(),
                channel: 0,
            },
            first: Timestamp::from_ms(first),
            last: Timestamp::from_ms(last),
            n,
        };
        let mut tagging = Tagging(Sha256::new());
        tagging.series(changes, &info, Timestamp::from_ms(to));
        tagging.tag()
    }

    #[test]
    fn a_tag_changes_with_what_the_span_holds_and_not_with_what_comes_behind_it() {
        let before = tag(0, (10, 20, 3), 20);
        assert_eq!(tag(0, (10, 30, 4), 20), before, "a new value behind the span");
        assert_ne!(tag(1, (10, 20, 3), 20), before, "a late point or a revision");
        assert_ne!(tag(0, (12, 20, 2), 20), before, "old values were let go");
        // `to` is not inside: a span that ends just behind the newest value holds it.
        assert_ne!(tag(0, (10, 20, 3), 21), tag(0, (10, 30, 4), 21));
    }

    #[test]
    fn a_known_tag_is_found_in_any_list() {
        let tag = Tag("\"ab\"".to_owned());
        let known = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(text));
            tag.is_known(&headers)
        };
        for text in ["\"ab\"", "W/\"ab\"", "*", "\"x\", \"ab\""] {
            assert!(known(text), "{text}");
        }
        for text in ["\"abc\"", "ab", "", "\"x\",W/\"y\""] {
            assert!(!known(text), "{text}");
        }
        assert!(!tag.is_known(&HeaderMap::new()));
    }
}
