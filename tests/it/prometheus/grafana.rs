//! The calls that Grafana's Prometheus data source makes (as its version 11 writes them: `grafana.json`), replayed,
//! and the answers read as Grafana reads them.

use std::io::Read as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::data::Data;
use crate::server::Server;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: serde_json::Map<String, Value>,
    body: Option<String>,
    result: Kind,
    /// Entries that must be among those of the answer.
    #[serde(default)]
    holds: Vec<String>,
    /// All entries of the answer.
    is: Option<Vec<String>>,
    /// Series in the answer.
    n: Option<usize>,
    value: Option<String>,
    status: Option<u16>,
    r#type: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Scalar,
    Vector,
    Matrix,
    Texts,
    Series,
    Object,
    Nothing,
    Error,
}

fn send(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, Value) {
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}/prometheus{path}", server.http))
        .header("authorization", format!("Bearer {}", server.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut response = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let mut bytes = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
    (status, kind, serde_json::from_slice(&bytes).unwrap())
}

/// Posts a form.
pub fn post(server: &Server, path: &str, headers: &[(&str, &str)], form: &str) -> (u16, Value) {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    let (status, _, answer) = send(server, "POST", path, &all, form);
    (status, answer)
}

/// Labels are an object of texts, none empty.
fn check_labels(labels: &Value) {
    for (name, value) in labels.as_object().unwrap() {
        assert!(!name.is_empty() && value.as_str().is_some_and(|text| !text.is_empty()));
    }
}

/// A time in seconds and a number as text.
fn check_pair(pair: &Value) -> f64 {
    let [time, value] = &pair.as_array().unwrap()[..] else {
        panic!("{pair} is no pair");
    };
    let value = value.as_str().unwrap();
    assert!(
        ["NaN", "+Inf", "-Inf"].contains(&value) || value.parse::<f64>().is_ok(),
        "{value}"
    );
    time.as_f64().unwrap()
}

impl Call {
    fn check(&self, status: u16, kind: &str, answer: &Value) {
        assert!(kind.starts_with("application/json"), "{kind}");
        assert_eq!(status, self.status.unwrap_or(200), "{answer}");
        if self.result == Kind::Error {
            assert_eq!(answer["status"], "error");
            assert_eq!(answer["errorType"].as_str(), self.r#type.as_deref());
            assert!(!answer["error"].as_str().unwrap().is_empty());
            return;
        }
        assert_eq!(answer["status"], "success");
        let data = &answer["data"];
        let n = match self.result {
            Kind::Scalar | Kind::Vector | Kind::Matrix => self.check_result(data),
            Kind::Texts => {
                let texts: Vec<String> = serde_json::from_value(data.clone()).unwrap();
                assert!(texts.is_sorted(), "{texts:?}");
                assert!(self.holds.iter().all(|want| texts.contains(want)), "{texts:?}");
                assert!(self.is.as_ref().is_none_or(|want| *want == texts), "{texts:?}");
                texts.len()
            }
            Kind::Series => {
                let all = data.as_array().unwrap();
                all.iter().for_each(check_labels);
                assert!(all.iter().all(|labels| labels["__name__"].is_string()));
                all.len()
            }
            Kind::Object => {
                let own = data.as_object().unwrap();
                assert!(self.holds.iter().all(|want| own.contains_key(want)), "{data}");
                own.len()
            }
            Kind::Nothing => data.as_array().unwrap().len(),
            Kind::Error => unreachable!("looked at above"),
        };
        assert_eq!(n, self.n.unwrap_or(n), "{answer}");
        assert_eq!(n == 0, self.result == Kind::Nothing, "{answer}");
    }

    fn check_result(&self, data: &Value) -> usize {
        let name = match self.result {
            Kind::Scalar => "scalar",
            Kind::Vector => "vector",
            _ => "matrix",
        };
        assert_eq!(data["resultType"], name);
        if self.result == Kind::Scalar {
            check_pair(&data["result"]);
            assert_eq!(data["result"][1].as_str(), self.value.as_deref());
            return 1;
        }
        let all = data["result"].as_array().unwrap();
        for own in all {
            check_labels(&own["metric"]);
            if self.result == Kind::Vector {
                check_pair(&own["value"]);
                continue;
            }
            let times: Vec<f64> = own["values"].as_array().unwrap().iter().map(check_pair).collect();
            assert!(!times.is_empty() && times.windows(2).all(|pair| pair[0] < pair[1]));
        }
        all.len()
    }
}

#[test]
fn grafanas_calls_are_answered_as_grafana_reads_them() {
    let server = Server::new();
    let data = Data::new();
    data.to_onemap(&server);
    let start = data.start_s().to_string();
    let end = (data.start_s() + 10_800).to_string();
    let calls: Vec<Call> = serde_json::from_str(include_str!("grafana.json")).unwrap();
    for call in calls {
        let filled = |text: &str| text.replace("{start}", &start).replace("{end}", &end);
        let mut headers = vec![
            ("user-agent", "Grafana/11.3.0"),
            ("accept-encoding", "gzip"),
            ("x-datasource-uid", "ae3dfd1"),
            ("x-grafana-org-id", "1"),
        ];
        if call.method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        headers.extend(
            call.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap())),
        );
        let body = filled(call.body.as_deref().unwrap_or_default());
        println!("{}", call.name);
        let (status, kind, answer) = send(&server, &call.method, &filled(&call.path), &headers, &body);
        call.check(status, &kind, &answer);
    }
}
