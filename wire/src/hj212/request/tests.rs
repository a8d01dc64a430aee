#![allow(clippy::unwrap_used)]
use super::*;
use crate::hj212::{Framer, Kind, Piece, command_of, decode, encode, known_field};

fn peer() -> Peer {
    Peer {
        st: "32".into(),
        pw: "123456".into(),
        mn: "010000A8900016F000169DC0".into(),
        version: Version::V2017,
    }
}

#[test]
fn every_request_is_written_as_the_standard_has_it_and_reads_back() {
    let at = |text: &str| stamp::read(text).unwrap();
    let analyser = |what| Request::Analyser {
        what,
        pol_id: "w01018".into(),
    };
    let history = |what| Request::History {
        what,
        begin: at("20160801080000"),
        end: at("20160801090000"),
    };
    let span = "BeginTime=20160801080000;EndTime=20160801090000";
    for (request, cn, cp) in [
        (
            Request::Timeouts {
                over_time_s: 5,
                resends: 3,
            },
            "1000",
            "OverTime=5;ReCount=3",
        ),
        (Request::ReadClock { pol_id: None }, "1011", ""),
        (
            Request::ReadClock {
                pol_id: Some("w01018".into()),
            },
            "1011",
            "PolId=w01018",
        ),
        (
            Request::SetClock {
                pol_id: None,
                time: at("20160801080000"),
            },
            "1012",
            "SystemTime=20160801080000",
        ),
        (Request::ReadRtdInterval, "1061", ""),
        (Request::SetRtdInterval(3600), "1062", "RtdInterval=3600"),
        (Request::ReadMinuteInterval, "1063", ""),
        (Request::SetMinuteInterval(12), "1064", "MinInterval=12"),
        (Request::SetPassword("654321".into()), "1072", "NewPW=654321"),
        (Request::StartRealTime, "2011", ""),
        (Request::StopRealTime, "2012", ""),
        (Request::StartState, "2021", ""),
        (Request::StopState, "2022", ""),
        (history(History::Days), "2031", span),
        (history(History::RunningHours), "2041", span),
        (history(History::Minutes), "2051", span),
        (history(History::Hours), "2061", span),
        (analyser(AnalyserCommand::Calibrate), "3011", "PolId=w01018"),
        (analyser(AnalyserCommand::SerialNumber), "3019", "PolId=w01018"),
        (Request::KeepSample, "3015", ""),
        (
            Request::SetSampling {
                pol_id: "w01018".into(),
                start: "000000".into(),
                every_h: 2,
            },
            "3016",
            "PolId=w01018;CstartTime=000000;Ctime=2",
        ),
        (
            Request::Information {
                pol_id: "w01018".into(),
                info_id: "i11001".into(),
                span: None,
            },
            "3020",
            "PolId=w01018,InfoId=i11001",
        ),
        (
            Request::SetParameter {
                pol_id: "w01018".into(),
                info_id: "i13004".into(),
                value: "168.0".into(),
            },
            "3021",
            "PolId=w01018,InfoId=i13004,i13004-Info=168.0",
        ),
    ] {
        let segment = request.segment(&peer(), "20160801085857223").unwrap();
        let want = format!(
            "QN=20160801085857223;ST=32;CN={cn};PW=123456;MN=010000A8900016F000169DC0;Flag=5;CP=&&{cp}&&"
        );
        assert_eq!(segment.text(), want);
        for item in segment.cp.iter().flat_map(|group| &group.0) {
            assert!(
                known_field(cn, Version::V2017, &item.key).is_some(),
                "{cn} {}",
                item.key
            );
        }
        let kind = command_of(cn, Version::V2017).unwrap().kind;
        assert!(!matches!(kind, Kind::Upload | Kind::Answer), "{cn}");
        let pieces = Framer::default().push(&encode(&segment).unwrap());
        let [Piece::Frame { frame, .. }] = &pieces[..] else {
            panic!("{pieces:?}")
        };
        assert_eq!(decode(frame, None).unwrap(), segment);
    }
}

#[test]
fn a_station_of_2005_has_its_new_password_under_the_old_name() {
    let old = Peer {
        version: Version::V2005,
        ..peer()
    };
    let segment = Request::SetPassword("654321".into())
        .segment(&old, "20160801085857223")
        .unwrap();
    assert_eq!(
        segment.text(),
        "QN=20160801085857223;ST=32;CN=1072;PW=123456;MN=010000A8900016F000169DC0;Flag=1;CP=&&PW=654321&&"
    );
}

#[test]
fn what_the_standard_does_not_allow_is_refused() {
    for request in [
        Request::SetRtdInterval(29),
        Request::SetRtdInterval(3601),
        Request::SetMinuteInterval(7),
        Request::SetPassword("1234567".into()),
        Request::SetPassword(String::new()),
        Request::History {
            what: History::Hours,
            begin: Timestamp::from_ms(1),
            end: Timestamp::from_ms(0),
        },
    ] {
        let error = request.segment(&peer(), "1").unwrap_err();
        assert!(matches!(error, RequestError::Value { .. }), "{request:?}");
    }
    let request = Request::SetPassword("1;CN=1".into());
    let error = request.segment(&peer(), "1").unwrap_err();
    assert!(matches!(error, RequestError::Separator { character: ';', .. }));
}
