//! A report as a page that stands by itself: no script, nothing loaded, prints on A4.

use std::fmt::Write as _;
use std::sync::OnceLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Lang;
use super::layout::{Figure, PARTS, Part, Unit, moment, pick, written};

const STYLE: &str = include_str!("report.css");

/// What the page may load: its own style, by digest, and nothing else.
pub(super) fn csp() -> &'static str {
    static CSP: OnceLock<String> = OnceLock::new();
    CSP.get_or_init(|| {
        let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

/// The whole page.
pub(super) fn render(report: &Value, lang: Lang) -> String {
    let text = |place: &str| report.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let is_month = text("/period") == "monthly";
    let title = match is_month {
        true => pick(("值班月报", "Monthly duty report"), lang),
        false => pick(("值班日报", "Daily duty report"), lang),
    };
    let code = pick(("zh-CN", "en"), lang);
    let name = escaped(text("/name"));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{code}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} {name}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title} <time>{name}</time></h1>\n"
    );
    let place = written(report.get("division_name"), Unit::Both, lang);
    let place = match report["division"].is_null() {
        true => pick(("本人可见的全部区域", "everything that its reader sees"), lang).to_owned(),
        false => place,
    };
    paragraph(&mut out, "about", &about(report, &place, lang));
    for (is, words) in notices(report, lang) {
        if is {
            paragraph(&mut out, "notice", &words);
        }
    }
    if text("/state") != "unknown" {
        for part in PARTS {
            draw(&mut out, report, part, lang);
        }
    }
    out.push_str("</body></html>\n");
    out
}

fn about(report: &Value, place: &str, lang: Lang) -> String {
    let [from, to, made] = ["from", "to", "now"].map(|key| moment(&report[key]));
    match lang {
        Lang::Zh => format!("范围：{place}。期间：{from} 至 {to}（北京时间）。制表：{made}。"),
        Lang::En => format!("Of {place}. From {from} to {to} (Beijing time). Made at {made}."),
    }
}

fn notices(report: &Value, lang: Lang) -> [(bool, String); 3] {
    let since = moment(&report["known_from"]);
    let (state, is_partial) = (
        report["state"].as_str(),
        report["partial"].as_bool() == Some(true),
    );
    let running = (
        "本期尚未结束，数字到制表时为止。",
        "The period has not ended: figures go up to when this was made.",
    );
    let unknown = (
        "台账在本期之后才开始，数字未知（不是零）。",
        "The ledger begins behind this period: its figures are unknown, not zero.",
    );
    let partial = match lang {
        Lang::Zh => format!("台账自 {since} 起，此前未知。"),
        Lang::En => format!("The ledger begins at {since}; what was before is unknown."),
    };
    [
        (state == Some("running"), pick(running, lang).to_owned()),
        (state == Some("unknown"), pick(unknown, lang).to_owned()),
        (state != Some("unknown") && is_partial, partial),
    ]
}

fn paragraph(out: &mut String, class: &str, words: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<p class=\"{class}\">{}</p>", escaped(words));
}

fn draw(out: &mut String, report: &Value, part: &Part, lang: Lang) {
    let title = pick(part.title(), lang);
    let _ = writeln!(out, "<section><h2>{}</h2>", escaped(title));
    let found = report.pointer(part.place()).filter(|found| !found.is_null());
    match (part, found) {
        (_, None) => paragraph(out, "none", pick(("未知", "unknown"), lang)),
        (Part::Facts(_, _, figures), Some(found)) => facts(out, found, figures, lang),
        (Part::Rows(_, _, columns), Some(found)) => rows(out, found, columns, lang),
    }
    out.push_str("</section>\n");
}

fn facts(out: &mut String, found: &Value, figures: &[Figure], lang: Lang) {
    out.push_str("<table class=\"facts\"><tbody>");
    for Figure(key, name, unit) in figures {
        let value = written(found.get(*key), *unit, lang);
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escaped(pick(*name, lang)),
            escaped(&value)
        );
    }
    out.push_str("</tbody></table>\n");
}

fn rows(out: &mut String, found: &Value, columns: &[Figure], lang: Lang) {
    let rows = found.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return paragraph(out, "none", pick(("无", "none"), lang));
    }
    out.push_str("<table><thead><tr>");
    for Figure(_, name, _) in columns {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(pick(*name, lang)));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (i, Figure(key, _, unit)) in columns.iter().enumerate() {
            let value = row.pointer(&format!("/{key}"));
            let class = match value {
                Some(Value::Number(_)) => " class=\"n\"",
                _ => "",
            };
            let words = escaped(&written(value, *unit, lang));
            let _ = match i {
                0 => write!(out, "<th scope=\"row\">{words}</th>"),
                _ => write!(out, "<td{class}>{words}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Value {
        json!({"period": "daily", "name": "2026-11-28", "from": "2026-11-28T00:00:00.000+08:00",
            "to": "2026-11-29T00:00:00.000+08:00", "now": "2026-11-28T12:00:00.000+08:00", "division": null,
            "division_name": null, "state": "running", "known_from": "2026-11-01T00:00:00.000+08:00", "partial": false,
            "alarms": {"raised": 1, "stale": null, "bad_actors": [
                {"name": "<script>alert('a')</script>", "rule_name": {"zh": "扬尘&", "en": "Dust&"}, "share": 0.5}]}})
    }

    #[test]
    fn what_others_wrote_is_text_and_what_is_not_known_is_said() {
        for lang in [Lang::Zh, Lang::En] {
            let page = render(&report(), lang);
            assert!(!page.contains("<script"), "{page}");
            assert!(
                page.contains("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;"),
                "{page}"
            );
            assert!(page.contains("50.00 %"), "{page}");
        }
        let page = render(&report(), Lang::Zh);
        assert!(
            page.contains("本期尚未结束") && page.contains("扬尘&amp;"),
            "{page}"
        );
        // Complete English: no Chinese character is left.
        let page = render(&report(), Lang::En);
        let is_han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        assert!(!page.contains(is_han), "{page}");
        let mut unknown = report();
        unknown["state"] = json!("unknown");
        let page = render(&unknown, Lang::Zh);
        assert!(
            page.contains("未知（不是零）") && !page.contains("<table"),
            "{page}"
        );
    }
}
