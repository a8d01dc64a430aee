//! Real messages and feeds (`../shared/standards/vectors/cap.json`): what is to be seen in them, what is to be refused.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;

use onemap_cap::{Alert, Area, Info, NAMESPACE, NAMESPACE_1_1, Version, read, write};
use serde_json::{Value, json};

/// The vectors, which are not part of the repository; `None`, said aloud, when they are not there.
fn vectors() -> Option<Value> {
    let root = std::env::var_os("ONEMAP_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let file = root.join("standards/vectors/cap.json");
    match std::fs::read(&file) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", file.display());
            None
        }
    }
}

fn xml(entry: &Value) -> &[u8] {
    entry["xml"].as_str().unwrap().as_bytes()
}

/// A message in the words of the vectors.
fn decoded(alert: &Alert, version: Version) -> Value {
    let mut said = json!({
        "namespace": match version { Version::V1_1 => NAMESPACE_1_1, _ => NAMESPACE },
        "identifier": alert.identifier,
        "sender": alert.sender,
        "sent": alert.sent.to_string(),
        "status": alert.status.as_str(),
        "msgType": alert.msg_type.as_str(),
        "scope": alert.scope.as_str(),
        "codes": alert.codes,
        "infos": alert.infos.iter().map(info).collect::<Vec<_>>(),
    });
    perhaps(&mut said, "note", alert.note.as_ref());
    said
}

fn info(info: &Info) -> Value {
    let mut said = json!({
        "event": info.event,
        "urgency": info.urgency.as_str(),
        "severity": info.severity.as_str(),
        "certainty": info.certainty.as_str(),
        "category": info.categories.iter().map(|c| c.as_str()).collect::<Vec<_>>(),
        "responseType": info.response_types.iter().map(|r| r.as_str()).collect::<Vec<_>>(),
        "areas": info.areas.iter().map(area).collect::<Vec<_>>(),
    });
    perhaps(&mut said, "language", info.language.as_ref());
    perhaps(&mut said, "effective", info.effective);
    perhaps(&mut said, "onset", info.onset);
    perhaps(&mut said, "expires", info.expires);
    perhaps(&mut said, "senderName", info.sender_name.as_ref());
    perhaps(&mut said, "headline", info.headline.as_ref());
    said
}

fn area(area: &Area) -> Value {
    json!({
        "areaDesc": area.description,
        "polygons": area.polygons.len(),
        // As the vectors write them, with a decimal point in each radius.
        "circles": area.circles.iter().map(|c| format!("{} {:.1}", c.centre(), c.radius_km())).collect::<Vec<_>>(),
        "geocodes": area.geocodes.len(),
    })
}

fn perhaps(said: &mut Value, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        said[name] = json!(value.to_string());
    }
}

#[test]
fn every_message_is_read_and_written_back() {
    let Some(all) = vectors() else { return };
    let alerts = all["alerts"].as_array().unwrap();
    assert!(alerts.len() >= 3);
    for entry in alerts {
        let message = read(xml(entry)).unwrap();
        assert_eq!(
            decoded(&message.alert, message.version),
            entry["decoded"],
            "{}",
            entry["id"]
        );
        assert_eq!(message.alert.remarks(), [], "{}", entry["id"]);
        let again = write(&message.alert).unwrap();
        let second = read(again.as_bytes()).unwrap();
        assert_eq!(
            (&second.alert, second.version),
            (&message.alert, Version::V1_2),
            "{again}"
        );
        assert_eq!(write(&second.alert).unwrap(), again);
    }
}

#[test]
fn unknown_parameters_are_kept() {
    let Some(all) = vectors() else { return };
    let earthquake = all["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["id"] == "earthquake.cap")
        .unwrap();
    let alert = read(xml(earthquake)).unwrap().alert;
    let info = &alert.infos[0];
    assert_eq!(info.parameters.len(), 12);
    assert_eq!(
        info.parameter("Depth").collect::<Vec<_>>(),
        ["38.7 km (24.0 miles)"]
    );
}

#[test]
fn every_bad_document_is_refused_by_name() {
    let Some(all) = vectors() else { return };
    let said = all["negative"].as_array().unwrap().iter().map(|entry| {
        let id = entry["id"].as_str().unwrap();
        let error = match id.ends_with(".rss") {
            true => onemap_cap::feed::read(xml(entry)).unwrap_err(),
            false => read(xml(entry)).unwrap_err(),
        };
        (id, error.code(), error.to_string())
    });
    let said: Vec<_> = said.collect();
    let table: Vec<(&str, &str, &str)> = said
        .iter()
        .map(|(id, code, text)| (*id, *code, text.as_str()))
        .collect();
    assert_eq!(
        table,
        [
            (
                "invalid.cap",
                "missing",
                "line 9, alert: element `scope` is missing"
            ),
            ("noaa_errors.cap", "empty", "line 13, alert/references: is empty"),
            (
                "invalid.rss",
                "missing",
                "line 3, rss/channel: element `title` is missing"
            ),
        ]
    );
}

/// noaa_errors.cap has more faults than the first, each of which is one of its own.
#[test]
fn each_fault_of_the_bad_message_is_seen() {
    let Some(all) = vectors() else { return };
    let entries = all["negative"].as_array().unwrap();
    let bad = entries
        .iter()
        .find(|entry| entry["id"] == "noaa_errors.cap")
        .unwrap()["xml"]
        .as_str()
        .unwrap();
    let mut text = bad.to_owned();
    for (code, path, from, to) in [
        ("empty", "alert/references", "<references></references>\n", "\n"),
        (
            "word",
            "alert/info[1]/urgency",
            "<urgency></urgency>",
            "<urgency>Expected</urgency>",
        ),
        (
            "word",
            "alert/info[1]/severity",
            "<severity></severity>",
            "<severity>Minor</severity>",
        ),
        (
            "word",
            "alert/info[1]/certainty",
            "<certainty></certainty>",
            "<certainty>Very Likely</certainty>",
        ),
        (
            "coordinate",
            "alert/info[1]/area[1]/polygon[1]",
            "-118.09, ",
            "-118.09 ",
        ),
        (
            "coordinate",
            "alert/info[1]/area[1]/polygon[1]",
            "-118.09, ",
            "-118.09 ",
        ),
        (
            "polygon_pairs",
            "alert/info[1]/area[1]/polygon[2]",
            "<polygon></polygon>\n",
            "\n",
        ),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.place.path.as_str()), (code, path), "{error}");
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let alert = read(text.as_bytes()).unwrap().alert;
    assert_eq!(alert.infos[0].certainty.as_str(), "Likely");
    assert_eq!(alert.infos[0].areas[0].polygons[0].points().len(), 9);
}

#[test]
fn every_feed_is_read() {
    let Some(all) = vectors() else { return };
    let feed = |id: &str| {
        let entry = all["feeds"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["id"] == id)
            .unwrap();
        onemap_cap::feed::read(xml(entry)).unwrap()
    };
    let atom = feed("earthquake_index.atom");
    assert_eq!(atom.title, "USGS M5+ Earthquakes");
    assert_eq!(atom.updated.unwrap().to_string(), "2010-08-31T08:48:10+08:00");
    assert_eq!(
        atom.self_link.as_deref(),
        Some("http://earthquake.usgs.gov/earthquakes/catalogs/7day-M5.xml")
    );
    let [item] = &atom.items[..] else {
        panic!("{:?}", atom.items)
    };
    assert_eq!(item.id.as_deref(), Some("urn:earthquake-usgs-gov:us:2010apcd"));
    assert_eq!(
        item.alert_link(),
        Some("http://earthquake.usgs.gov/earthquakes/catalogs/cap/us2010apcd")
    );
    assert!(item.summary.as_deref().unwrap().contains("16.053&#176;S"));
    assert!(item.alert.is_none());

    let rss = feed("ny_index.rss");
    assert_eq!(rss.title, "NY State-Wide RSS-Based CAP Index");
    assert_eq!(rss.items.len(), 2);
    let item = &rss.items[1];
    assert_eq!(item.id.as_deref(), Some("NYAlert-ALLHAZALERT-3162202"));
    assert!(item.title.contains("line & West Point"));
    assert_eq!(item.published.unwrap().to_string(), "2011-01-29T00:13:00+08:00");
    assert_eq!(
        item.alert_link(),
        Some("http://www.nyalert.gov/Public/News/GetCapAlert.aspx?capID=NYAlert-ALLHAZALERT-3162202")
    );
}
