//! Questions to the made-up city, in the classes of the notes.
#![allow(dead_code, reason = "the example of speeds takes a part of it")]

use std::collections::HashMap;

use crate::city::{City, Dice};

/// What is asked, and what is true.
pub(crate) struct Query {
    pub(crate) class: &'static str,
    pub(crate) text: String,
    pub(crate) name: String,
    pub(crate) district: &'static str,
    pub(crate) at: [f64; 2],
    /// Any thing of the name is right: the text cannot tell them apart.
    pub(crate) any: bool,
}

/// Class, and the share of right entities that the prototype reached, in percent.
pub(crate) const CLASSES: [(&str, f64); 14] = [
    ("full", 100.0),
    ("no province or city", 100.0),
    ("short admin names", 96.5),
    ("number not held", 100.0),
    ("wide or Chinese digits", 100.0),
    ("noise", 100.0),
    ("wrong district", 84.5),
    ("homophone", 99.5),
    ("one character lost", 76.2),
    ("another character", 90.4),
    ("estate, building, room", 100.0),
    ("place alone", 99.9),
    ("last character missing", 98.7),
    ("crossing", 90.0),
];

/// Characters by how they are read first, and each one's syllable.
pub(crate) struct Sounds {
    by_syllable: HashMap<&'static str, Vec<char>>,
    of: HashMap<char, &'static str>,
    all: Vec<char>,
}

impl Sounds {
    /// Of the shipped table, characters of GB 2312's first 3,755 and second 3,008 ideographs are not told apart here;
    /// only those that stand in names of the base and the city are used as typing errors.
    pub(crate) fn of_names(names: &str) -> Self {
        let mut known: Vec<char> = names
            .chars()
            .filter(|c| ('\u{4e00}'..='\u{9fff}').contains(c))
            .collect();
        known.sort_unstable();
        known.dedup();
        let mut made = Self {
            by_syllable: HashMap::new(),
            of: HashMap::new(),
            all: known.clone(),
        };
        for line in include_str!("../../data/pinyin.tsv")
            .lines()
            .filter(|line| !line.starts_with('+'))
        {
            let Some((syllable, chars)) = line.split_once('\t') else {
                continue;
            };
            for c in chars.chars() {
                made.of.insert(c, syllable);
                if known.binary_search(&c).is_ok() {
                    made.by_syllable.entry(syllable).or_default().push(c);
                }
            }
        }
        made
    }

    fn alike(&self, c: char, dice: &mut Dice) -> Option<char> {
        let same = self.by_syllable.get(self.of.get(&c)?)?;
        (0..8).map(|_| dice.one(same)).find(|other| *other != c)
    }
}

fn chinese(n: u32) -> String {
    let digits: Vec<char> = "零一二三四五六七八九".chars().collect();
    let (hundreds, tens, ones) = (n / 100, n / 10 % 10, n % 10);
    let mut said = String::new();
    if hundreds > 0 {
        said.push(digits[hundreds as usize]);
        said.push('百');
    }
    if tens > 0 {
        if hundreds > 0 || tens > 1 {
            said.push(digits[tens as usize]);
        }
        said.push('十');
    } else if hundreds > 0 && ones > 0 {
        said.push('零');
    }
    if ones > 0 {
        said.push(digits[ones as usize]);
    }
    said
}

fn wide(n: u32) -> String {
    n.to_string()
        .chars()
        .filter_map(|c| char::from_u32(c as u32 + 0xfee0))
        .collect()
}

pub(crate) fn short(district: &str) -> &str {
    if district.starts_with("大通") {
        return "大通";
    }
    district.trim_end_matches(['区', '县'])
}

pub(crate) fn of_class(
    class: &'static str,
    n: usize,
    city: &City,
    sounds: &Sounds,
    dice: &mut Dice,
) -> Vec<Query> {
    let mut made = Vec::new();
    while made.len() < n {
        if let Some(query) = one(class, city, sounds, dice) {
            made.push(query);
        }
    }
    made
}

fn one(class: &'static str, city: &City, sounds: &Sounds, dice: &mut Dice) -> Option<Query> {
    let door = &city.doors[dice.below(city.doors.len())];
    let road = &city.roads[door.road];
    let district = city.districts[road.district].as_str();
    let (name, n) = (road.name.as_str(), door.number);
    // Not the last character: it says that it is a road.
    let changed = |dice: &mut Dice, how: u8| -> Option<String> {
        let mut letters: Vec<char> = name.chars().collect();
        if how > 0 && letters.len() < 4 {
            return None;
        }
        let i = dice.below((letters.len() - 1).max(1));
        match how {
            0 => letters[i] = sounds.alike(letters[i], dice)?,
            1 => {
                letters.remove(i);
            }
            _ => {
                let other = dice.one(&sounds.all);
                if other == letters[i] {
                    return None;
                }
                letters[i] = other;
            }
        }
        Some(letters.into_iter().collect())
    };
    let on_road = |text: String| {
        let (name, district) = (name.to_owned(), road.district);
        Some(Query {
            class,
            text,
            name,
            district,
            at: door.at,
            any: false,
        })
    };
    let of_spot = |text: String, spot: &crate::city::Spot, any: bool| {
        let name = spot.name.clone();
        Some(Query {
            class,
            text,
            name,
            district: spot.district,
            at: spot.at,
            any,
        })
    };
    match class {
        "full" => on_road(format!("青海省西宁市{district}{name}{n}号")),
        "no province or city" => on_road(format!("{district}{name}{n}号")),
        "short admin names" => on_road(format!("青海西宁{}{name}{n}号", short(district))),
        "number not held" if door.held => None,
        "number not held" => on_road(format!("西宁市{district}{name}{n}号")),
        "wide or Chinese digits" => {
            let number = if dice.part() < 0.5 { chinese(n) } else { wide(n) };
            on_road(format!("西宁市{district}{name}{number}号"))
        }
        "noise" => {
            let what = dice.one(&["东侧", "红绿灯", "公交站"]);
            on_road(format!(
                "西宁市，{district} {name}与{what}交叉口附近 {n}号对面 王先生收"
            ))
        }
        "wrong district" => {
            let mut codes: Vec<_> = city.districts.keys().copied().collect();
            codes.sort_unstable();
            let other = &city.districts[dice.one(&codes)];
            on_road(format!("西宁市{other}{name}{n}号"))
        }
        "homophone" => on_road(format!("西宁市{district}{}{n}号", changed(dice, 0)?)),
        "one character lost" => on_road(format!("西宁市{district}{}{n}号", changed(dice, 1)?)),
        "another character" => on_road(format!("西宁市{district}{}{n}号", changed(dice, 2)?)),
        "estate, building, room" => {
            let estate = &city.estates[dice.below(city.estates.len())];
            let (b, u, r) = (1 + dice.below(20), 1 + dice.below(4), 101 + dice.below(900));
            let of = &city.districts[estate.district];
            of_spot(format!("{of}{}{b}号楼{u}单元{r}室", estate.name), estate, false)
        }
        "place alone" => {
            let place = &city.places[dice.below(city.places.len())];
            of_spot(place.name.clone(), place, true)
        }
        "last character missing" => {
            let place = &city.places[dice.below(city.places.len())];
            let letters = place.name.chars().count();
            if letters < 5 {
                return None;
            }
            let cut: String = place.name.chars().take(letters - 1).collect();
            of_spot(format!("{}{cut}", city.districts[place.district]), place, true)
        }
        _ => crossing(class, city, dice),
    }
}

/// Two roads of one district whose lines cross.
fn crossing(class: &'static str, city: &City, dice: &mut Dice) -> Option<Query> {
    let (a, b) = (
        &city.roads[dice.below(city.roads.len())],
        &city.roads[dice.below(city.roads.len())],
    );
    if a.district != b.district || a.name == b.name {
        return None;
    }
    let at = cross(&a.line, &b.line)?;
    let district = &city.districts[a.district];
    let text = match dice.below(4) {
        0 => format!("{district}{}与{}交叉口", a.name, b.name),
        1 => format!("西宁市{district}{}和{}十字路口东南角", a.name, b.name),
        2 => format!("{district}{}/{}", a.name, b.name),
        _ => format!("{district}{}{}路口", a.name, b.name),
    };
    Some(Query {
        class,
        text,
        name: format!("{}与{}交叉口", a.name, b.name),
        district: a.district,
        at,
        any: false,
    })
}

fn cross(a: &[[f64; 2]], b: &[[f64; 2]]) -> Option<[f64; 2]> {
    let (d, e) = (
        [a[1][0] - a[0][0], a[1][1] - a[0][1]],
        [b[1][0] - b[0][0], b[1][1] - b[0][1]],
    );
    let det = d[0] * e[1] - d[1] * e[0];
    let f = [b[0][0] - a[0][0], b[0][1] - a[0][1]];
    let (t, u) = (
        (f[0] * e[1] - f[1] * e[0]) / det,
        (f[0] * d[1] - f[1] * d[0]) / det,
    );
    let on = |x: f64| (0.0..=1.0).contains(&x);
    (on(t) && on(u)).then(|| [a[0][0] + d[0] * t, a[0][1] + d[1] * t])
}
