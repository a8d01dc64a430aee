//! A report as a table of figures, RFC 4180: one line for each, with the place in the JSON where it stands (RFC 6901).

use serde_json::Value;

use super::Lang;
use super::layout::{Figure, PARTS, Part, Unit, pick, plain};

/// Spreadsheet programs read UTF-8 where this stands first.
const BOM: char = '\u{feff}';

/// The whole table.
pub(super) fn render(report: &Value, lang: Lang) -> String {
    let mut out = String::from(BOM);
    let head = match lang {
        Lang::Zh => ["位置", "部分", "项目", "指标", "值"],
        Lang::En => ["pointer", "part", "item", "figure", "value"],
    };
    line(&mut out, &head);
    for (place, what) in [
        ("/name", ("期间", "Period")),
        ("/from", ("起", "From")),
        ("/to", ("止", "To")),
        ("/now", ("制表时间", "Made at")),
        ("/state", ("状态", "State")),
        ("/known_from", ("台账起始", "Ledger begins")),
        ("/partial", ("不完整", "Partial")),
    ] {
        let value = report.pointer(place).map(plain).unwrap_or_default();
        line(
            &mut out,
            &[
                place,
                pick(("报表", "Report"), lang),
                "",
                pick(what, lang),
                &value,
            ],
        );
    }
    for part in PARTS {
        let title = pick(part.title(), lang);
        match part {
            Part::Facts(_, place, figures) => {
                for figure in *figures {
                    cell(&mut out, report, place, (title, ""), figure, lang);
                }
            }
            Part::Rows(_, place, columns) => {
                let rows = report.pointer(place).and_then(Value::as_array);
                for (i, row) in rows.into_iter().flatten().enumerate() {
                    let at = format!("{place}/{i}");
                    let item = item(row, columns, lang);
                    for figure in *columns {
                        cell(&mut out, report, &at, (title, &item), figure, lang);
                    }
                }
            }
        }
    }
    out
}

fn item(row: &Value, columns: &[Figure], lang: Lang) -> String {
    let Some(Figure(key, _, unit)) = columns.first() else {
        return String::new();
    };
    let value = row.pointer(&format!("/{key}"));
    super::layout::written(value, *unit, lang)
}

fn cell(
    out: &mut String,
    report: &Value,
    place: &str,
    (part, item): (&str, &str),
    figure: &Figure,
    lang: Lang,
) {
    let Figure(key, name, unit) = figure;
    let mut at = format!("{place}/{key}");
    if *unit == Unit::Both {
        at.push_str(pick(("/zh", "/en"), lang));
    }
    let value = report.pointer(&at).map(plain).unwrap_or_default();
    line(out, &[&at, part, item, pick(*name, lang), &value]);
}

fn line(out: &mut String, cells: &[&str]) {
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&quoted(&guarded(cell)));
    }
    out.push_str("\r\n");
}

/// A text that a spreadsheet program would take for a formula begins with an apostrophe. Numbers here are never negative.
fn guarded(cell: &str) -> String {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        true => format!("'{cell}"),
        false => cell.to_owned(),
    }
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_formula_is_a_text_and_a_quotation_mark_stays_one() {
        let report = json!({"name": "2026-11-28", "alarms": {"raised": 3, "chattering": [
            {"name": "=HYPERLINK(\"http://x\")", "rule_name": {"zh": "扬尘, 高", "en": "dust"}, "index": 4}]}});
        let text = render(&report, Lang::Zh);
        assert!(text.starts_with("\u{feff}位置,部分,项目,指标,值\r\n"), "{text}");
        assert!(text.contains("/alarms/raised,告警,,发生,3\r\n"), "{text}");
        let name = "/alarms/chattering/0/name,抖动告警,\"'=HYPERLINK(\"\"http://x\"\")\",设备,\"'=HYPERLINK(\"\"http://x\"\")\"\r\n";
        assert!(text.contains(name), "{text}");
        assert!(text.contains("规则,\"扬尘, 高\"\r\n"), "{text}");
        let english = render(&report, Lang::En);
        assert!(
            english.contains("/alarms/chattering/0/rule_name/en,"),
            "{english}"
        );
        assert!(english.is_ascii() || english.starts_with(BOM));
    }
}
