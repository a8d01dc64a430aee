//! Every gauge of the shared data folder that a backtest can take, each as the target of its set.

use std::path::Path;

use super::{CALDER, Case, Row, pivot, table, wide};

/// Shares of rows above which a flood begins, where no stage is named.
pub(crate) const TOPS: [f64; 2] = [0.95, 0.99];

/// Columns of the Han's table, the bridge first.
pub(crate) const HAN: [&str; 13] = [
    "wl_jamsu_cm",
    "dam_level_m",
    "dam_inflow_m3s",
    "dam_storage_mcm",
    "dam_release_m3s",
    "tide_cm",
    "wl_cheongdam_cm",
    "q_cheongdam_m3s",
    "wl_hangang_cm",
    "wl_haengju_cm",
    "rf_10184100",
    "rf_10184110",
    "rf_10184140",
];

/// A set: what its table is, its targets, and the leads that its step allows.
struct Set<'a> {
    name: &'a str,
    targets: Vec<String>,
    leads_h: &'a [i64],
}

impl Set<'_> {
    /// The cases of the wanted targets; `read` gives the columns with the target first.
    fn push(
        &self,
        all: &mut Vec<Case>,
        wanted: &[String],
        read: impl Fn(&str) -> (Vec<i64>, Vec<super::Series>),
    ) {
        for target in &self.targets {
            let name = format!("{}-{target}", self.name);
            if !wanted.is_empty() && !wanted.iter().any(|want| name.starts_with(want.as_str())) {
                continue;
            }
            let (times, series) = read(target);
            all.push(Case {
                name,
                times,
                series,
                threshold: None,
                top: TOPS[0],
                horizons_h: self.leads_h.to_vec(),
                floors: vec![0.0; self.leads_h.len()],
                is_mae: false,
            });
        }
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The columns with the target first.
fn led_by<'a>(target: &'a str, columns: &'a [String]) -> Vec<&'a str> {
    let rest = columns.iter().map(String::as_str).filter(|name| *name != target);
    std::iter::once(target).chain(rest).collect()
}

fn is_any(wanted: &[String], set: &str) -> bool {
    wanted.is_empty()
        || wanted
            .iter()
            .any(|want| want.starts_with(set) || set.starts_with(want.as_str()))
}

/// Gauges as targets whose names (`set-column`) begin with one of `wanted`, or all.
pub(crate) fn gauges(data: &Path, wanted: &[String]) -> Vec<Case> {
    let h = data.join("hydrology");
    let mut all = Vec::new();
    let mut flat = |name, file: &str, time: &str, targets: &[&str], columns: &[&str], leads_h: &[i64]| {
        if !is_any(wanted, name) {
            return;
        }
        let rows = table(&h.join(file));
        let columns = strings(columns);
        let set = Set {
            name,
            targets: strings(targets),
            leads_h,
        };
        set.push(&mut all, wanted, |target| {
            wide(&rows, time, &led_by(target, &columns))
        });
    };
    let wangsuk = [
        "wl_jingwan",
        "wl_naegok",
        "wl_bupyeong",
        "rain_jingwan",
        "rain_jinjeop",
    ];
    flat(
        "wangsuk",
        "wangsuk/hourly.csv.gz",
        "time",
        &wangsuk[..3],
        &wangsuk,
        &[1, 2, 3, 6],
    );
    flat(
        "han",
        "han-river/ten_minute.csv.gz",
        "time",
        &["wl_jamsu_cm", "wl_cheongdam_cm", "wl_hangang_cm", "wl_haengju_cm"],
        &HAN,
        &[1, 3, 6, 12],
    );
    let basin = ["q_mm", "rain_mm", "pet_mm"];
    flat(
        "basin",
        "basin-l0123003/hourly.csv.gz",
        "time",
        &basin[..1],
        &basin,
        &[1, 3, 6, 12],
    );
    let danube: Vec<String> = (1..=31).map(|at| format!("g{at:02}")).collect();
    let danube: Vec<&str> = danube.iter().map(String::as_str).collect();
    flat(
        "danube",
        "danube/daily.csv.gz",
        "date",
        &danube,
        &danube,
        &[24, 48, 72],
    );
    let ouse = [
        "q_skelton",
        "q_crakehill",
        "q_skip_bridge",
        "q_westwick",
        "rain_arkengarthdale",
        "rain_east_cowton",
        "rain_malham_tarn",
        "rain_snaizeholme",
    ];
    flat("ouse", "ouse/daily.csv", "date", &ouse[..4], &ouse, &[24, 48, 72]);
    let mut calder: Vec<&str> = CALDER.iter().map(|gauge| gauge.1).collect();
    calder.extend([
        "rain_gorpley_mm",
        "rain_bacup_mm",
        "rain_gorple_mm",
        "rain_walshaw_dean_mm",
    ]);
    flat(
        "calder",
        "calder/fifteen_minute.csv.gz",
        "time_utc",
        &calder[..5],
        &calder,
        &[1, 3, 6, 12, 24],
    );
    if is_any(wanted, "aller") {
        let rows = table(&h.join("aller/levels.csv.gz"));
        let set = Set {
            name: "aller",
            targets: strings(&[
                "Rethem",
                "Grafhorst",
                "Brenneckenbrück",
                "Langlingen",
                "Celle",
                "Marklendorf",
                "Ahlden",
                "Eitze",
            ]),
            leads_h: &[6, 12, 24, 48],
        };
        set.push(&mut all, wanted, |target| {
            pivot(&rows, "time", "station", "level_cm", target, 7)
        });
    }
    if is_any(wanted, "yellow") {
        let rows = table(&h.join("yellow-river/daily.csv.gz"));
        let is_main = |row: &Row| row["river"] == "黄河" && row["q_m3s"].parse::<f64>().is_ok();
        let rows: Vec<Row> = rows.into_iter().filter(is_main).collect();
        let set = Set {
            name: "yellow",
            targets: strings(&[
                "利津",
                "泺口",
                "艾山",
                "孙口",
                "高村",
                "夹河滩",
                "花园口",
                "小浪底",
                "三门峡",
                "潼关",
                "龙门",
                "吴堡",
                "府谷",
                "头道拐",
                "三湖河口",
                "巴彦高勒",
                "石嘴山",
                "下河沿",
                "兰州",
                "唐乃亥",
            ]),
            leads_h: &[24, 48, 72, 120],
        };
        set.push(&mut all, wanted, |target| {
            pivot(&rows, "date", "station", "q_m3s", target, 14)
        });
    }
    all
}
