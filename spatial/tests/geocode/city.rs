//! A city made up from a seed, in the shape of notes on the geocoder: 900 roads of which 15 % share a name with
//! another, 108 k of 270 k doors held, 3,000 estates, 20,000 places, over Xining's real divisions.
#![allow(dead_code, reason = "the example of speeds takes a part of it")]

use std::collections::HashMap;

use onemap_model::DivisionCode;
use onemap_spatial::geocode::{DoorEntry, Entry, EntryKind, Geocoder, Ground, base_entries};

pub(crate) const N_ROADS: usize = 900;
pub(crate) const N_ESTATES: usize = 3_000;
pub(crate) const N_PLACES: usize = 20_000;
const DISTRICTS: [&str; 7] = [
    "630102", "630103", "630104", "630105", "630106", "630121", "630123",
];

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);
impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.roll() % n as u64) as usize
    }
    pub(crate) fn part(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The finaliser of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z ^= z >> 30;
    z = z.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^= z >> 27;
    z = z.wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Clone)]
pub(crate) struct Road {
    pub(crate) name: String,
    pub(crate) district: &'static str,
    pub(crate) line: Vec<[f64; 2]>,
}
pub(crate) struct Door {
    pub(crate) road: usize,
    pub(crate) number: u32,
    pub(crate) at: [f64; 2],
    pub(crate) held: bool,
}
#[derive(Clone)]
pub(crate) struct Spot {
    pub(crate) name: String,
    pub(crate) district: &'static str,
    pub(crate) at: [f64; 2],
}
pub(crate) struct City {
    pub(crate) roads: Vec<Road>,
    pub(crate) doors: Vec<Door>,
    pub(crate) estates: Vec<Spot>,
    pub(crate) places: Vec<Spot>,
    /// Name of each district.
    pub(crate) districts: HashMap<&'static str, String>,
}

const STEMS: &str = "昆仑 五四 黄河 长江 海湖 同仁 祁连 柴达木 胜利 建国 七一 南山 北山 互助 八一 共和 湟水 西川 文汇 文景 通海 盐湖 \
    冷湖 大通 民和 化隆 贵德 玉树 果洛 海晏 刚察 天峻 乌兰 德令哈 格尔木 花园 礼让 饮马 大众 中庄 团结 凤凰 香格里拉 海西 海东 海南 \
    新宁 兴海 同德 泽库 尖扎 河南 班玛 久治 达日 甘德 称多 囊谦 治多 曲麻莱 杂多 经二 经四 纬一 纬三 金汇 金桥 创业 科技 创新 时代 \
    生物园 教场 学院 体育 青年 向阳 光华 红星 东风 文化 民主 和平 人民 前进 解放 幸福 安宁 永宁 永兴 永康 瑞源 瑞景 泰宁 康宁 康乐 \
    富宁 富民 锦绣 锦园 海悦 海源 麒麟 湿地 火烧沟 沈家寨 杨家庄 朝阳 城辉 毛胜寺 小桥 二十里铺";
const ENDS: [&str; 10] = [
    "路", "街", "大街", "巷", "东路", "西路", "南路", "北路", "中路", "大道",
];
const LETTERS: &str = "金银华瑞祥盛丰康安宁和美佳新龙凤翠碧天海昆雪江锦世东南西北中";
const ESTATES: [&str; 10] = [
    "小区",
    "花园",
    "家园",
    "苑",
    "新村",
    "名邸",
    "公寓",
    "雅苑",
    "国际城",
    "广场",
];
const SHOPS: [&str; 20] = [
    "超市",
    "药店",
    "幼儿园",
    "小学",
    "中学",
    "酒店",
    "宾馆",
    "牛肉面",
    "银行",
    "卫生服务中心",
    "派出所",
    "加油站",
    "停车场",
    "农贸市场",
    "理发店",
    "五金店",
    "诊所",
    "茶楼",
    "公司",
    "培训中心",
];

/// A point so many metres east and north of another.
fn moved([lon, lat]: [f64; 2], east: f64, north: f64) -> [f64; 2] {
    [
        lon + east / 111_320.0 / lat.to_radians().cos(),
        lat + north / 111_320.0,
    ]
}
pub(crate) fn metres(a: [f64; 2], b: [f64; 2]) -> f64 {
    let east = (a[0] - b[0]) * 111_320.0 * a[1].to_radians().cos();
    east.hypot((a[1] - b[1]) * 111_320.0)
}
/// Where a number stands, without the scatter of real doors: numbers run up to 400, odd ones left.
fn stands(line: &[[f64; 2]], number: u32) -> [f64; 2] {
    let along = f64::from(number) / 400.0;
    let (a, b) = (line[0], line[1]);
    let on = [a[0] + (b[0] - a[0]) * along, a[1] + (b[1] - a[1]) * along];
    let (east, north) = (
        (b[0] - a[0]) * 111_320.0 * a[1].to_radians().cos(),
        (b[1] - a[1]) * 111_320.0,
    );
    let length = east.hypot(north);
    let side = if number % 2 == 1 { 12.0 } else { -12.0 };
    moved(on, -north / length * side, east / length * side)
}

impl City {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let named = base_entries();
        let districts: HashMap<_, _> = DISTRICTS
            .iter()
            .map(|code| {
                (
                    *code,
                    named
                        .iter()
                        .find(|e| &*e.code == *code)
                        .map(|e| e.name.clone())
                        .unwrap_or_default(),
                )
            })
            .collect();
        let centres: Vec<[f64; 2]> = DISTRICTS
            .iter()
            .map(|_| moved([101.6, 36.5], dice.part() * 40_000.0, dice.part() * 30_000.0))
            .collect();
        let stems: Vec<&str> = STEMS.split_whitespace().collect();
        let mut roads: Vec<Road> = Vec::new();
        let mut by_name: HashMap<String, Vec<&'static str>> = HashMap::new();
        let n_sharing = N_ROADS * 15 / 100 / 2;
        let mut shared = 0;
        while roads.len() < N_ROADS {
            let d = dice.below(DISTRICTS.len());
            let name = match () {
                // A second road takes the name of one in another district.
                () if shared < n_sharing && roads.len() > N_ROADS / 2 => {
                    roads[dice.below(roads.len())].name.clone()
                }
                () => format!("{}{}", dice.one(&stems), dice.one(&ENDS)),
            };
            let with = by_name.entry(name.clone()).or_default();
            let sharing = shared < n_sharing && roads.len() > N_ROADS / 2;
            if with.contains(&DISTRICTS[d]) || (with.len() == 1) != sharing || with.len() > 1 {
                continue;
            }
            shared += usize::from(sharing);
            with.push(DISTRICTS[d]);
            let from = moved(
                centres[d],
                (dice.part() - 0.5) * 6_000.0,
                (dice.part() - 0.5) * 6_000.0,
            );
            let (length, way) = (800.0 + dice.part() * 3_000.0, dice.part() * std::f64::consts::TAU);
            let line = vec![from, moved(from, length * way.cos(), length * way.sin())];
            roads.push(Road {
                name,
                district: DISTRICTS[d],
                line,
            });
        }
        let mut doors = Vec::new();
        for (road, of) in roads.iter().enumerate() {
            for number in 1..=200 + dice.below(200) as u32 {
                let at = moved(
                    stands(&of.line, number),
                    (dice.part() - 0.5) * 12.0,
                    (dice.part() - 0.5) * 12.0,
                );
                doors.push(Door {
                    road,
                    number,
                    at,
                    held: dice.part() < 0.4,
                });
            }
        }
        let letters: Vec<char> = LETTERS.chars().collect();
        let mut spot = |i: usize| {
            let road = &roads[dice.below(N_ROADS)];
            let at = stands(&road.line, 1 + dice.below(300) as u32);
            let mut name: String = (0..2).map(|_| dice.one(&letters)).collect();
            if dice.part() < 0.3 {
                name.push(dice.one(&letters));
            }
            name.push_str(if i < N_ESTATES {
                dice.one(&ESTATES)
            } else {
                dice.one(&SHOPS)
            });
            if i >= N_ESTATES && dice.part() < 0.3 {
                name = format!("{name}({}店)", road.name);
            }
            Spot {
                name,
                district: road.district,
                at,
            }
        };
        let estates = (0..N_ESTATES).map(&mut spot).collect();
        let places = (0..N_PLACES).map(|i| spot(N_ESTATES + i)).collect();
        Self {
            roads,
            doors,
            estates,
            places,
            districts,
        }
    }

    pub(crate) fn geocoder(&self) -> Geocoder {
        let division = |code: &str| DivisionCode::new(code).ok();
        let roads = self.roads.iter().enumerate().map(|(i, road)| Entry {
            stated_m: 0.0,
            held: true,
            code: format!("R{i}").into(),
            name: road.name.clone(),
            aliases: vec![],
            kind: EntryKind::Road,
            division: division(road.district),
            ground: Ground::Lines(vec![road.line.clone()]),
        });
        let spots = self
            .estates
            .iter()
            .chain(&self.places)
            .enumerate()
            .map(|(i, spot)| Entry {
                stated_m: 0.0,
                held: true,
                code: format!("P{i}").into(),
                name: spot.name.clone(),
                aliases: vec![],
                kind: EntryKind::Place,
                division: division(spot.district),
                ground: Ground::Point {
                    at: spot.at,
                    precision_m: 20.0,
                },
            });
        let doors = self
            .doors
            .iter()
            .enumerate()
            .filter(|(_, door)| door.held)
            .map(|(i, door)| DoorEntry {
                stated_m: 0.0,
                code: format!("D{i}").into(),
                of: self.roads[door.road].name.clone(),
                number: door.number.to_string(),
                group: 0,
                division: division(self.roads[door.road].district),
                at: door.at,
            });
        Geocoder::new(base_entries().into_iter().chain(roads).chain(spots), doors)
    }
}
