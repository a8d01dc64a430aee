//! The divisions at the head of an address, read in every way that makes sense.

use super::classes::class_suffix;
use super::door::stem;
use super::gazetteer::Rank;
use super::names::Style;
use super::parse::{Hit, Parse, Reader};
use super::shorten::has_class;
use super::zone::Zone;

/// Ways to read the head that are followed.
const N_READINGS: usize = 32;
/// Things of one name that are looked at.
pub(super) const N_NAMESAKES: usize = 256;

impl Reader<'_> {
    /// Every way to read the divisions at the head, the longest and surest first.
    pub(crate) fn heads(&self) -> Vec<Parse> {
        let mut done: Vec<(usize, Parse)> = vec![(
            0,
            Parse {
                sure: 1.0,
                ..Parse::default()
            },
        )];
        let mut next = 0;
        while next < done.len() && done.len() < N_READINGS {
            let (mut at, from) = done[next].clone();
            next += 1;
            while at < self.text.chars.len() && at > 0 && matches!(self.text.chars[at], '(' | ')' | '/') {
                at += 1;
            }
            if at >= self.text.chars.len() {
                continue;
            }
            for hit in self.hits_at(at) {
                for name in self.gazetteer.names.named(hit.spelling).take(N_NAMESAKES) {
                    self.step(&from, *hit, name.thing, name.style, &mut done);
                }
            }
        }
        done.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        done.into_iter().map(|(_, parse)| parse).collect()
    }

    fn step(&self, from: &Parse, hit: Hit, id: u32, style: Style, done: &mut Vec<(usize, Parse)>) {
        let thing = self.gazetteer.thing(id);
        let (true, Some(zone)) = (thing.rank.is_division(), thing.zone) else {
            return;
        };
        if self.is_road_with_door(hit, style) {
            return;
        }
        let deeper = from.zone.covers(zone) && (zone != from.zone);
        let again = zone.covers(from.zone) && style == Style::Full;
        if !(deeper || again) {
            return;
        }
        let mut end = hit.end;
        let mut weight = self.weight(from.zone, zone, thing.rank, style, end);
        // 湟中县 for 湟中, 海淀区 where the list says 海淀.
        let class = self.text.chars.get(end).copied();
        let bare = style != Style::Full || !has_class(&thing.name, thing.rank);
        let takes_class = bare
            && match thing.rank {
                Rank::Province => matches!(class, Some('省')),
                Rank::City => matches!(class, Some('市' | '州')),
                Rank::District => matches!(class, Some('区' | '县' | '市' | '旗')),
                Rank::Town => matches!(class, Some('镇' | '乡')),
                _ => false,
            };
        if takes_class {
            end += 1;
            weight = weight.max(0.9);
        }
        let n = (end - hit.start) as f32;
        let mut parse = from.clone();
        parse.heads.push((hit.start, end, id));
        parse.score += n * weight;
        if deeper {
            parse.zone = zone;
            parse.division = Some(id);
            parse.sure = match style {
                Style::Full => 1.0,
                Style::Alias => 0.97,
                // 长江路 is a road as well, held or not.
                Style::Short if self.is_road_name(hit) => 0.5,
                Style::Short if weight < 0.6 => 0.7,
                Style::Short => 0.93,
            };
        }
        match done
            .iter()
            .position(|(at, other)| *at == end && other.zone == parse.zone)
        {
            Some(i) if done[i].1.score >= parse.score => {}
            Some(i) => done[i].1 = parse,
            None if done.len() < N_READINGS => done.push((end, parse)),
            None => {}
        }
    }

    fn is_road_name(&self, hit: Hit) -> bool {
        class_suffix(&self.text.chars[hit.start..hit.end]).is_some_and(|class| class.is_road)
    }

    /// A division's short name that is a road's name (长江路 of 长江路社区), with a house number behind it: the road. A village's
    /// group (长江路3社) has no road.
    pub(super) fn is_road_with_door(&self, hit: Hit, style: Style) -> bool {
        if style == Style::Full || !self.is_road_name(hit) {
            return false;
        }
        let mut rest = &self.text.chars[hit.end..];
        if let [c, d, ..] = rest
            && (*c == '第' || stem(*c).is_some())
            && d.is_ascii_digit()
        {
            rest = &rest[1..];
        }
        let n = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        n > 0 && !matches!(rest[n..], ['社' | '组' | '队', ..] | ['村', '民', '小', '组', ..])
    }

    fn weight(&self, from: Zone, zone: Zone, rank: Rank, style: Style, end: usize) -> f32 {
        let after = self.text.chars.get(end).copied();
        let roadish = matches!(
            after,
            Some(
                '路' | '街'
                    | '大'
                    | '巷'
                    | '东'
                    | '西'
                    | '南'
                    | '北'
                    | '中'
                    | '道'
                    | '小'
                    | '花'
                    | '家'
                    | '苑'
                    | '店'
                    | '站'
            )
        );
        let known = from.cut(6) == zone.cut(6) && from.digits() >= 6;
        match (rank, style) {
            (_, Style::Full) => 1.0,
            (Rank::Town | Rank::Community, Style::Alias) => {
                if known {
                    0.9
                } else {
                    0.6
                }
            }
            (_, Style::Alias) => 0.97,
            (Rank::Town | Rank::Community, Style::Short) => match (known, roadish) {
                (true, false) => 0.75,
                (true, true) => 0.4,
                (false, false) => 0.5,
                (false, true) => 0.2,
            },
            (_, Style::Short) => {
                if roadish {
                    0.7
                } else {
                    0.85
                }
            }
        }
    }
}
