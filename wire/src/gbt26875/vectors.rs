//! Every published and composed frame of `standards/vectors/gbt26875.json`.

#![allow(clippy::unwrap_used)]

use super::{Frame, decode};
use crate::published::{each, gives, holds, vectors};

#[test]
fn frames_of_the_field_read_as_another_decoder_read_them() {
    let Some(vectors) = vectors("gbt26875.json") else {
        return;
    };
    let all = [each(&vectors, "positive"), each(&vectors, "composed")].concat();
    assert!(all.len() >= 20);
    for (id, bytes, vector) in all {
        let view = decode(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        if !vector["decoded"].is_null() {
            holds(&serde_json::to_value(&view).unwrap(), &vector["decoded"], &id);
        }
        assert_eq!(view.frame.encode().unwrap(), bytes, "{id}");
        if let Some(application) = &view.application {
            assert_eq!(application.write().unwrap(), view.frame.data, "{id}");
        }
    }
}

#[test]
fn bad_frames_are_refused_by_name() {
    let Some(vectors) = vectors("gbt26875.json") else {
        return;
    };
    let names: Vec<(String, &str, usize)> = [each(&vectors, "negative"), each(&vectors, "negative_made")]
        .concat()
        .into_iter()
        .map(|(id, bytes, _)| {
            let error = decode(&bytes).expect_err(&id);
            (id, error.code(), error.at())
        })
        .collect();
    let want = [
        ("bad-sum-1", "checksum", 75),
        ("made-bad-sum", "checksum", 75),
        ("made-bad-end", "end_mark", 76),
        ("made-too-long", "length", 24),
        ("made-count-too-big", "data_end", 75),
    ];
    assert_eq!(names, want.map(|(id, code, at)| (id.to_owned(), code, at)));
}

#[test]
fn one_stream_of_all_of_them_gives_the_good_ones() {
    let Some(vectors) = vectors("gbt26875.json") else {
        return;
    };
    let bad = [each(&vectors, "negative"), each(&vectors, "negative_made")].concat();
    let mut stream = Vec::new();
    let mut want = Vec::new();
    for (i, (_, bytes, _)) in each(&vectors, "positive").iter().enumerate() {
        let bad = &bad[i % bad.len()].1;
        want.extend(Frame::decode(bad).is_ok().then(|| bad.clone()));
        stream.extend(bad);
        stream.extend([0x40, 0x0A]);
        stream.extend(bytes);
        want.push(bytes.clone());
    }
    gives::<Frame>(&stream, &want);
}
