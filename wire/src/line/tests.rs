#![allow(clippy::unwrap_used)]

use onemap_model::ProfileId;

use super::*;

/// `measurement{tags}[fields]@stamp` of each line, or where it is broken.
fn read(payload: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(payload);
    let mut lines = Vec::new();
    while let Some((_, line)) = reader.next_line() {
        lines.push(match line {
            Err(bad) => format!("{}:{}", bad.line, bad.column),
            Ok(line) => {
                let mut text = line.measurement.to_string();
                for (key, value) in &line.tags {
                    text += &format!("|{key}={value}");
                }
                for (key, value) in &line.fields {
                    text += &match value {
                        Field::Float(n) => format!(" {key}={n}"),
                        Field::Int(n) => format!(" {key}={n}i"),
                        Field::Unsigned(n) => format!(" {key}={n}u"),
                        Field::Bool(b) => format!(" {key}={b}"),
                        Field::Text(t) => format!(" {key}=<{t}>"),
                    };
                }
                if let Some(stamp) = line.stamp {
                    text += &format!(" @{stamp}");
                }
                text
            }
        });
    }
    lines
}

#[test]
fn good_lines_are_read() {
    for (payload, want) in [
        ("m v=1", &["m v=1"][..]),
        ("m v=1 17", &["m v=1 @17"]),
        ("m v=1 -17\n", &["m v=1 @-17"]),
        (
            "m,a=1,b=2 v=1i,w=2u,x=t,y=FALSE,z=\"q\" 5\n",
            &["m|a=1|b=2 v=1i w=2u x=true y=false z=<q> @5"],
        ),
        ("m v=1.5e3,w=-2E-2,x=+.5,y=5.", &["m v=1500 w=-0.02 x=0.5 y=5"]),
        (
            "m v=-9223372036854775808i,w=18446744073709551615u",
            &["m v=-9223372036854775808i w=18446744073709551615u"],
        ),
        ("m v=1\r\nn v=2 3\r\n", &["m v=1", "n v=2 @3"]),
        ("# a comment\n\n  \n \t m v=1  7  \n#end", &["m v=1 @7"]),
        (
            r"a\,b\ c\=d,t\ ag=va\,l\=ue f\ ield=1",
            &[r"a,b c=d|t ag=va,l=ue f ield=1"],
        ),
        (r"c:\dir,p=C:\x v=1", &[r"c:\dir|p=C:\x v=1"]),
        (
            r#"m v="a \"b\" c:\\x \n ,= " 9"#,
            &[r#"m v=<a "b" c:\x \n ,= > @9"#],
        ),
        ("m v=\"two\nlines\"\nn v=!", &["m v=<two\nlines>", "3:5"]),
        ("温度,站=城东 值=21.5", &["温度|站=城东 值=21.5"]),
        // No order of tags is demanded.
        ("m,z=1,a=2 v=1", &["m|z=1|a=2 v=1"]),
        ("", &[]),
        ("\n\r\n", &[]),
    ] {
        assert_eq!(read(payload.as_bytes()), want, "{payload}");
    }
}

#[test]
fn a_broken_line_costs_only_itself() {
    for (payload, want) in [
        ("m", "1:2"),
        ("m,", "1:3"),
        ("m,a v=1", "1:4"),
        ("m,a= v=1", "1:5"),
        ("m,=1 v=1", "1:3"),
        (",a=1 v=1", "1:1"),
        ("m v", "1:4"),
        ("m v=", "1:5"),
        ("m =1", "1:3"),
        ("m v=1,", "1:7"),
        ("m v=NaN", "1:5"),
        ("m v=inf", "1:5"),
        ("m v=-Infinity", "1:5"),
        ("m v=1e999", "1:5"),
        ("m v=1.5i", "1:5"),
        ("m v=-1u", "1:5"),
        ("m v=9223372036854775808i", "1:5"),
        ("m v=yes", "1:5"),
        ("m v=0x10", "1:5"),
        ("m v=1 soon", "1:7"),
        ("m v=1 1.5", "1:7"),
        ("m v=1 5 6", "1:9"),
        ("m v=1 99999999999999999999", "1:7"),
        ("m v=\"open", "1:5"),
        ("m v=\"a\"b", "1:8"),
    ] {
        let behind = format!("{payload}\nok v=1");
        assert_eq!(read(behind.as_bytes()), [want, "ok v=1"], "{payload}");
        let before = format!("ok v=1\n{payload}");
        assert_eq!(
            read(before.as_bytes())[1],
            want.replacen('1', "2", 1),
            "{payload}"
        );
    }
    assert_eq!(read(b"m\xff v=1\nm v=\"\xff\"\nok v=1"), ["1:1", "2:5", "ok v=1"]);
}

fn samples(payload: &str, precision: Precision, profile: Option<&Profile>) -> String {
    let message = decode(payload.as_bytes(), precision, profile);
    let mut lines: Vec<String> = message
        .samples
        .iter()
        .map(|s| {
            let at = s.measured_at.map_or(String::new(), |t| format!("@{}", t.ms()));
            format!("{}#{}={}{at}", s.quantity, s.channel, s.value.number().unwrap())
        })
        .collect();
    lines.extend(message.refused.iter().map(|r| r.refusal.label().to_owned()));
    lines.join(" ")
}

#[test]
fn fields_find_their_quantity() {
    let ns = Precision::Nanoseconds;
    for (payload, precision, want) in [
        (
            "weather temperature=21.5,humidity=40i 1763856000000000000",
            ns,
            "temperature#0=21.5@1763856000000 humidity#0=40@1763856000000",
        ),
        ("temperature value=3", ns, "temperature#0=3"),
        (
            "water level=1.2 1763856000",
            Precision::Seconds,
            "water_level#0=1.2@1763856000000",
        ),
        ("air,ch=3 pm2_5=7 5", Precision::Milliseconds, "pm2_5#3=7@5"),
        ("x switch=t", ns, "switch#0=1"),
        ("x temperature=t,ph=7", ns, "ph#0=7 not_a_number"),
        ("x temperature=\"21\",ph=7", ns, "ph#0=7 not_a_number"),
        ("cpu usage_idle=99.5,ph=7", ns, "ph#0=7 unknown_quantity"),
        ("x,ch=top ph=7", ns, "wrong_shape"),
        ("x ph=7 9223372036854775807", Precision::Hours, "wrong_shape"),
        ("x ph=7\nbroken\nx ph=8", ns, "ph#0=7 ph#0=8 broken_line"),
    ] {
        assert_eq!(samples(payload, precision, None), want, "{payload}");
    }
    let profile = Profile::parse(
        &ProfileId::new("p").unwrap(),
        "version: 1\nname: {zh: 甲, en: A}\nprotocol: native\nkeys:\n  probe_t: {quantity: temperature, unit: degF, channel: 2}\n  probe.h: {quantity: humidity}\n  ph: {quantity: soil_ph}\n  level: {quantity: water_level}\n",
    )
    .unwrap();
    assert_eq!(
        samples(
            "probe t=212,h=40,ph=6,co=1\nlevel value=2\nprobe,ch=5 t=32",
            ns,
            Some(&profile)
        ),
        "temperature#2=212 humidity#0=40 soil_ph#0=6 co#0=1 water_level#0=2 temperature#5=32"
    );
}

/// The same as a line, escaped.
#[test]
fn what_a_known_quantity_cannot_hold_is_a_fault_and_what_nobody_knows_is_none() {
    let profile = Profile::parse(
        &ProfileId::new("p").unwrap(),
        "version: 1\nname: {zh: 甲, en: A}\nprotocol: native\nkeys:\n  dust: {quantity: pm10}\n",
    )
    .unwrap();
    for (line, of_dictionary, of_profile) in [
        ("air pm10=1", "", ""),
        (
            "air co=1,pm10=\"abc\"",
            "line 7: `pm10` is the text `abc`, not a number",
            "line 7: `pm10` is the text `abc`, not a number",
        ),
        (
            "air dust=\"abc\"",
            "",
            "line 7: `dust` is the text `abc`, not a number",
        ),
        (
            "air pm10=t",
            "line 7: `pm10` is true, and pm10 is no state",
            "line 7: `pm10` is true, and pm10 is no state",
        ),
        ("air switch=t,state=\"on\",pm10=1", "", ""),
        ("air,ch=2 pm10=1", "", ""),
        (
            "air,ch=top pm10=1",
            "line 7: the tag `ch` is not a channel from 0 to 65535",
            "line 7: the tag `ch` is not a channel from 0 to 65535",
        ),
    ] {
        let mut reader = Reader::new(line.as_bytes());
        let (_, read) = reader.next_line().unwrap();
        let fault = |profile| {
            let fault = read.as_ref().unwrap().fault(7, Precision::default(), || profile);
            fault.map_or(String::new(), |fault| fault.detail)
        };
        assert_eq!(
            (fault(None).as_str(), fault(Some(&profile)).as_str()),
            (of_dictionary, of_profile),
            "{line}"
        );
    }
}

fn written(line: &Line<'_>) -> String {
    let escaped = |text: &str| text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
    let mut text = escaped(&line.measurement);
    for (key, value) in &line.tags {
        text += &format!(",{}={}", escaped(key), escaped(value));
    }
    for (i, (key, value)) in line.fields.iter().enumerate() {
        text += if i == 0 { " " } else { "," };
        text += &escaped(key);
        text += &match value {
            Field::Float(n) => format!("={n:?}"),
            Field::Int(n) => format!("={n}i"),
            Field::Unsigned(n) => format!("={n}u"),
            Field::Bool(b) => format!("={b}"),
            Field::Text(t) => format!("=\"{}\"", t.replace('\\', "\\\\").replace('"', "\\\"")),
        };
    }
    line.stamp.map_or(text.clone(), |stamp| format!("{text} {stamp}"))
}

fn a_field() -> impl proptest::strategy::Strategy<Value = Field<'static>> {
    use proptest::prelude::*;
    prop_oneof![
        (-1e300f64..1e300).prop_map(Field::Float),
        any::<i64>().prop_map(Field::Int),
        any::<u64>().prop_map(Field::Unsigned),
        any::<bool>().prop_map(Field::Bool),
        any::<String>().prop_map(|t| Field::Text(t.into())),
    ]
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let mut reader = Reader::new(&bytes);
        let mut end = 0;
        while let Some((Place { range, .. }, _)) = reader.next_line() {
            proptest::prop_assert!(range.start >= end && range.end <= bytes.len());
            end = range.end;
        }
    }
    #[test]
    fn any_likely_text_is_read_without_panic(text in "[m,= \\\\\"0-9.ei\\-\r\n#]{0,60}") {
        decode(text.as_bytes(), Precision::Nanoseconds, None);
    }
    #[test]
    fn what_is_written_is_read(
        measurement in "[a-z温][a-z ,=]{0,8}[a-z]",
        tags in proptest::collection::vec(("[a-z ,=]{0,6}[a-z]", "[a-z ,=]{0,6}[a-z]"), 0..4),
        fields in proptest::collection::vec(("[a-z ,=]{0,6}[a-z]", a_field()), 1..4),
        stamp: Option<i64>,
    ) {
        let line = Line {
            measurement: measurement.into(),
            tags: tags.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            fields: fields.into_iter().map(|(k, v)| (k.into(), v)).collect(),
            stamp,
        };
        let text = written(&line);
        let mut reader = Reader::new(text.as_bytes());
        proptest::prop_assert_eq!(reader.next_line().map(|(_, line)| line), Some(Ok(&line)));
        proptest::prop_assert!(reader.next_line().is_none());
    }
}
