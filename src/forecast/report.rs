//! A backtest as one HTML file: tables and drawings inside it, nothing of another host.

use std::fmt::Write as _;

use onemap_forecast::score::{Scored, Scores};

use super::table::shown_ms;
use super::{Told, silence};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 54.0;
const BOTTOM: f64 = 24.0;
const MOST_EVENTS: usize = 3;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1b2733}\
table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #dde}th{font-weight:600}\
svg{display:block;margin:.5em 0 1.2em}svg text{font:11px system-ui,sans-serif;fill:#456}.note{color:#456}";

/// The report.
pub(super) fn html(title: &str, told: &Told) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>"
    );
    let time = |at: usize| shown_ms(told.aligned.time_ms(at), told.clock);
    let _ = write!(
        page,
        "<p>Trained {} to {}, tested to {}. Every forecast was issued with what was known at its origin.</p>",
        time(0),
        time(told.n_train - 1),
        time(told.aligned.len() - 1)
    );
    for note in &told.notes {
        let _ = write!(page, "<p class=\"note\">{}</p>", escaped(note));
    }
    table(&mut page, told);
    page.push_str("<h2>Skill by horizon</h2><p class=\"note\">1 = perfect, 0 = persistence.</p>");
    skill(&mut page, told);
    page.push_str("<h2>Coverage of the 80 % interval by state</h2>");
    coverage(&mut page, told);
    if told.threshold.is_some() {
        page.push_str("<h2>Reliability of the crossing probability</h2>");
        reliability(&mut page, told);
    }
    page.push_str("<h2>The largest events</h2><p class=\"note\">Black: observed. Blue: forecast for that time. Band: 80 % interval.</p>");
    events(&mut page, told);
    page.push_str("</body></html>\n");
    page
}

fn figure(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |v| format!("{v:.2}"))
}

fn table(page: &mut String, told: &Told) {
    page.push_str("<table><tr><th>horizon</th><th>n</th><th>RMSE</th><th>persistence</th><th>skill</th><th>flood skill</th><th>MAE skill</th><th>CRPS skill</th><th>coverage</th><th>above</th><th>POD</th><th>FAR</th><th>CSI</th></tr>");
    for (span, outcome) in told.spans.iter().zip(&told.found.horizons) {
        let s = &outcome.scores;
        let cells = [
            s.rmse,
            s.rmse_persistence,
            s.skill,
            s.flood_skill,
            s.mae_skill,
            s.crps_skill,
            s.coverage80,
            s.coverage80_above,
            s.pod,
            s.far,
            s.csi,
        ];
        let _ = write!(page, "<tr><th>{}</th><td>{}</td>", escaped(&span.text), s.n);
        for cell in cells {
            let _ = write!(page, "<td>{}</td>", figure(cell));
        }
        page.push_str("</tr>");
        if let Some(why) = silence(outcome.silent) {
            let _ = write!(
                page,
                "<tr><td colspan=\"13\">{}: {}</td></tr>",
                escaped(&span.text),
                escaped(&why)
            );
        }
    }
    page.push_str("</table>");
}

/// A frame with a scale to the left, from which points are placed.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn open(page: &mut String, x: (f64, f64), y: (f64, f64)) -> Self {
        let y = if y.1 > y.0 { y } else { (y.0 - 0.5, y.0 + 0.5) };
        let frame = Self {
            x: if x.1 > x.0 { x } else { (x.0 - 0.5, x.0 + 0.5) },
            y,
        };
        let _ = write!(
            page,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">"
        );
        for i in 0..=4 {
            let value = y.0 + (y.1 - y.0) * f64::from(i) / 4.0;
            let at = frame.at(x.0, value).1;
            let _ = write!(
                page,
                "<path d=\"M{LEFT} {at:.1}H{WIDTH}\" stroke=\"#e3e7ee\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                scale(value, y.1 - y.0)
            );
        }
        frame
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let across = (x - self.x.0) / (self.x.1 - self.x.0);
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        (
            LEFT + across * (WIDTH - LEFT - 8.0),
            (HEIGHT - BOTTOM) - up * (HEIGHT - BOTTOM - 8.0),
        )
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (i, (x, y)) in points.enumerate() {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
        }
        path
    }
}

fn scale(value: f64, range: f64) -> String {
    let digits = if range >= 40.0 {
        0
    } else if range >= 4.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// One of the scores.
type Of = fn(&Scores) -> Option<f64>;

fn skill(page: &mut String, told: &Told) {
    let n = told.spans.len() as f64;
    let frame = Frame::open(page, (-0.5, n - 0.5), (-0.2, 1.0));
    let kinds: [(&str, &str, Of); 4] = [
        ("skill", "#1f6feb", |s| s.skill),
        ("flood skill", "#c2410c", |s| s.flood_skill),
        ("MAE skill", "#15803d", |s| s.mae_skill),
        ("CRPS skill", "#7c3aed", |s| s.crps_skill),
    ];
    for (at, (name, colour, of)) in kinds.iter().enumerate() {
        let points = told.found.horizons.iter().enumerate();
        let points: Vec<(f64, f64)> = points
            .filter_map(|(i, o)| Some((i as f64, of(&o.scores)?.clamp(-0.2, 1.0))))
            .collect();
        let _ = write!(
            page,
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\"/>",
            frame.path(points.iter().copied())
        );
        for (x, y) in points {
            let (x, y) = frame.at(x, y);
            let _ = write!(
                page,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
        let _ = write!(
            page,
            "<text x=\"{:.0}\" y=\"16\" style=\"fill:{colour}\">{name}</text>",
            80.0 + 90.0 * at as f64
        );
    }
    for (i, span) in told.spans.iter().enumerate() {
        let (x, _) = frame.at(i as f64, 0.0);
        let _ = write!(
            page,
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 6.0,
            escaped(&span.text)
        );
    }
    page.push_str("</svg>");
}

fn coverage(page: &mut String, told: &Told) {
    let frame = Frame::open(page, (-0.5, told.spans.len() as f64 - 0.5), (0.4, 1.0));
    let ((_, top), (_, bottom)) = (frame.at(0.0, 0.85), frame.at(0.0, 0.75));
    let _ = write!(
        page,
        "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.0}\" height=\"{:.1}\" fill=\"#dcfce7\"/>",
        WIDTH - LEFT,
        bottom - top
    );
    let colours = ["#c2410c", "#1f6feb", "#64748b"];
    for (i, (span, outcome)) in told.spans.iter().zip(&told.found.horizons).enumerate() {
        for (k, (state, _, share)) in outcome.by_state.iter().enumerate() {
            let Some(share) = share else { continue };
            let (x, y) = frame.at(i as f64 + 0.15 * (k as f64 - 1.0), share.clamp(0.4, 1.0));
            let _ = write!(
                page,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{}\"><title>{state:?} {share:.2}</title></circle>",
                colours[k % 3]
            );
        }
        let (x, _) = frame.at(i as f64, 0.0);
        let _ = write!(
            page,
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 6.0,
            escaped(&span.text)
        );
    }
    for (k, name) in ["rising", "wet", "steady"].iter().enumerate() {
        let _ = write!(
            page,
            "<text x=\"{:.0}\" y=\"16\" style=\"fill:{}\">{name}</text>",
            80.0 + 70.0 * k as f64,
            colours[k]
        );
    }
    page.push_str("</svg>");
}

fn reliability(page: &mut String, told: &Told) {
    let Some(threshold) = told.threshold else { return };
    let frame = Frame::open(page, (0.0, 1.0), (0.0, 1.0));
    let _ = write!(
        page,
        "<path d=\"{}\" stroke=\"#94a3b8\" stroke-dasharray=\"4 4\"/>",
        frame.path([(0.0, 0.0), (1.0, 1.0)].into_iter())
    );
    let colours = ["#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#0f766e", "#be185d"];
    for (i, (span, outcome)) in told.spans.iter().zip(&told.found.horizons).enumerate() {
        let mut bins = [(0.0, 0.0, 0.0f64); 10];
        for row in &outcome.rows {
            let Some(chance) = row.crossing else { continue };
            let bin = &mut bins[((chance * 10.0) as usize).min(9)];
            bin.0 += chance;
            bin.1 += f64::from(u8::from(row.observed > threshold));
            bin.2 += 1.0;
        }
        let colour = colours[i % colours.len()];
        let points: Vec<(f64, f64)> = bins
            .iter()
            .filter(|b| b.2 >= 5.0)
            .map(|b| (b.0 / b.2, b.1 / b.2))
            .collect();
        let _ = write!(
            page,
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\"/>",
            frame.path(points.into_iter())
        );
        let _ = write!(
            page,
            "<text x=\"{:.0}\" y=\"16\" style=\"fill:{colour}\">{}</text>",
            80.0 + 60.0 * i as f64,
            escaped(&span.text)
        );
    }
    page.push_str("</svg>");
}

/// The largest observed values that are at least a month of steps, or a twentieth of the test, apart.
fn events(page: &mut String, told: &Told) {
    let Some(first) = told.found.horizons.first() else {
        return;
    };
    let apart_ms =
        (first.rows.len() as i64 / 20 * told.aligned.step_ms).clamp(told.aligned.step_ms, 30 * 86_400_000);
    let mut by_size: Vec<&Scored> = first.rows.iter().collect();
    by_size.sort_by(|a, b| b.observed.total_cmp(&a.observed));
    let mut peaks: Vec<i64> = Vec::new();
    for row in by_size {
        if peaks.len() == MOST_EVENTS {
            break;
        }
        if peaks.iter().all(|peak| (peak - row.target_ms).abs() > apart_ms) {
            peaks.push(row.target_ms);
        }
    }
    let longest = told.spans.last().map_or(1, |span| span.ms);
    let around = (4 * longest).clamp(30 * told.aligned.step_ms, 200 * told.aligned.step_ms);
    for peak in peaks {
        let _ = write!(page, "<h3>{}</h3>", shown_ms(peak, told.clock));
        for (span, outcome) in told.spans.iter().zip(&told.found.horizons) {
            let rows: Vec<&Scored> = outcome
                .rows
                .iter()
                .filter(|row| (row.target_ms - peak).abs() <= around)
                .collect();
            if rows.len() < 2 {
                continue;
            }
            let values = rows
                .iter()
                .flat_map(|r| [r.observed, r.mean, r.band80.0, r.band80.1]);
            let values: Vec<f64> = values.chain(told.threshold).collect();
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let x = |row: &Scored| (row.target_ms - peak) as f64;
            let _ = write!(page, "<div>{} ahead</div>", escaped(&span.text));
            let frame = Frame::open(page, (x(rows[0]), x(rows[rows.len() - 1])), (low, high));
            let upper = rows.iter().map(|r| (x(r), r.band80.1));
            let lower = rows.iter().rev().map(|r| (x(r), r.band80.0));
            let _ = write!(
                page,
                "<path d=\"{}Z\" fill=\"#1f6feb\" fill-opacity=\".18\"/>",
                frame.path(upper.chain(lower))
            );
            for (of, colour) in [(observed as fn(&Scored) -> f64, "#111827"), (mean, "#1f6feb")] {
                let _ = write!(
                    page,
                    "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
                    frame.path(rows.iter().map(|r| (x(r), of(r))))
                );
            }
            if let Some(threshold) = told.threshold {
                let (_, y) = frame.at(0.0, threshold);
                let _ = write!(
                    page,
                    "<path d=\"M{LEFT} {y:.1}H{WIDTH}\" stroke=\"#c2410c\" stroke-dasharray=\"5 4\"/>"
                );
            }
            page.push_str("</svg>");
        }
    }
}

fn observed(row: &Scored) -> f64 {
    row.observed
}

fn mean(row: &Scored) -> f64 {
    row.mean
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
