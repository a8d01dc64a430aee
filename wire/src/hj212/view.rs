//! A segment spelt out, as `onemap decode` prints it.

use serde::Serialize;

use super::codes::{Kind, command_of, system_of};
use super::factor::factor_of;
use super::fields::{Known, known_field};
use super::flag::{Flag, Version};
use super::readings::mark_of;
use super::segment::{Group, Item, Quirk, Segment};

/// Every field with its meaning. What is not known is there as it was sent, without one.
#[derive(Clone, Debug, Serialize)]
pub struct View<'a> {
    /// Edition of the sender.
    pub version: Version,
    /// Request number.
    pub qn: &'a str,
    /// System code.
    pub st: &'a str,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<&'static str>,
    /// Command.
    pub cn: &'a str,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<&'static str>,
    /// How it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Password.
    pub pw: &'a str,
    /// Device number.
    pub mn: &'a str,
    /// Flag and its parts.
    pub flag: Option<Flag>,
    /// Number of this packet and of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet: Option<(u32, u32)>,
    /// A packet that is sent again.
    pub resent: bool,
    /// All items in front of CP, as they were sent.
    pub header: Group,
    /// Items of the header that the standard does not have.
    #[serde(skip_serializing_if = "Group::is_empty")]
    pub unknown: Group,
    /// Items of CP.
    pub cp: &'a [Group],
    /// Keys of CP whose name is in no source that is known here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unverified: Vec<&'a str>,
    /// Values of factors, where a factor can be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<FactorValue<'a>>,
    /// Where the segment departs from the standard.
    #[serde(skip_serializing_if = "<[Quirk]>::is_empty")]
    pub quirks: &'a [Quirk],
}

/// One value of a factor.
#[derive(Clone, Debug, Serialize)]
pub struct FactorValue<'a> {
    /// Its code.
    pub factor: &'a str,
    /// Chinese name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
    /// What of it.
    pub suffix: &'a str,
    /// As it was sent.
    pub value: &'a str,
    /// The unit in which it is read when the device's profile says none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_unit: Option<String>,
    /// The quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<&'static str>,
    /// Data mark of the factor, and its meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<(&'a str, &'static str)>,
}

/// Spells a segment out.
pub fn view(segment: &Segment) -> View<'_> {
    let version = segment.version();
    let command = command_of(segment.cn(), version);
    let is_unknown = |item: &&Item| !super::HEADER.contains(&item.key.as_str());
    let items = segment.cp.iter().flat_map(|group| &group.0);
    View {
        version,
        qn: segment.qn(),
        st: segment.st(),
        system: system_of(segment.st()).map(|(en, _)| en),
        cn: segment.cn(),
        command: command.map(|command| command.en.as_str()),
        kind: command.map(|command| command.kind),
        pw: segment.pw(),
        mn: segment.mn(),
        flag: segment.flag(),
        packet: segment.packet(),
        resent: segment.is_resent(),
        header: Group(segment.header.clone()),
        unknown: Group(segment.header.iter().filter(is_unknown).cloned().collect()),
        cp: &segment.cp,
        unverified: items
            .clone()
            .map(|item| item.key.as_str())
            .filter(|key| known_field(segment.cn(), version, key) == Some(Known::Unverified))
            .collect(),
        values: items.filter_map(|item| value(segment, version, item)).collect(),
        quirks: &segment.quirks,
    }
}

fn value<'a>(segment: &'a Segment, version: Version, item: &'a Item) -> Option<FactorValue<'a>> {
    let (code, suffix) = item.key.rsplit_once('-')?;
    if matches!(suffix, "Flag" | "EFlag" | "SampleTime" | "Info" | "SN") {
        return None;
    }
    let factor = factor_of(code);
    let measure = factor.and_then(|factor| match suffix {
        "Cou" => factor.amount.clone(),
        _ => Some(factor.measure(segment.st())),
    });
    let mark = segment.cp_value(&format!("{code}-Flag"));
    Some(FactorValue {
        factor: code,
        name: factor.map(|factor| factor.zh.as_str()),
        suffix,
        value: item.value.as_deref().unwrap_or_default(),
        usual_unit: measure.as_ref().map(|measure| measure.unit.clone()),
        quantity: measure.map(|measure| measure.quantity.name()),
        mark: mark.map(|mark| (mark, mark_of(mark, version).0)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_and_unknown_are_both_there() {
        let segment = Segment::parse(
            b"QN=20160801085857223;ST=22;CN=2011;PW=1;MN=A;Flag=5;CP=&&DataTime=20160801085857;a34004-Rtd=35.1,a34004-Flag=D;a214-Rtd=1&&",
        )
        .unwrap();
        let json = serde_json::to_string(&view(&segment)).unwrap();
        assert_eq!(
            json,
            r#"{"version":"HJ 212-2017","qn":"20160801085857223","st":"22","system":"air","cn":"2011","command":"real-time data","kind":"request_or_upload","pw":"1","mn":"A","flag":{"value":5,"version_bits":1,"version":"HJ 212-2017","packet_numbers":false,"answer_wanted":true},"resent":false,"header":{"QN":"20160801085857223","ST":"22","CN":"2011","PW":"1","MN":"A","Flag":"5"},"cp":[{"DataTime":"20160801085857"},{"a34004-Rtd":"35.1","a34004-Flag":"D"},{"a214-Rtd":"1"}],"values":[{"factor":"a34004","name":"细微颗粒物PM2.5","suffix":"Rtd","value":"35.1","usual_unit":"ug/m3","quantity":"pm2_5","mark":["D","fault"]},{"factor":"a214","suffix":"Rtd","value":"1"}]}"#
        );
    }
}
