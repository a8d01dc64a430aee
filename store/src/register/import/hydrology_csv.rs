//! What is known of hydrological stations from CSV: datums, rating curves, ice seasons, stages of many devices.
//!
//! The first line names the columns, in any order: `device, kind, ch, from, to, datum, zero_m, level_m, flow_m3_s, warning,
//! guaranteed, highest, highest_at, source, verified`. A line is of one kind: a `datum`, a point of a `curve` (those of one
//! device and `from` make one), an `ice` season or the `stages`. An empty cell says nothing; a cell that means nothing for
//! the line's kind is a fault. Times are RFC 3339, or a day, which begins at midnight in Beijing.

use std::collections::{BTreeMap, BTreeSet};

use onemap_model::hydrology::{DatedStages, Datum, IceSeason, RatingCurve};
use onemap_model::{DeviceId, Hydrology, Timestamp};

use super::DeviceFault;
use super::csv::{Line, lines};

/// Column, what it is called in Chinese, and the kinds of lines that it means something for.
const COLUMNS: [(&str, &str, &[&str]); 15] = [
    ("device", "测站", &["datum", "curve", "ice", "stages"]),
    ("kind", "类别", &["datum", "curve", "ice", "stages"]),
    ("ch", "通道", &["datum", "curve", "ice", "stages"]),
    ("from", "起", &["datum", "curve", "ice", "stages"]),
    ("to", "止", &["datum", "curve", "ice", "stages"]),
    ("datum", "基面", &["datum"]),
    ("zero_m", "零点高程", &["datum"]),
    ("level_m", "水位", &["curve"]),
    ("flow_m3_s", "流量", &["curve"]),
    ("warning", "警戒水位", &["stages"]),
    ("guaranteed", "保证水位", &["stages"]),
    ("highest", "历史最高水位", &["stages"]),
    ("highest_at", "历史最高水位时间", &["stages"]),
    ("source", "来源", &["datum", "curve", "stages"]),
    ("verified", "已核对", &["datum", "curve"]),
];

/// What one file says.
#[derive(Debug, Default)]
pub struct HydrologyFile {
    /// By device, those of which every line could be read.
    pub stations: BTreeMap<DeviceId, StationRows>,
    /// Lines that could not be read.
    pub faults: Vec<DeviceFault>,
    /// Devices of which one could not: none of their lines is taken.
    pub left: BTreeSet<DeviceId>,
}

/// What a file says of one device. Entries stand with the line that they come from.
#[derive(Debug, Default)]
pub struct StationRows {
    /// Its lines, from 1.
    pub lines: Vec<usize>,
    channel: Option<u16>,
    datums: Vec<(usize, Datum)>,
    curves: Vec<(usize, RatingCurve)>,
    ice: Vec<(usize, IceSeason)>,
    stages: Vec<(usize, DatedStages)>,
}

impl StationRows {
    /// What is known of the device with this file: of the kinds that it has, what it says in place of what was known; the
    /// others stay.
    ///
    /// # Errors
    /// The first fault of what comes out ([`Hydrology::check`]), with the line of the entry that it is in, or the first of
    /// the device.
    pub fn laid_over(&self, known: Option<&Hydrology>) -> Result<Hydrology, DeviceFault> {
        fn only<T: Clone>(all: &[(usize, T)]) -> Vec<T> {
            all.iter().map(|(_, one)| one.clone()).collect()
        }
        let mut made = known.cloned().unwrap_or_default();
        made.channel = self.channel.unwrap_or(made.channel);
        if !self.datums.is_empty() {
            made.datums = only(&self.datums);
        }
        if !self.curves.is_empty() {
            made.curves = only(&self.curves);
        }
        if !self.ice.is_empty() {
            made.ice = only(&self.ice);
        }
        if !self.stages.is_empty() {
            made.stages = only(&self.stages);
        }
        made.check()
            .map_err(|fault| DeviceFault::new(self.line_of(&fault.place), "", fault.to_string()))?;
        Ok(made)
    }

    /// The line of an entry like `curves[1]`.
    fn line_of(&self, place: &str) -> usize {
        fn at<T>(all: &[(usize, T)], i: usize) -> Option<usize> {
            all.get(i).map(|(line, _)| *line)
        }
        let entry = place.trim_end_matches(']').split_once('[');
        let line = entry.and_then(|(kind, i)| {
            let i = i.parse().ok()?;
            match kind {
                "datums" => at(&self.datums, i),
                "curves" => at(&self.curves, i),
                "ice" => at(&self.ice, i),
                "stages" => at(&self.stages, i),
                _ => None,
            }
        });
        line.or(self.lines.first().copied()).unwrap_or(1)
    }
}

/// Reads what is known of stations, each line for itself. A file whose first line names an unknown column, or lacks
/// `device` or `kind`, gives that one fault.
pub fn import_hydrology_csv(text: &str) -> HydrologyFile {
    let mut file = HydrologyFile::default();
    let mut all = lines(text);
    let columns = match all.next() {
        None => Err(DeviceFault::new(1, "", "the file is empty")),
        Some(Err((line, why))) => Err(DeviceFault::new(line, "", why)),
        Some(Ok(header)) => columns(&header),
    };
    let columns = match columns {
        Ok(columns) => columns,
        Err(fault) => {
            file.faults.push(fault);
            return file;
        }
    };
    for line in all {
        let read = match line {
            Err((line, why)) => Err((None, DeviceFault::new(line, "", why))),
            Ok(line) => file.take(&line, &columns),
        };
        if let Err((device, fault)) = read {
            file.left.extend(device);
            file.faults.push(fault);
        }
    }
    file.stations.retain(|device, _| !file.left.contains(device));
    file
}

fn columns(header: &Line) -> Result<Vec<&'static str>, DeviceFault> {
    let mut columns: Vec<&'static str> = Vec::new();
    for written in &header.fields {
        let name = written.trim();
        let is_it = |(own, zh, _): &&(&str, &str, _)| name.eq_ignore_ascii_case(own) || name == *zh;
        match COLUMNS.iter().find(is_it) {
            Some((column, ..)) if columns.contains(column) => {
                return Err(DeviceFault::new(header.number, column, "the column stands twice"));
            }
            Some((column, ..)) => columns.push(column),
            None => {
                let names: Vec<&str> = COLUMNS.iter().map(|(own, ..)| *own).collect();
                let message = format!("no such column; columns are {}", names.join(", "));
                let name: String = name.chars().take(64).collect();
                return Err(DeviceFault::new(header.number, &name, message));
            }
        }
    }
    for needed in ["device", "kind", "from"] {
        if !columns.contains(&needed) {
            return Err(DeviceFault::new(header.number, needed, "the column is needed"));
        }
    }
    Ok(columns)
}

/// The cells of a line that say something, by column.
struct Cells<'a> {
    line: usize,
    said: BTreeMap<&'static str, &'a str>,
}

impl<'a> Cells<'a> {
    fn fault(&self, column: &str, message: impl Into<String>) -> DeviceFault {
        DeviceFault::new(self.line, column, message)
    }
    fn needed(&self, column: &'static str) -> Result<&'a str, DeviceFault> {
        let cell = self.said.get(column).copied();
        cell.ok_or_else(|| self.fault(column, "it is needed in this line"))
    }
    fn wrong(&self, column: &'static str, cell: &str, what: &str) -> DeviceFault {
        let cell: String = cell.chars().take(64).collect();
        self.fault(column, format!("`{cell}` is not {what}"))
    }
    fn number(&self, column: &'static str) -> Result<Option<f64>, DeviceFault> {
        let Some(cell) = self.said.get(column) else {
            return Ok(None);
        };
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.wrong(column, cell, "a number")),
        }
    }
    fn needed_number(&self, column: &'static str) -> Result<f64, DeviceFault> {
        self.needed(column)?;
        let number = self.number(column)?;
        number.ok_or_else(|| self.fault(column, "it is needed in this line"))
    }
    fn time(&self, column: &'static str) -> Result<Option<Timestamp>, DeviceFault> {
        let Some(cell) = self.said.get(column) else {
            return Ok(None);
        };
        let is_day = cell.len() == 10 && cell.bytes().filter(|b| *b == b'-').count() == 2;
        let read = match is_day {
            true => Timestamp::parse(&format!("{cell}T00:00:00+08:00")),
            false => Timestamp::parse(cell),
        };
        let what = "a time like 2026-05-01T08:00:00+08:00 or a day like 2026-05-01";
        read.map(Some).map_err(|_| self.wrong(column, cell, what))
    }
    fn from(&self) -> Result<Timestamp, DeviceFault> {
        let from = self.time("from")?;
        from.ok_or_else(|| self.fault("from", "it is needed in this line"))
    }
    fn verified(&self) -> Result<bool, DeviceFault> {
        match self
            .said
            .get("verified")
            .map(|cell| cell.to_ascii_lowercase())
            .as_deref()
        {
            None | Some("false" | "no" | "0" | "否") => Ok(false),
            Some("true" | "yes" | "1" | "是") => Ok(true),
            Some(other) => Err(self.wrong("verified", other, "true or false")),
        }
    }
    fn text(&self, column: &'static str) -> String {
        self.said.get(column).copied().unwrap_or_default().to_owned()
    }
}

impl HydrologyFile {
    /// Takes a line; a fault comes with the device that it is of, as far as that is known.
    fn take(&mut self, line: &Line, columns: &[&'static str]) -> Result<(), (Option<DeviceId>, DeviceFault)> {
        let all = columns
            .iter()
            .copied()
            .zip(line.fields.iter().map(|cell| cell.trim()));
        let cells = Cells {
            line: line.number,
            said: all.filter(|(_, cell)| !cell.is_empty()).collect(),
        };
        let device = cells
            .needed("device")
            .and_then(|id| DeviceId::new(id).map_err(|_| cells.wrong("device", id, "a device's id")));
        let device = device.map_err(|fault| (None, fault))?;
        let known = |fault| (Some(device.clone()), fault);
        if line.fields.len() != columns.len() {
            let message = format!(
                "{} cells, the first line names {}",
                line.fields.len(),
                columns.len()
            );
            return Err(known(cells.fault("", message)));
        }
        let station = self.stations.entry(device.clone()).or_default();
        station.lines.push(line.number);
        station.take(&cells).map_err(known)
    }
}

impl StationRows {
    fn take(&mut self, cells: &Cells<'_>) -> Result<(), DeviceFault> {
        let written = cells.needed("kind")?;
        let kind = match written.to_lowercase().as_str() {
            "datum" | "基面" => "datum",
            "curve" | "水位流量关系" => "curve",
            "ice" | "冰期" => "ice",
            "stages" | "特征水位" => "stages",
            _ => return Err(cells.wrong("kind", written, "datum, curve, ice or stages")),
        };
        for (column, _, kinds) in COLUMNS {
            if cells.said.contains_key(column) && !kinds.contains(&kind) {
                return Err(cells.fault(column, format!("it means nothing in a line of kind {kind}")));
            }
        }
        if let Some(cell) = cells.said.get("ch") {
            let channel = cell
                .parse()
                .map_err(|_| cells.wrong("ch", cell, "a channel, 0 to 65535"))?;
            match self.channel {
                Some(other) if other != channel => {
                    let message = format!("the device's lines before are about channel {other}");
                    return Err(cells.fault("ch", message));
                }
                _ => self.channel = Some(channel),
            }
        }
        match kind {
            "datum" => self.datum(cells),
            "curve" => self.point(cells),
            "ice" => {
                let (from, to) = (cells.needed("from")?.to_owned(), cells.needed("to")?.to_owned());
                self.ice.push((cells.line, IceSeason { from, to }));
                Ok(())
            }
            _ => {
                let stages = DatedStages {
                    from: cells.from()?,
                    to: cells.time("to")?,
                    warning: cells.number("warning")?,
                    guaranteed: cells.number("guaranteed")?,
                    highest: cells.number("highest")?,
                    highest_at: cells.time("highest_at")?,
                    source: cells.text("source"),
                };
                self.stages.push((cells.line, stages));
                Ok(())
            }
        }
    }

    fn datum(&mut self, cells: &Cells<'_>) -> Result<(), DeviceFault> {
        let name = cells.needed("datum")?;
        let named = serde_json::from_value(name.into());
        let datum = Datum {
            from: cells.from()?,
            to: cells.time("to")?,
            datum: named.map_err(|_| {
                cells.wrong("datum", name, "1985国家高程基准, 黄海, 吴淞, 大沽, 珠江 or 假定")
            })?,
            zero_m: cells.needed_number("zero_m")?,
            source: cells.text("source"),
            verified: cells.verified()?,
        };
        self.datums.push((cells.line, datum));
        Ok(())
    }

    /// A point of a curve: of the one that begins then, or the first of a new one. What the first line says of the curve
    /// (end, source, whether it was compared) the others leave out or say again.
    fn point(&mut self, cells: &Cells<'_>) -> Result<(), DeviceFault> {
        let (from, to) = (cells.from()?, cells.time("to")?);
        let point = (cells.needed_number("level_m")?, cells.needed_number("flow_m3_s")?);
        let (source, verified) = (cells.text("source"), cells.verified()?);
        match self.curves.iter_mut().find(|(_, curve)| curve.from == from) {
            Some((first, curve)) => {
                let differs = [
                    ("to", to.is_some() && to != curve.to),
                    ("source", !source.is_empty() && source != curve.source),
                    (
                        "verified",
                        cells.said.contains_key("verified") && verified != curve.verified,
                    ),
                ];
                if let Some((column, _)) = differs.iter().find(|(_, differs)| *differs) {
                    let message = format!("line {first} says another of the same curve");
                    return Err(cells.fault(column, message));
                }
                curve.points.push(point);
            }
            None => {
                let curve = RatingCurve {
                    from,
                    to,
                    points: vec![point],
                    source,
                    verified,
                };
                self.curves.push((cells.line, curve));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "device,kind,ch,from,to,datum,zero_m,level_m,flow_m3_s,warning,guaranteed,highest,highest_at,source,verified\n";

    fn faults(file: &HydrologyFile) -> Vec<String> {
        let shown = |fault: &DeviceFault| format!("{}:{}: {}", fault.line, fault.column, fault.message);
        file.faults.iter().map(shown).collect()
    }

    #[test]
    fn a_file_is_laid_over_what_is_known_kind_by_kind() {
        let text = format!(
            "{HEADER}\
            gauge-1,datum,2,2026-05-01,,1985国家高程基准,2250.12,,,,,,,水准测量,是\n\
            gauge-1,curve,,2026-05-01,2027-01-01T00:00:00+08:00,,,2251.0,0,,,,,整编 2025,true\n\
            gauge-2,ice,,11-20,03-15,,,,,,,,,,\n\
            gauge-1,curve,,2026-05-01,,,,2252.0,10,,,,,,\n\
            gauge-1,水位流量关系,,2027-01-01,,,,2251.0,0,,,,,整编 2026,\n\
            gauge-1,curve,2,2027-01-01,,,,2253.0,30,,,,,整编 2026,no\n\
            gauge-1,stages,,2020-01-01,,,,,,2253.5,2254.5,2254.8,1998-08-01,防汛手册,\n"
        );
        let file = import_hydrology_csv(&text);
        assert_eq!(faults(&file), [""; 0]);
        let station = &file.stations["gauge-1"];
        assert_eq!(station.lines, [2, 3, 5, 6, 7, 8]);
        let made = station.laid_over(None).unwrap();
        assert_eq!(
            (made.channel, made.curves.len(), made.datums[0].verified),
            (2, 2, true)
        );
        assert_eq!(made.curves[0].points, [(2251.0, 0.0), (2252.0, 10.0)]);
        assert_eq!(made.curves[0].to, Some(made.curves[1].from));
        assert_eq!(
            made.stages[0].highest_at,
            Timestamp::parse("1998-08-01T00:00:00+08:00").ok()
        );
        let with_ice = file.stations["gauge-2"].laid_over(Some(&made)).unwrap();
        assert_eq!(with_ice.ice.len(), 1);
        assert_eq!((&with_ice.curves, with_ice.channel), (&made.curves, 2));
    }

    #[test]
    fn a_bad_line_is_named_and_its_device_left_as_it_was() {
        let text = format!(
            "{HEADER}\
            a,datum,,2026-05-01,,渤海,1,,,,,,,x,\n\
            a,ice,,11-20,03-15,,,,,,,,,,\n\
            b,curve,,2026-05-01,,,,x,0,,,,,x,\n\
            c,curve,,2026-05-01,,,,1,0,5,,,,x,\n\
            d,stage,,2026-05-01,,,,,,5,,,,x,\n\
            e,stages,,2026-13-01,,,,,,5,,,,x,\n\
            f,stages,70000,2026-01-01,,,,,,5,,,,x,\n\
            ,stages,,2026-01-01,,,,,,5,,,,x,\n\
            a b,stages,,2026-01-01,,,,,,5,,,,x,\n\
            g,stages,1,2026-01-01,,,,,,5,,,,x,\n\
            g,ice,2,11-20,03-15,,,,,,,,,,\n\
            h,curve,,2026-01-01,,,,1,1,,,,,x,\n\
            h,curve,,2026-01-01,,,,2,2,,,,,y,\n\
            i,datum,,2026-01-01,,假定,,,,,,,,x,\n\
            j,datum\n\
            k,ice,,11-20,,,,,,,,,,,\n\
            l,\"x\"y\n\
            m,stages,,,,,,,,5,,,,x,\n\
            n,datum,,2026-01-01,,假定,1,,,,,,,x,maybe\n\
            ok,ice,,11-20,03-15,,,,,,,,,,\n"
        );
        let file = import_hydrology_csv(&text);
        let places: Vec<String> = file
            .faults
            .iter()
            .map(|f| format!("{}:{}", f.line, f.column))
            .collect();
        assert_eq!(
            places,
            [
                "2:datum",
                "4:level_m",
                "5:warning",
                "6:kind",
                "7:from",
                "8:ch",
                "9:device",
                "10:device",
                "12:ch",
                "14:source",
                "15:zero_m",
                "16:",
                "17:to",
                "18:",
                "19:from",
                "20:verified"
            ],
            "{:?}",
            faults(&file)
        );
        let taken: Vec<&str> = file.stations.keys().map(DeviceId::as_str).collect();
        assert_eq!(taken, ["ok"]);
        assert!(file.left.contains("a") && !file.left.contains("ok"));
    }

    #[test]
    fn what_is_not_sound_together_is_told_with_the_line_of_its_entry() {
        let text = format!(
            "{HEADER}\
            a,curve,,2026-01-01,,,,1,5,,,,,x,\n\
            a,curve,,2026-01-01,,,,2,4,,,,,,\n\
            b,curve,,2026-01-01,,,,1,5,,,,,x,\n\
            b,stages,,2026-01-01,,,,,,5,4,,,x,\n\
            c,datum,,2026-01-01,,假定,1,,,,,,,x,\n\
            c,datum,,2026-06-01,,假定,1,,,,,,,x,\n\
            d,stages,,2026-01-01,,,,,,5,,,,,\n"
        );
        let file = import_hydrology_csv(&text);
        assert_eq!(faults(&file), [""; 0]);
        let said = |id: &str| file.stations[id].laid_over(None).unwrap_err().to_string();
        for (id, want) in [
            ("a", "line 2, column : curves[0]: the flow of point 1 falls"),
            ("b", "line 4, column : curves[0]: a curve has 2 to"),
            ("c", "line 7, column : datums[1]: it lies over datums[0]"),
            ("d", "line 8, column : stages[0]: `source` says"),
        ] {
            assert!(said(id).starts_with(want), "{}", said(id));
        }
    }

    #[test]
    fn a_first_line_that_is_not_one_is_the_only_fault() {
        for (text, place) in [
            ("", "1:"),
            ("kind,from\n", "1:device"),
            ("device,kind\n", "1:from"),
            ("device,kind,from,colour\n", "1:colour"),
            ("测站,类别,起,起\n", "1:from"),
        ] {
            let file = import_hydrology_csv(text);
            let places: Vec<String> = file
                .faults
                .iter()
                .map(|f| format!("{}:{}", f.line, f.column))
                .collect();
            assert_eq!(places, [place], "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text: String) {
            import_hydrology_csv(&text);
            for (_, station) in import_hydrology_csv(&format!("{HEADER}a,{text}")).stations {
                let _ = station.laid_over(None);
            }
        }
    }
}
