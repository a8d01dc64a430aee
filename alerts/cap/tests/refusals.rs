//! One good message, and what becomes of it when one thing is another.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_cap::{Fault, read, write};

const GOOD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2">
<identifier>63010041600000_20261123081500</identifier>
<sender>qxt@xining.gov.cn</sender>
<sent>2026-11-23T08:15:00+08:00</sent>
<status>Actual</status>
<msgType>Update</msgType>
<source>desk 3</source>
<scope>Private</scope>
<addresses>a@b.cn "West gate"</addresses>
<code>c1</code>
<code>c2</code>
<note>n</note>
<references>qxt@xining.gov.cn,63010041600000_20261123071500,2026-11-23T07:15:00+08:00</references>
<incidents>i1 "i 2"</incidents>
<info>
<language>zh-CN</language>
<category>Met</category>
<event>暴雨</event>
<responseType>Prepare</responseType>
<urgency>Expected</urgency>
<severity>Severe</severity>
<certainty>Likely</certainty>
<audience>all</audience>
<eventCode><valueName>GB/T 35561</valueName><value>11B03</value></eventCode>
<effective>2026-11-23T08:15:00+08:00</effective>
<onset>2026-11-23T09:00:00+08:00</onset>
<expires>2026-11-23T14:00:00+08:00</expires>
<senderName>西宁市气象台</senderName>
<headline>暴雨橙色预警</headline>
<description>d</description>
<instruction>i</instruction>
<web>https://example.cn/w/1</web>
<contact>12379</contact>
<parameter><valueName>p</valueName><value>v</value></parameter>
<resource><resourceDesc>map</resourceDesc><mimeType>image/png</mimeType><size>3</size><uri>https://example.cn/a.png</uri><derefUri>QUJD</derefUri><digest>da39a3ee5e6b4b0d3255bfef95601890afd80709</digest></resource>
<area>
<areaDesc>城东区</areaDesc>
<polygon>36.6,101.7 36.7,101.7 36.7,101.8 36.6,101.7</polygon>
<circle>36.6,101.7 2.5</circle>
<geocode><valueName>GB/T 2260</valueName><value>630102000000</value></geocode>
<altitude>7000</altitude>
<ceiling>9000.5</ceiling>
</area>
</info>
</alert>
"#;

/// The message with `from` replaced by `to`.
fn other(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn every_element_of_the_standard_is_read_and_written() {
    let message = read(GOOD.as_bytes()).unwrap();
    assert_eq!(message.alert.remarks(), []);
    assert_eq!(message.alert.addresses, ["a@b.cn", "West gate"]);
    assert_eq!(message.alert.incidents, ["i1", "i 2"]);
    let area = &message.alert.infos[0].areas[0];
    assert_eq!(area.ceiling.unwrap().feet(), 9000.5);
    let flat = |text: &str| text.lines().map(str::trim).collect::<String>();
    assert_eq!(flat(&write(&message.alert).unwrap()), flat(GOOD));
}

#[test]
fn what_is_wrong_is_said_by_name_and_place() {
    let info = "alert/info[1]";
    let area = "alert/info[1]/area[1]";
    for (from, to, code, path) in [
        // The root.
        ("cap:1.2", "cap:1.0", "namespace", "alert"),
        (
            " xmlns=\"urn:oasis:names:tc:emergency:cap:1.2\"",
            "",
            "namespace",
            "alert",
        ),
        ("<alert xmlns", "<alert version='1' xmlns", "attribute", "alert"),
        // Order and counts.
        (
            "<status>Actual</status>\n<msgType>Update</msgType>",
            "<msgType>Update</msgType><status>Actual</status>",
            "order",
            "alert",
        ),
        (
            "<source>desk 3</source>\n<scope>Private</scope>",
            "<scope>Private</scope><source>desk 3</source>",
            "order",
            "alert",
        ),
        ("<note>n</note>", "", "good", ""),
        (
            "<note>n</note>",
            "<note>n</note><note>n</note>",
            "repeated",
            "alert",
        ),
        ("<note>n</note>", "<notes>n</notes>", "unknown_element", "alert"),
        (
            "<note>n</note>",
            "<x:n xmlns:x='u'>n</x:n>",
            "foreign_element",
            "alert",
        ),
        (
            "<note>n</note>",
            "<note xmlns=''>n</note>",
            "foreign_element",
            "alert",
        ),
        (
            "<note>n</note>",
            "<note><b>n</b></note>",
            "unknown_element",
            "alert/note",
        ),
        (
            "<note>n</note>",
            "<note lang='zh'>n</note>",
            "attribute",
            "alert/note",
        ),
        ("<note>n</note>", "n", "stray_text", "alert"),
        (
            "<identifier>63010041600000_20261123081500</identifier>",
            "",
            "missing",
            "alert",
        ),
        ("<scope>Private</scope>", "", "missing", "alert"),
        ("<category>Met</category>", "", "missing", info),
        ("<urgency>Expected</urgency>", "", "missing", info),
        (
            "<event>暴雨</event>\n<responseType>Prepare</responseType>",
            "<responseType>Prepare</responseType><event>暴雨</event>",
            "order",
            info,
        ),
        (
            "<senderName>西宁市气象台</senderName>\n<headline>暴雨橙色预警</headline>",
            "<headline>h</headline><senderName>s</senderName>",
            "order",
            info,
        ),
        (
            "<valueName>p</valueName>",
            "",
            "missing",
            "alert/info[1]/parameter[1]",
        ),
        (
            "<valueName>p</valueName><value>v</value>",
            "<value>v</value><valueName>p</valueName>",
            "order",
            "alert/info[1]/parameter[1]",
        ),
        (
            "<valueName>p</valueName><value>v</value>",
            "<valueName>p</valueName><value>v</value><value>v</value>",
            "repeated",
            "alert/info[1]/parameter[1]",
        ),
        (
            "<mimeType>image/png</mimeType>",
            "",
            "missing",
            "alert/info[1]/resource[1]",
        ),
        ("<areaDesc>城东区</areaDesc>\n", "", "missing", area),
        (
            "</ceiling>",
            "</ceiling><Signature xmlns='http://www.w3.org/2000/09/xmldsig#'/>",
            "foreign_element",
            area,
        ),
        // Words: the case counts, and so do blanks.
        ("<status>Actual", "<status>actual", "word", "alert/status"),
        ("<status>Actual", "<status> Actual", "word", "alert/status"),
        ("<msgType>Update", "<msgType>", "word", "alert/msgType"),
        ("<scope>Private", "<scope>Secret", "word", "alert/scope"),
        (
            "<category>Met",
            "<category>Weather",
            "word",
            "alert/info[1]/category[1]",
        ),
        (
            "<responseType>Prepare",
            "<responseType>Run",
            "word",
            "alert/info[1]/responseType[1]",
        ),
        (
            "<urgency>Expected",
            "<urgency>Soon",
            "word",
            "alert/info[1]/urgency",
        ),
        (
            "<severity>Severe",
            "<severity>Orange",
            "word",
            "alert/info[1]/severity",
        ),
        (
            "<certainty>Likely",
            "<certainty>very likely",
            "word",
            "alert/info[1]/certainty",
        ),
        ("<certainty>Likely", "<certainty>Very Likely", "good", ""),
        // Times.
        (
            "<sent>2026-11-23T08:15:00+08:00",
            "<sent>2026-11-23T08:15:00Z",
            "time_z",
            "alert/sent",
        ),
        (
            "<sent>2026-11-23T08:15:00+08:00",
            "<sent>2026-11-23T08:15:00",
            "time_offset",
            "alert/sent",
        ),
        (
            "<sent>2026-11-23T08:15:00+08:00",
            "<sent>2026-11-23T08:15:00.5+08:00",
            "time_fraction",
            "alert/sent",
        ),
        (
            "<sent>2026-11-23T08:15:00+08:00",
            "<sent>2026-11-31T08:15:00+08:00",
            "time",
            "alert/sent",
        ),
        (
            "<sent>2026-11-23T08:15:00+08:00",
            "<sent>\n2026-11-23T08:15:00+08:00 ",
            "good",
            "",
        ),
        (
            "<onset>2026-11-23T09:00:00+08:00",
            "<onset>09:00",
            "time",
            "alert/info[1]/onset",
        ),
        (
            "<expires>2026-11-23T14:00:00+08:00",
            "<expires>",
            "time",
            "alert/info[1]/expires",
        ),
        // Names of messages.
        (
            "<identifier>6301",
            "<identifier>6301 ",
            "forbidden_character",
            "alert/identifier",
        ),
        (
            "<identifier>6301",
            "<identifier>6301,",
            "forbidden_character",
            "alert/identifier",
        ),
        (
            "<sender>qxt",
            "<sender>q&amp;t",
            "forbidden_character",
            "alert/sender",
        ),
        (
            "<sender>qxt",
            "<sender>q&lt;t",
            "forbidden_character",
            "alert/sender",
        ),
        ("<sender>qxt@xining.gov.cn", "<sender>", "empty", "alert/sender"),
        (
            ",2026-11-23T07:15:00+08:00</ref",
            "</ref",
            "reference",
            "alert/references",
        ),
        (
            "07:15:00+08:00</ref",
            "07:15:00Z</ref",
            "time_z",
            "alert/references",
        ),
        ("<event>暴雨", "<event> ", "empty", "alert/info[1]/event"),
        (
            "<areaDesc>城东区",
            "<areaDesc>",
            "empty",
            "alert/info[1]/area[1]/areaDesc",
        ),
        (
            "<valueName>p",
            "<valueName>",
            "empty",
            "alert/info[1]/parameter[1]/valueName",
        ),
        ("<value>v", "<value>", "good", ""),
        // Scope.
        (
            "<addresses>a@b.cn \"West gate\"</addresses>\n",
            "",
            "private_without_addresses",
            "alert/scope",
        ),
        (
            "<addresses>a@b.cn \"West gate\"",
            "<addresses>",
            "private_without_addresses",
            "alert/scope",
        ),
        ("\"West gate\"", "\"West gate", "quote", "alert/addresses"),
        (
            "<scope>Private",
            "<scope>Restricted",
            "restricted_without_restriction",
            "alert/scope",
        ),
        (
            "<scope>Private</scope>",
            "<scope>Restricted</scope><restriction>r</restriction>",
            "good",
            "",
        ),
        // Places.
        (
            " 36.6,101.7</polygon>",
            " 36.6,101.9</polygon>",
            "polygon_open",
            "alert/info[1]/area[1]/polygon[1]",
        ),
        (
            " 36.7,101.8 36",
            " 36",
            "polygon_pairs",
            "alert/info[1]/area[1]/polygon[1]",
        ),
        (
            "<polygon>36.6,101.7",
            "<polygon>101.7,36.6",
            "off_globe",
            "alert/info[1]/area[1]/polygon[1]",
        ),
        (
            "<polygon>36.6,101.7",
            "<polygon>36.6;101.7",
            "coordinate",
            "alert/info[1]/area[1]/polygon[1]",
        ),
        (
            " 2.5</circle>",
            "</circle>",
            "circle",
            "alert/info[1]/area[1]/circle[1]",
        ),
        (
            " 2.5</circle>",
            " -2.5</circle>",
            "circle",
            "alert/info[1]/area[1]/circle[1]",
        ),
        (" 2.5</circle>", " 0</circle>", "good", ""),
        (
            "<altitude>7000</altitude>\n",
            "",
            "ceiling_without_altitude",
            "alert/info[1]/area[1]/ceiling",
        ),
        (
            "<altitude>7000",
            "<altitude>9001",
            "altitude_above_ceiling",
            "alert/info[1]/area[1]/altitude",
        ),
        (
            "<altitude>7000",
            "<altitude>high",
            "number",
            "alert/info[1]/area[1]/altitude",
        ),
        (
            "<size>3",
            "<size>3 kB",
            "number",
            "alert/info[1]/resource[1]/size",
        ),
        // Entities and the like.
        (
            "<alert",
            "<!DOCTYPE alert SYSTEM 'http://evil/x.dtd'><alert",
            "dtd",
            "",
        ),
        ("<note>n", "<note>&n;", "entity", ""),
        ("<note>n", "<note>&#22270;&amp;", "good", ""),
        ("</note>", "</nota>", "broken_xml", ""),
    ] {
        let text = other(from, to);
        match read(text.as_bytes()) {
            Ok(_) => assert_eq!(code, "good", "{to}"),
            Err(error) => {
                assert_eq!(
                    (error.code(), error.place.path.as_str()),
                    (code, path),
                    "{to}: {error}"
                );
                assert!(error.place.line.is_some(), "{error}");
                assert!(Fault::CODES.contains(&error.code()));
            }
        }
    }
}

#[test]
fn an_order_is_told_with_what_belongs_before() {
    let text = other(
        "<source>desk 3</source>\n<scope>Private</scope>",
        "<scope>Private</scope>\n<source>desk 3</source>",
    );
    let said = read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        said,
        "line 9, alert: element `source` stands out of order, `scope` stands before it"
    );
    let text = other(
        "<status>Actual</status>\n<msgType>Update</msgType>",
        "<msgType>Update</msgType>\n<status>Actual</status>",
    );
    let said = read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        said,
        "line 6, alert: element `msgType` stands where `status` is due"
    );
}

#[test]
fn what_is_against_advice_is_read_and_not_written() {
    for (from, to, code, path) in [
        (
            "<headline>",
            &*format!("<headline>{}", "字".repeat(154)),
            "headline_long",
            "alert/info[1]/headline",
        ),
        (
            "<references>qxt@xining.gov.cn,63010041600000_20261123071500,2026-11-23T07:15:00+08:00</references>\n",
            "",
            "without_references",
            "alert/msgType",
        ),
        (
            "</scope>",
            "</scope><restriction>r</restriction>",
            "restriction_unused",
            "alert/restriction",
        ),
        (
            "<expires>2026-11-23T14",
            "<expires>2026-11-23T08",
            "expires_before",
            "alert/info[1]/expires",
        ),
        (
            "<language>zh-CN",
            "<language>zh_CN",
            "language",
            "alert/info[1]/language",
        ),
        (
            "<web>https://example.cn/w/1",
            "<web>w/1",
            "uri",
            "alert/info[1]/web",
        ),
        (
            "<mimeType>image/png",
            "<mimeType>png",
            "mime_type",
            "alert/info[1]/resource[1]/mimeType",
        ),
        (
            "<uri>https://example.cn/a.png",
            "<uri>a b",
            "uri",
            "alert/info[1]/resource[1]/uri",
        ),
        (
            "<derefUri>QUJD",
            "<derefUri>QUJ",
            "base64",
            "alert/info[1]/resource[1]/derefUri",
        ),
        (
            "<digest>da39",
            "<digest>",
            "digest",
            "alert/info[1]/resource[1]/digest",
        ),
        (
            "<msgType>Update</msgType>",
            "<msgType>Error</msgType>",
            "good",
            "",
        ),
    ] {
        let text = match code {
            "expires_before" => {
                other(from, to).replacen("T08:00:00+08:00</expires>", "T08:14:59+08:00</expires>", 1)
            }
            _ => other(from, to),
        };
        let alert = read(text.as_bytes()).unwrap().alert;
        let remarks = alert.remarks();
        if code == "good" {
            assert_eq!(remarks, []);
            continue;
        }
        let said: Vec<_> = remarks
            .iter()
            .map(|remark| (remark.code(), remark.place.path.as_str()))
            .collect();
        assert_eq!(said, [(code, path)]);
        assert_eq!(write(&alert).unwrap_err(), remarks[0]);
    }
}

#[test]
fn infos_are_of_one_event() {
    let at = GOOD.find("<info>").unwrap();
    let second = &GOOD[at..GOOD.len() - "</alert>\n".len()];
    for (from, to, codes) in [
        ("zh-CN", "en-US", &[][..]),
        ("<category>Met", "<category>Geo", &["category_differs"]),
        ("<value>11B03", "<value>11B04", &["category_differs"]),
        ("<event>暴雨", "<event>Heavy rain", &["event_differs"]),
    ] {
        let text = GOOD.replace("</alert>\n", &second.replacen(from, to, 1)) + "</alert>";
        let remarks = read(text.as_bytes()).unwrap().alert.remarks();
        assert_eq!(
            remarks.iter().map(|remark| remark.code()).collect::<Vec<_>>(),
            codes,
            "{to}"
        );
    }
}

#[test]
fn older_messages_may_say_less() {
    let old = GOOD
        .replace("cap:1.2", "cap:1.1")
        .replace("<mimeType>image/png</mimeType>", "")
        .replace("08:15:00+08:00", "00:15:00Z");
    let alert = read(old.as_bytes()).unwrap().alert;
    assert_eq!(alert.sent.to_string(), "2026-11-23T00:15:00-00:00");
    let remarks = alert.remarks();
    assert_eq!(
        remarks.iter().map(|remark| remark.code()).collect::<Vec<_>>(),
        ["missing"]
    );
}

#[test]
fn signatures_are_passed_over_at_the_end() {
    let signature = "<Signature xmlns='http://www.w3.org/2000/09/xmldsig#' Id='s'><SignedInfo a='1'>x<b/></SignedInfo></Signature>";
    let signed = GOOD.replace("</alert>", &format!("{signature}</alert>"));
    let message = read(signed.as_bytes()).unwrap();
    assert!(message.is_signed);
    assert_eq!(message.alert, read(GOOD.as_bytes()).unwrap().alert);
    let early = other("<note>", &format!("{signature}<note>"));
    assert_eq!(read(early.as_bytes()).unwrap_err().code(), "order");
}

#[test]
fn a_message_is_over_when_its_last_info_is() {
    let alert = read(GOOD.as_bytes()).unwrap().alert;
    let end = alert.expires().unwrap();
    assert_eq!(end.to_string(), "2026-11-23T14:00:00+08:00");
    assert!(alert.is_active(alert.sent.at()));
    assert!(!alert.is_active(end));
    let endless = read(other("<expires>2026-11-23T14:00:00+08:00</expires>", "").as_bytes())
        .unwrap()
        .alert;
    assert_eq!(endless.expires(), None);
    assert!(endless.is_active(end));
}
