//! Columns and sections of a town built by hand, whose answers are known.
//!
//! The town (tests/town/town.geojson) is a street corner: an overhead line and a footbridge above, a
//! house, a hazard around it with a hole, a lamp and lids on the ground, a water main, a sewer that runs
//! across, a tunnel below, and a pipe that is no longer there.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use onemap_model::{DivisionCode, EntityKind, Reach, Stratum, Timestamp};
use onemap_spatial::query::{Column, Filter, SectionLine};
use onemap_spatial::{CityMap, CityView, ThingKind};
use std::sync::Arc;

fn town() -> Arc<CityView> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/town/town.geojson");
    let mut map = CityMap::new();
    for mut entity in common::entities(&path, "") {
        if &*entity.code == "lamp" {
            entity.attributes.insert("class".into(), "灯".into());
        }
        map.put_entity(&entity).unwrap();
    }
    map.view()
}

fn now() -> Filter {
    Filter {
        valid_at: Some(Timestamp::parse("2026-11-26T00:00:00Z").unwrap()),
        ..Filter::default()
    }
}

fn codes(column: &Column<'_>) -> Vec<String> {
    column
        .stack
        .iter()
        .map(|stacked| stacked.found.code().to_string())
        .collect()
}

#[test]
fn a_column_is_what_stands_over_on_and_under_the_point() {
    let town = town();
    let at_lamp = (101.7995, 36.6002);
    let column = town.column(at_lamp, None, &now()).unwrap();
    assert_eq!(
        codes(&column),
        // Above by height; on the ground the house is the highest, the lid has no height; below.
        [
            "cable", "bridge", "house", "lamp", "lid", "water", "sewer", "metro"
        ]
    );
    let divisions: Vec<&str> = column.divisions.iter().map(DivisionCode::as_str).collect();
    assert_eq!(divisions, ["630102001", "630102"]);
    assert_eq!(
        column.grids.iter().map(|grid| &**grid.code()).collect::<Vec<_>>(),
        ["630102001001001"]
    );
    let lid = column.stack.iter().find(|s| &**s.found.code() == "lid").unwrap();
    assert!((lid.distance_m - 0.446).abs() < 0.01, "{}", lid.distance_m);
    // What was taken out is there in its time.
    let then = Filter {
        valid_at: Some(Timestamp::parse("2019-01-01T00:00:00Z").unwrap()),
        ..now()
    };
    assert!(codes(&town.column(at_lamp, None, &then).unwrap()).contains(&"old".to_owned()));

    // In the hole around the house, under the bridge.
    assert_eq!(
        codes(&town.column((101.7994, 36.6005), None, &now()).unwrap()),
        ["bridge"]
    );
    // On the hole's border, over the sewer.
    assert_eq!(
        codes(&town.column((101.7998, 36.6005), None, &now()).unwrap()),
        ["bridge", "court", "sewer"]
    );
    // Where the grids meet, both; the smaller code first.
    let border = town.column((101.8, 36.599), None, &now()).unwrap();
    assert_eq!(
        border.grids.iter().map(|grid| &**grid.code()).collect::<Vec<_>>(),
        ["630102001001001", "630102001001002"]
    );
    // Nothing outside.
    let outside = town.column((101.9, 36.6), None, &now()).unwrap();
    assert!(outside.stack.is_empty() && outside.divisions.is_empty() && outside.grids.is_empty());
}

#[test]
fn a_column_with_a_radius_takes_what_is_near() {
    let town = town();
    let column = town.column((101.7995, 36.6002), Some(3.0), &now()).unwrap();
    assert_eq!(
        codes(&column),
        [
            "cable", "bridge", "house", "lamp", "lid", "lid-far", "water", "sewer", "metro"
        ]
    );
    let far = column
        .stack
        .iter()
        .find(|s| &**s.found.code() == "lid-far")
        .unwrap();
    assert!((far.distance_m - 2.22).abs() < 0.01, "{}", far.distance_m);
    let below = Filter {
        stratum: Some(Stratum::Below),
        z_range_m: Some([2250.0, 2257.5]),
        ..now()
    };
    assert_eq!(
        codes(&town.column((101.7995, 36.6002), None, &below).unwrap()),
        ["water", "sewer"]
    );
    let lamps = Filter {
        class: Some("灯".to_owned()),
        ..now()
    };
    assert_eq!(
        codes(&town.column((101.7995, 36.6002), None, &lamps).unwrap()),
        ["lamp"]
    );
    let elsewhere = Filter {
        scope: Reach {
            division: Some(DivisionCode::new("630103").unwrap()),
            ..Reach::default()
        },
        ..now()
    };
    let column = town.column((101.7995, 36.6002), None, &elsewhere).unwrap();
    assert!(column.stack.is_empty() && column.divisions.is_empty() && column.grids.is_empty());
    for radius in [0.0, -5.0, f64::NAN] {
        assert!(town.column((101.8, 36.6), Some(radius), &now()).is_err());
    }
}

/// Code, stretches in whole metres, offset in whole decimetres.
fn section(
    town: &CityView,
    line: &[(f64, f64)],
    width_m: f64,
    filter: &Filter,
) -> Vec<(String, Vec<[i64; 2]>, i64)> {
    let line = SectionLine::new(line, width_m).unwrap();
    let crossings = town.section(&line, filter);
    let whole = |stretches: &[[f64; 2]]| stretches.iter().map(|s| s.map(|m| m.round() as i64)).collect();
    crossings
        .iter()
        .map(|c| {
            (
                c.found.code().to_string(),
                whole(&c.stretches),
                (c.offset_m * 10.0).round() as i64,
            )
        })
        .collect()
}

#[test]
fn a_section_along_the_street_meets_things_in_their_order() {
    let town = town();
    let things = Filter {
        kinds: [
            EntityKind::Component,
            EntityKind::Hazard,
            EntityKind::Pipe,
            EntityKind::Place,
        ]
        .map(ThingKind::Entity)
        .to_vec(),
        ..now()
    };
    // Eastwards along 36.6002: a step of 0.0001 degree is 8.927 m.
    let street = [(101.7980, 36.6002), (101.8010, 36.6002)];
    let found = section(&town, &street, 0.0, &things);
    let want: Vec<(&str, Vec<[i64; 2]>)> = vec![
        ("cable", vec![[0, 268]]),
        ("metro", vec![[0, 268]]),
        // Around the hole.
        ("court", vec![[45, 71], [161, 223]]),
        ("house", vec![[89, 143]]),
        ("bridge", vec![[125, 268]]),
        ("lamp", vec![[134, 134]]),
        ("water", vec![[134, 134]]),
        ("sewer", vec![[134, 134]]),
        ("lid", vec![[134, 134]]),
    ];
    let got: Vec<(&str, Vec<[i64; 2]>)> = found.iter().map(|(c, s, _)| (c.as_str(), s.clone())).collect();
    assert_eq!(got, want);
    // A strip 5 m wide takes the lid 2.2 m beside the line.
    let strip = section(&town, &street, 5.0, &things);
    let far = strip.iter().find(|(code, ..)| code == "lid-far").unwrap();
    assert_eq!((far.1.clone(), far.2), (vec![[134, 134]], 22));
    assert_eq!(strip.len(), found.len() + 1);
    // Backwards: the same things at the other end.
    let back: Vec<(f64, f64)> = street.iter().rev().copied().collect();
    let back = section(&town, &back, 0.0, &things);
    let court = back.iter().find(|(code, ..)| code == "court").unwrap();
    assert_eq!(court.1, [[45, 107], [196, 223]]);
    assert_eq!(back.len(), found.len());
}

#[test]
fn a_section_goes_around_corners_and_along_lines() {
    let town = town();
    let pipes = Filter {
        kinds: vec![ThingKind::Entity(EntityKind::Pipe)],
        ..now()
    };
    // Along the main northwards (22.24 m for 0.0002 degree), then east: distances go on.
    let line = [(101.7995, 36.6000), (101.7995, 36.6004), (101.7999, 36.6004)];
    assert_eq!(
        section(&town, &line, 0.0, &pipes),
        [
            ("water".to_owned(), vec![[0, 44]], 0),
            ("cable".to_owned(), vec![[22, 22]], 0),
            ("sewer".to_owned(), vec![[22, 22], [62, 62]], 0),
        ]
    );
    let line = |positions: &[(f64, f64)], width| SectionLine::new(positions, width).unwrap_err().to_string();
    assert_eq!(
        line(&[(1.0, 1.0), (1.0, 1.0)], 0.0),
        "the line has fewer than two different positions"
    );
    assert_eq!(
        line(&[(1.0, 1.0), (1.0, f64::NAN)], 0.0),
        "a coordinate is not a finite number"
    );
    assert_eq!(
        line(&[(1.0, 1.0), (1.1, 1.0)], -1.0),
        "a width of -1 m is not between 0 and 1000"
    );
    assert!(line(&[(1.0, 1.0), (9.0, 1.0)], 0.0).starts_with("the line is 88"));
    assert_eq!(
        line(&[(0.0, 0.0); 1001], 0.0),
        "the line has 1001 positions, at most 1000"
    );
}
