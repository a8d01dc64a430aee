//! Stories of series, rules and alerts: what goes in and what must come out.
#![allow(clippy::unwrap_used, missing_docs)]

mod told;

mod story {
    pub(crate) mod player;
}

use onemap_model::{Edge, RuleId};
use onemap_rules::{Aside, Condition, Engine, Progress};
use story::player::{Player, key, rule};

const DUST: &str = "above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}";

#[test]
fn a_spike_shorter_than_the_hold_time_opens_nothing() {
    let mut city = Player::new(&rule("dust", DUST, "for: 10 min, clear_for: 1 min"));
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:00:30  station-7  pm10  490
        08:09:30  station-7  pm10   90
        08:30:00  -
        ",
    );
    assert_eq!(city.told(), "");
}

#[test]
fn a_hold_is_complete_on_the_second_even_when_no_reading_comes() {
    let mut city = Player::new(&rule("dust", DUST, "for: 30 s"));
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:01:00  -
        ",
    );
    assert_eq!(city.told(), "08:00:30 station-7/pm10/0 raised dust");
}

#[test]
fn a_resent_hour_in_one_frame_is_judged_by_its_own_time() {
    // The gateway's clock marks them 60 s apart; they all arrive in the same second, in order.
    let mut city = Player::new(&rule("dust", DUST, "for: 90 s"));
    city.play(
        "
        08:00:00  station-7  pm10   80  measured 07:50:00
        08:00:00  station-7  pm10  480  measured 07:51:00
        08:00:00  station-7  pm10  490  measured 07:52:00
        08:00:00  station-7  pm10  495  measured 07:53:00
        08:00:00  station-7  pm10   90  measured 07:54:00
        08:00:00  station-7  pm10  480  measured 07:55:00
        08:00:00  station-7  pm10  490  measured 07:58:00
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised dust
08:00:00 station-7/pm10/0 cleared dust
08:00:00 station-7/pm10/0 raised dust"
    );
}

#[test]
fn edges_of_one_frame_keep_apart_ids() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.one_position(
        7,
        "
        08:00:00  station-7  pm10  480  measured 07:50:00
        08:00:00  station-7  pm10   80  measured 07:51:00
        08:00:00  station-7  pm10  480  measured 07:52:00
        08:00:00  station-7  pm10   80  measured 07:53:00
        ",
    );
    assert_eq!(city.transitions.len(), 4);
    let edges: std::collections::BTreeSet<_> = city.transitions.iter().map(|t| t.id).collect();
    let alerts: std::collections::BTreeSet<_> = city.transitions.iter().map(|t| t.alert).collect();
    assert_eq!((edges.len(), alerts.len()), (4, 2));
}

#[test]
fn late_data_never_raises_clears_or_resets() {
    let mut city = Player::new(&rule("dust", DUST, "for: 20 s, clear_for: 20 s"));
    city.play(
        "
        08:00:00  station-7  pm10  100
        08:00:10  station-7  pm10  900  measured 07:00:00
        08:00:11  station-7  pm10  900  measured 07:59:59
        08:00:20  station-7  pm10  480
        08:00:25  station-7  pm10  100  measured 08:00:15
        08:00:30  station-7  pm10  480
        08:00:40  station-7  pm10  480
        08:00:45  station-7  pm10   10  measured 08:00:39
        08:01:10  station-7  pm10  480
        ",
    );
    assert_eq!(city.told(), "08:00:40 station-7/pm10/0 raised dust");
}

#[test]
fn what_is_said_anew_of_the_newest_moment_is_judged_and_what_is_resent_is_not() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.play(
        "
        08:00:00  station-7  pm10  100
        08:00:02  station-7  pm10  480  measured 08:00:00
        08:00:03  station-7  pm10  480  measured 08:00:00
        08:00:04  station-7  pm10   10  measured 08:00:00  resent
        08:00:05  station-7  pm10   10  measured 08:00:00
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:02 station-7/pm10/0 raised dust\n08:00:05 station-7/pm10/0 cleared dust"
    );
}

#[test]
fn history_that_says_it_is_resent_neither_pages_nor_keeps_a_series_alive() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.cadence_s = 5;
    city.play(
        "
        08:00:00  station-7  pm10  100
        08:10:00  station-7  pm10  900  measured 08:05:00  resent
        08:10:01  station-7  pm10  900  measured 08:05:05  resent
        ",
    );
    assert_eq!(city.told(), "");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Unknown);
    city.play("08:10:10  station-7  pm10  900  measured 08:10:03  resent");
    assert_eq!(city.told(), "08:10:10 station-7/pm10/0 raised dust");
}

#[test]
fn between_clear_and_raise_everything_stays_as_it_was() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.play(
        "
        08:00:00  station-7  pm10  230
        08:00:10  station-7  pm10  250
        08:00:20  station-7  pm10  250.1
        08:00:30  station-7  pm10  230
        08:00:40  station-7  pm10  200.1
        08:00:50  station-7  pm10  200
        08:01:00  station-7  pm10  230
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:20 station-7/pm10/0 raised dust
08:00:50 station-7/pm10/0 cleared dust"
    );
}

#[test]
fn a_relapse_within_the_clear_hold_keeps_the_alert_open() {
    let mut city = Player::new(&rule("dust", DUST, "clear_for: 60 s"));
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:00:30  station-7  pm10  100
        08:01:00  station-7  pm10  220
        08:01:10  station-7  pm10  100
        08:02:09  station-7  pm10  100
        08:02:20  -
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised dust
08:02:10 station-7/pm10/0 cleared dust"
    );
}

#[test]
fn silence_in_an_alert_is_lost_then_found_and_never_all_clear() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.cadence_s = 10;
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:05:00  station-7  pm10  470
        08:05:10  station-7  pm10  100
        08:09:00  -
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised dust
08:00:31 station-7/pm10/0 lost dust
08:05:00 station-7/pm10/0 found dust
08:05:10 station-7/pm10/0 cleared dust"
    );
    assert_eq!(city.state("station-7/pm10/0"), Condition::Unknown);
}

#[test]
fn data_that_returns_normal_clears_a_lost_alert_only_after_the_clear_hold() {
    let mut city = Player::new(&rule("dust", DUST, "clear_for: 20 s"));
    city.cadence_s = 10;
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:05:00  station-7  pm10  100
        08:05:10  station-7  pm10  100
        08:05:20  station-7  pm10  100
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised dust
08:00:31 station-7/pm10/0 lost dust
08:05:20 station-7/pm10/0 cleared dust"
    );
}

#[test]
fn a_value_that_may_not_be_judged_makes_the_series_unknown_and_the_hold_start_anew() {
    let mut city = Player::new(&rule("dust", DUST, "for: 20 s"));
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:00:15  station-7  pm10  9999  suspect
        08:00:30  station-7  pm10  480
        08:00:40  station-7  pm10  0  calibration
        ",
    );
    assert_eq!(city.told(), "");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Unknown);
    city.play("08:00:45  station-7  pm10  480\n 08:01:05  station-7  pm10  0  calibration");
    assert_eq!(
        city.told(),
        "08:01:05 station-7/pm10/0 raised dust
08:01:05 station-7/pm10/0 lost dust"
    );
}

#[test]
fn a_series_without_rules_is_normal_while_fresh_and_unknown_when_silent() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.cadence_s = 10;
    assert_eq!(city.state("station-7/humidity/0"), Condition::Unknown);
    city.play("08:00:00  station-7  humidity  40\n 08:00:30 -");
    assert_eq!(city.state("station-7/humidity/0"), Condition::Normal);
    city.play("08:00:31 -");
    assert_eq!(city.state("station-7/humidity/0"), Condition::Unknown);
    city.play("08:00:40  station-7  humidity  40");
    assert_eq!(city.state("station-7/humidity/0"), Condition::Normal);
    let changes = city.engine.drain_state_changes();
    assert_eq!(changes, [(key("station-7/humidity/0"), Condition::Normal)]);
    assert_eq!(city.engine.drain_state_changes(), []);
}

#[test]
fn a_device_of_unknown_cadence_is_silent_after_ten_minutes() {
    let mut city = Player::new(&rule("silent", "no_data: {for: 3 x cadence}", ""));
    city.cadence_s = 0;
    city.play("08:00:00  station-7  humidity  40\n 08:30:00 -");
    assert_eq!(city.told(), "08:10:01 station-7/humidity/0 raised silent");
}

#[test]
fn silence_is_noticed_within_one_second_and_per_device() {
    let mut city = Player::new(&rule("silent", "no_data: {for: 3 x cadence}", ""));
    city.cadence_s = 5;
    city.play(
        "
        08:00:00  a  humidity  40
        08:00:00  b  humidity  40
        08:00:10  a  humidity  40
        08:00:15  a  humidity  40
        08:00:20  a  pm10  40
        08:00:30  a  pm10  40
        08:00:40  b  humidity  40
        08:00:42  a  pm10  40
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:16 b/humidity/0 raised silent
08:00:40 b/humidity/0 cleared silent"
    );
}

#[test]
fn a_quantity_may_be_silent_while_its_device_talks() {
    let mut city = Player::new(&rule("silent", "no_data: {quantity: pm10, for: 20 s}", ""));
    city.play(
        "
        08:00:00  station-7  pm10  40
        08:00:00  station-7  humidity  40
        08:00:15  station-7  humidity  40
        08:00:25  station-7  humidity  40
        08:00:30  station-7  pm10  40
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:21 station-7/pm10/0 raised silent
08:00:30 station-7/pm10/0 cleared silent"
    );
}

#[test]
fn a_registered_device_that_never_speaks_is_told() {
    let mut city = Player::new(&rule("silent", "no_data: {for: 20 s}", ""));
    city.play("08:00:00  register station-7\n 08:01:00  station-7  humidity  40");
    assert_eq!(
        city.told(),
        "08:00:21 station-7/seq/0 raised silent
08:01:00 station-7/seq/0 cleared silent"
    );
}

#[test]
fn a_promised_quantity_may_come_on_another_channel() {
    let mut city = Player::new(&rule("silent", "no_data: {quantity: pm10, for: 20 s}", ""));
    city.play(
        "
        08:00:00  register station-7
        08:00:30  station-7  pm10#3  40
        08:00:40  station-7  pm10#3  40
        08:01:10  -
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:21 station-7/pm10/0 raised silent
08:00:30 station-7/pm10/0 cleared silent
08:01:01 station-7/pm10/3 raised silent"
    );
}

#[test]
fn our_own_standstill_is_not_held_against_the_devices() {
    let mut city = Player::new(&rule("silent", "no_data: {for: 20 s}", ""));
    city.cadence_s = 5;
    city.play("08:00:00  station-7  humidity  40");
    // No record for ten minutes: the process was down.
    city.jump("08:10:00");
    assert_eq!(city.told(), "");
    assert_eq!(city.state("station-7/humidity/0"), Condition::Unknown);
    city.play("08:10:30  -");
    assert_eq!(city.told(), "08:10:21 station-7/humidity/0 raised silent");
}

#[test]
fn readings_under_maintenance_announce_nothing_but_are_shown() {
    let mut city = Player::new(&rule("dust", DUST, "for: 10 s"));
    city.play(
        "
        08:00:00  station-7  pm10  480  maintenance
        08:00:30  station-7  pm10  480  maintenance
        ",
    );
    assert_eq!(city.told(), "");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Abnormal);
    city.play("08:00:40  station-7  pm10  480\n 08:00:50  station-7  pm10  480");
    assert_eq!(city.told(), "08:00:50 station-7/pm10/0 raised dust");
    city.play("08:01:00  station-7  pm10  10  maintenance");
    assert_eq!(city.told(), "");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Normal);
    assert_eq!(
        city.engine.open_alerts().len(),
        1,
        "what was open stays open until a reading that counts"
    );
}

#[test]
fn a_device_under_maintenance_is_quiet_and_counts_anew_afterwards() {
    let rules = rule("silent", "no_data: {for: 20 s}", "") + &rule("dust", DUST, "");
    let mut city = Player::new(&rules);
    city.cadence_s = 5;
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:00:10  maintain station-7
        08:05:00  register station-7
        08:05:30  -
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised dust
08:05:00 station-7/pm10/0 lost dust
08:05:21 station-7/pm10/0 raised silent"
    );
}

#[test]
fn a_retired_device_takes_its_alerts_with_it() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.play("08:00:00  station-7  pm10  480\n 08:00:10  retire station-7\n 08:00:20  station-7  pm10  480");
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised dust
08:00:10 station-7/pm10/0 withdrawn dust"
    );
    assert_eq!(city.state("station-7/pm10/0"), Condition::Unknown);
}

#[test]
fn a_rule_is_for_its_kind_division_and_channel() {
    let rules = rule("kind", DUST, "applies_to: {kind: river_gauge}")
        + &rule("not-kind", DUST, "applies_to: {not_kind: air_station}")
        + &rule("here", DUST, "applies_to: {division: 630102}")
        + &rule("there", DUST, "applies_to: {division: 630103}")
        + &rule("device", DUST, "applies_to: {device: station-8}")
        + &rule("channel", "above: {quantity: pm10, ch: 1, raise: 250 ug/m3}", "");
    let mut city = Player::new(&rules);
    city.play(
        "
        08:00:00  station-7  pm10    480
        08:00:01  station-7  pm10#1  480
        08:00:02  station-8  pm10    480
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 station-7/pm10/0 raised here
08:00:01 station-7/pm10/1 raised channel
08:00:01 station-7/pm10/1 raised here
08:00:02 station-8/pm10/0 raised device
08:00:02 station-8/pm10/0 raised here"
    );
}

#[test]
fn an_unchanged_rule_keeps_its_state_over_a_reload_and_a_changed_one_starts_fresh() {
    let dust = rule("dust", DUST, "for: 10 s");
    let noise = |raise: u32| {
        rule(
            "noise",
            &format!("above: {{quantity: noise_laeq, raise: {raise} dB(A)}}"),
            "",
        )
    };
    let mut city = Player::new(&(dust.clone() + &noise(80)));
    city.play(
        "
        08:00:00  station-7  pm10        480
        08:00:00  station-7  noise_laeq   95
        08:00:05  -
        ",
    );
    assert_eq!(city.told(), "08:00:00 station-7/noise_laeq/0 raised noise");
    let before = city.transitions[0].clone();
    city.reload(&(dust.clone() + &noise(90)));
    city.play("08:00:12  -");
    assert_eq!(
        city.told(),
        "08:00:05 station-7/noise_laeq/0 withdrawn noise
08:00:05 station-7/noise_laeq/0 raised noise
08:00:10 station-7/pm10/0 raised dust"
    );
    let [.., withdrawn, raised, _] = city.transitions.as_slice() else {
        panic!("three edges")
    };
    assert_eq!(
        (withdrawn.alert, &withdrawn.rule_version),
        (before.alert, &before.rule_version)
    );
    assert_ne!(raised.rule_version, before.rule_version);
    city.reload(&dust);
    assert_eq!(city.told(), "08:00:12 station-7/noise_laeq/0 withdrawn noise");
    assert_eq!(
        city.state("station-7/noise_laeq/0"),
        Condition::Normal,
        "no rule is against it any more"
    );
}

#[test]
fn a_closed_alert_is_silent_until_it_was_normal_once() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    city.cadence_s = 10;
    city.play("08:00:00  station-7  pm10  480");
    city.told();
    assert!(city.engine.closed(&city.transitions[0].alert));
    city.play(
        "
        08:00:10  station-7  pm10  490
        08:01:00  station-7  pm10  490
        ",
    );
    assert_eq!(city.state("station-7/pm10/0"), Condition::Abnormal);
    let why = city.engine.explain(&key("station-7/pm10/0"));
    assert_eq!((why.len(), why[0].progress), (1, Progress::Closed));
    city.play("08:01:10  station-7  pm10  100\n 08:01:20  station-7  pm10  490");
    assert_eq!(city.told(), "08:01:20 station-7/pm10/0 raised dust");
    assert!(!city.engine.closed(&city.transitions[0].alert), "it is over");
}

#[test]
fn explain_says_why_and_why_not() {
    let rules = rule("dust", DUST, "for: 60 s") + &rule("silent", "no_data: {for: 20 s}", "");
    let mut city = Player::new(&rules);
    city.play("08:00:00  station-7  pm10  480\n 08:00:10  station-7  pm10  485");
    let why = city.engine.explain(&key("station-7/pm10/0"));
    let seen: Vec<_> = why
        .iter()
        .map(|e| (e.rule.as_str(), e.progress, e.threshold))
        .collect();
    assert_eq!(
        seen,
        [
            ("dust", Progress::Pending, Some(250.0)),
            ("silent", Progress::Quiet, None)
        ]
    );
    let values: Vec<f64> = why[0].inputs.iter().map(|input| input.value).collect();
    assert_eq!(values, [480.0, 485.0]);
    assert_eq!(
        why[0].why.zh,
        "可吸入颗粒物 PM10 485 µg/m³（11-23 08:00:10），限值为高于 250 µg/m³；自 11-23 08:00:00 起成立，须持续 1 分钟方告警"
    );
    assert!(
        why[1]
            .why
            .en
            .ends_with("may be silent for 20 s; that is not over, so nothing is raised"),
        "{}",
        why[1].why.en
    );
    assert!(city.engine.explain(&key("nobody/pm10/0")).is_empty());
    let aside = |rule: &str, series: &str| {
        city.engine
            .why(&RuleId::new(rule).unwrap(), &key(series))
            .unwrap_err()
    };
    assert_eq!(aside("nothing", "station-7/pm10/0"), Aside::UnknownRule);
    assert_eq!(aside("dust", "nobody/pm10/0"), Aside::UnknownDevice);
    assert_eq!(aside("dust", "station-7/pm2_5/0"), Aside::Quantity);
    assert_eq!(aside("dust", "station-7/pm10/3"), Aside::Unheard);
}

#[test]
fn a_transition_carries_what_it_rests_on() {
    let mut city = Player::new(&rule("dust", DUST, "for: 10 s"));
    city.play("08:00:00  station-7  pm10  480\n 08:00:05  station-7  pm10  612\n 08:00:10  -");
    let [raised] = city.transitions.as_slice() else {
        panic!("one edge")
    };
    assert_eq!(raised.edge, Edge::Raised);
    assert_eq!(
        raised.inputs.iter().map(|i| i.value).collect::<Vec<_>>(),
        [480.0, 612.0]
    );
    assert!(
        raised.inputs[1].position < raised.position,
        "the clock raised it, on the readings before"
    );
    assert_eq!(raised.division.as_ref().unwrap().as_str(), "630102001");
    assert_eq!(
        raised.message_zh,
        "可吸入颗粒物 PM10 612 µg/m³ 高于 250 µg/m³ 已持续 10 秒，超过运行阈值"
    );
}

#[test]
fn a_rule_id_in_two_files_is_told_before_and_judged_once() {
    let mut city = Player::new(&rule("dust", DUST, ""));
    let other = Player::parse(&rule("dust", "above: {quantity: pm10, raise: 100 ug/m3}", ""));
    let errors = city.engine.conflicts("a-file", &other);
    told::in_both(&errors);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].line, 3);
    assert!(
        errors[0]
            .message
            .contains("file `rules` has a rule `dust` already"),
        "{}",
        errors[0]
    );
    // Journals made without asking: the file whose name sorts first has it.
    city.set_file("z-file", Some(other.clone()));
    assert_eq!(city.engine.rules().count(), 1);
    city.play("08:00:00  station-7  pm10  150");
    assert_eq!(city.told(), "");
    city.set_file("rules", None);
    assert_eq!(city.told(), "08:00:00 station-7/pm10/0 raised dust");
}

#[test]
fn an_hourly_value_lasts_its_hours_and_a_derived_one_does_not_speak_for_its_device() {
    let silent = rule("silent", "no_data: {for: 5 min}", "");
    let mut city = Player::new(&(rule("dust", DUST, "") + &silent));
    city.play("08:00:00 station-7 pm10 90\n 08:00:00 station-7 pm2_5 60 hourly\n 08:03:30 -");
    // Three minutes of a cadence of one are over, not three hours.
    assert_eq!(city.state("station-7/pm10/0"), Condition::Unknown);
    assert_eq!(city.state("station-7/pm2_5/0"), Condition::Normal);
    city.play("08:04:00 station-7 pm2_5 60 hourly derived\n 08:05:01 -");
    let raised = |city: &Player| {
        city.transitions
            .iter()
            .filter(|t| t.rule.as_str() == "silent")
            .count()
    };
    assert_eq!(raised(&city), 1, "what is derived is not heard");
    // The cadence of a series is kept.
    city.engine = Engine::restore(&city.engine.snapshot()).unwrap();
    city.play("11:03:00 -");
    assert_eq!(city.state("station-7/pm2_5/0"), Condition::Normal);
    city.play("11:04:01 -");
    assert_eq!(city.state("station-7/pm2_5/0"), Condition::Unknown);
}

#[test]
fn an_index_that_was_worked_out_again_is_judged_again() {
    let mut city = Player::new(&rule(
        "bad",
        "above: {quantity: pm2_5, raise: 200 ug/m3, clear: 190 ug/m3}",
        "",
    ));
    city.play("08:00:20 station-7 pm2_5 60 hourly derived measured 08:00:00");
    assert_eq!(city.transitions.len(), 0);
    city.play("08:01:00 station-7 pm2_5 300 hourly resent measured 08:00:00");
    assert_eq!(city.transitions.len(), 0, "what a device sends once more is late");
    city.play("08:01:10 station-7 pm2_5 300 hourly derived revised measured 08:00:00");
    assert_eq!(city.state("station-7/pm2_5/0"), Condition::Abnormal);
}

#[test]
fn snapshots_of_earlier_formats_are_read() {
    let rules = rule("dust", DUST, "") + &rule("silent", "no_data: {for: 20 s}", "");
    let mut city = Player::new(&rules);
    city.play(
        "08:00:00  station-7  pm10  480\n 08:00:01 station-8 pm10 90\n 08:00:05 station-7 pm10 470\n 08:00:30  -",
    );
    let of_1: &[u8] = include_bytes!("fixtures/engine-1.snapshot");
    let of_2: &[u8] = include_bytes!("fixtures/engine-2.snapshot");
    for written in [of_1, of_2] {
        let restored = Engine::restore(written).unwrap();
        assert_eq!(restored.snapshot(), city.engine.snapshot());
    }
}

#[test]
fn a_damaged_snapshot_is_refused_and_never_panics() {
    let mut city = Player::new(&(rule("dust", DUST, "") + &rule("silent", "no_data: {for: 20 s}", "")));
    city.play("08:00:00  station-7  pm10  480\n 08:00:30  -");
    let bytes = city.engine.snapshot();
    assert_eq!(Engine::restore(&bytes).unwrap().snapshot(), bytes);
    for cut in 0..bytes.len() {
        assert!(Engine::restore(&bytes[..cut]).is_err());
    }
    for i in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[i] ^= 1;
        assert!(Engine::restore(&broken).is_err(), "byte {i}");
    }
}

#[test]
fn what_reports_changes_only_is_known_until_a_limit_of_its_own_and_then_never_normal() {
    let mut city = Player::new(&rule("silent", "no_data: {for: 5 x cadence}", ""));
    city.cadence_s = 0;
    city.play("08:00:00  station-7  pm10  80");
    city.engine
        .set_silent_after(&key("station-7/pm10/0").device, 3600);
    city.play("08:59:59  -");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Normal);
    assert_eq!(city.told(), "");
    city.play("09:00:02  -");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Unknown);
    assert!(city.told().starts_with("09:00:01 station-7/pm10/0 raised silent"));
    // A sign of life that is no reading keeps what is known, and does not bring back what is not.
    city.play("09:10:00  station-7  pm10  80");
    let now = city.now();
    city.engine
        .heard(now, 10_000_000, &key("station-7/pm10/0").device);
    city.play("10:09:59  -");
    assert_eq!(city.state("station-7/pm10/0"), Condition::Normal);
}

#[test]
fn a_mover_in_a_forbidden_fence_is_told_when_it_has_stayed_and_when_it_has_left() {
    let rules = rule("yard", "inside: {fence: F1}", "for: 20 s, clear_for: 10 s")
        + &rule("round", "outside: {fence: F2}", "");
    let mut city = Player::new(&rules);
    city.play(
        "
        08:00:00  register truck-1
        08:00:00  fences truck-1 F2
        08:00:01  truck-1 longitude 101.70
        08:00:10  fences truck-1 F1,F2
        08:00:10  truck-1 longitude 101.71
        08:00:20  fences truck-1 F2
        08:00:20  truck-1 longitude 101.70
        08:01:00  fences truck-1 F1,F2
        08:01:00  truck-1 longitude 101.71
        08:01:10  truck-1 latitude 36.6
        08:01:30  -
        08:01:40  fences truck-1 F2
        08:01:40  truck-1 longitude 101.70
        08:01:55  -
        08:02:00  fences truck-1 none
        08:02:00  truck-1 longitude 101.60
        08:02:10  fences truck-1 F2
        08:02:10  truck-1 longitude 101.70
        ",
    );
    assert_eq!(
        city.told(),
        "08:01:20 truck-1/longitude/0 raised yard
08:01:50 truck-1/longitude/0 cleared yard
08:02:00 truck-1/longitude/0 raised round
08:02:10 truck-1/longitude/0 cleared round"
    );
    let said: Vec<&str> = city.transitions.iter().map(|t| t.message_zh.as_str()).collect();
    assert_eq!(
        said,
        [
            "设备在围栏 F1 内，已持续 20 秒",
            "设备已离开围栏 F1，已持续 10 秒，告警解除",
            "设备在围栏 F2 外",
            "设备已回到围栏 F2 内，告警解除"
        ]
    );
    let said: Vec<&str> = city.transitions.iter().map(|t| t.message_en.as_str()).collect();
    assert_eq!(said[0], "The device is in fence F1 for 20 s");
    assert_eq!(said[1], "The device has left fence F1 for 10 s: over");
}

#[test]
fn nobody_knows_where_a_silent_mover_is_and_a_fence_that_is_gone_withdraws() {
    let mut city = Player::new(&rule("yard", "inside: {fence: F1}", ""));
    city.cadence_s = 10;
    city.play(
        "
        08:00:00  register truck-1
        08:00:00  fences truck-1 F1
        08:00:00  truck-1 longitude 101.71
        08:00:40  -
        08:00:50  truck-1 longitude 101.71
        08:00:55  gone F1
        08:00:56  truck-1 longitude 101.71
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:00 truck-1/longitude/0 raised yard
08:00:31 truck-1/longitude/0 lost yard
08:00:50 truck-1/longitude/0 found yard
08:00:55 truck-1/longitude/0 withdrawn yard"
    );
    let said: Vec<&str> = city.transitions.iter().map(|t| t.message_zh.as_str()).collect();
    assert_eq!(
        said[1..],
        [
            "设备已 31 秒无数据，现状未知",
            "设备恢复上报位置，仍在围栏 F1 内",
            "设备告警撤回：围栏已撤销或已到期；不表示已恢复正常"
        ]
    );
    assert_eq!(city.state("truck-1/longitude/0"), Condition::Normal);
}

#[test]
fn a_rule_for_a_fence_looks_at_who_is_in_it() {
    let mut city = Player::new(&rule("dust", DUST, "applies_to: {fence: F1}"));
    city.play(
        "
        08:00:00  station-7  pm10  480
        08:00:05  fences station-7 F1
        08:00:20  fences station-7 F2
        08:00:30  fences station-7 F1,F2
        08:00:40  gone F1
        ",
    );
    assert_eq!(
        city.told(),
        "08:00:05 station-7/pm10/0 raised dust
08:00:20 station-7/pm10/0 withdrawn dust
08:00:30 station-7/pm10/0 raised dust
08:00:40 station-7/pm10/0 withdrawn dust"
    );
    // A snapshot knows who is where.
    city.play("08:00:50 fences station-7 F1\n08:00:50 -");
    assert_eq!(city.told(), "08:00:50 station-7/pm10/0 raised dust");
    city.engine = onemap_rules::Engine::restore(&city.engine.snapshot()).unwrap();
    city.play("08:00:55 fences station-7 F1\n08:01:00 station-7 pm10 90");
    assert_eq!(city.told(), "08:01:00 station-7/pm10/0 cleared dust");
}

#[test]
fn a_rule_about_a_fence_has_tests_beside_it() {
    let rules = rule(
        "yard",
        "inside: {fence: 西宁-禁行1}",
        "for: 10 s, tests: [{name: stays, series: \"00:00 outside\\n00:10 inside\\n00:30 outside\", expect: \"00:20 raised\\n00:30 cleared\"}]",
    );
    let outcomes = Player::parse(&rules).run_tests();
    assert!(
        outcomes.iter().all(onemap_rules::TrialOutcome::passed),
        "{outcomes:?}"
    );
    assert_eq!(outcomes.len(), 1);
    let wrong = rules.replace("00:00 outside", "00:00 101.7");
    let errors = told::refused("f", &format!("version: 1\nrules:\n{wrong}"));
    assert!(
        errors[0].message.contains("`101.7` is not `inside` or `outside`"),
        "{errors:?}"
    );
    let nameless = rules.replace("西宁-禁行1", "\"\"");
    let errors = told::refused("f", &format!("version: 1\nrules:\n{nameless}"));
    assert!(
        errors[0].message.contains("`fence` is the code of a fence"),
        "{errors:?}"
    );
}
