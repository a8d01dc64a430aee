//! System codes, commands and return codes, with their names.

use super::flag::Version;

/// How a command goes between centre and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// From the centre: 9011, then data if there are, then 9012.
    Request,
    /// The centre asks for it, or the device sends it by itself: 9014 when an answer is wanted.
    RequestOrUpload,
    /// From the device: 9014 when an answer is wanted.
    Upload,
    /// Answered by 9013, by whoever receives it.
    Notice,
    /// An answer; nobody answers it.
    Answer,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Command {
    /// Its number.
    pub cn: u16,
    /// How it goes.
    pub kind: Kind,
    /// English name.
    pub en: &'static str,
    /// Chinese name.
    pub zh: &'static str,
}

use Kind::{Answer, Notice, Request, RequestOrUpload, Upload};

const fn command(cn: u16, kind: Kind, en: &'static str, zh: &'static str) -> Command {
    Command { cn, kind, en, zh }
}

const COMMANDS: &[Command] = &[
    command(1000, Request, "set timeout and resends", "设置超时时间及重发次数"),
    command(1011, RequestOrUpload, "read the clock", "提取现场机时间"),
    command(1012, Request, "set the clock", "设置现场机时间"),
    command(1013, Notice, "ask for a clock calibration", "现场机时间校准请求"),
    command(
        1061,
        RequestOrUpload,
        "read the real-time interval",
        "提取实时数据间隔",
    ),
    command(1062, Request, "set the real-time interval", "设置实时数据间隔"),
    command(
        1063,
        RequestOrUpload,
        "read the minute interval",
        "提取分钟数据间隔",
    ),
    command(1064, Request, "set the minute interval", "设置分钟数据间隔"),
    command(1072, Request, "set the password", "设置现场机密码"),
    command(2011, RequestOrUpload, "real-time data", "实时数据"),
    command(2012, Notice, "stop real-time data", "停止察看实时数据"),
    command(2021, RequestOrUpload, "device state", "设备运行状态"),
    command(2022, Notice, "stop device state", "停止察看设备运行状态"),
    command(2031, RequestOrUpload, "day data", "日历史数据"),
    command(
        2041,
        RequestOrUpload,
        "running hours of the day",
        "设备运行时间日历史数据",
    ),
    command(2051, RequestOrUpload, "minute data", "分钟数据"),
    command(2061, RequestOrUpload, "hour data", "小时数据"),
    command(2081, Upload, "start of the logger", "数采仪开机时间"),
    command(3011, Request, "zero and span calibration", "零点校准量程校准"),
    command(3012, Request, "sample now", "即时采样"),
    command(3013, Request, "clean or back-flush", "启动清洗/反吹"),
    command(3014, Request, "comparison sample", "比对采样"),
    command(3015, RequestOrUpload, "keep a sample", "超标留样"),
    command(3016, Request, "set the sampling cycle", "设置采样时间周期"),
    command(
        3017,
        RequestOrUpload,
        "read the sampling cycle",
        "提取采样时间周期",
    ),
    command(3018, RequestOrUpload, "time to a result", "提取出样时间"),
    command(3019, RequestOrUpload, "serial number", "提取设备唯一标识"),
    command(3020, RequestOrUpload, "field information", "提取现场机信息"),
    command(3021, Request, "set a field parameter", "设置现场机参数"),
    command(9011, Answer, "answer to a request", "请求应答"),
    command(9012, Answer, "result of a request", "执行结果"),
    command(9013, Answer, "answer to a notice", "通知应答"),
    command(9014, Answer, "answer to data", "数据应答"),
];

/// Numbers that only the edition of 2005 has, or has with another meaning.
const ONLY_2005: &[Command] = &[
    command(1001, Request, "set the warn time", "设置警情时间"),
    command(1021, RequestOrUpload, "read limits", "提取污染物报警门限值"),
    command(1022, Request, "set limits", "设置污染物报警门限值"),
    command(1031, RequestOrUpload, "read the alarm target", "提取上位机地址"),
    command(1032, Request, "set the alarm target", "设置上位机地址"),
    command(1041, RequestOrUpload, "read the report time", "提取数据上报时间"),
    command(1042, Request, "set the report time", "设置数据上报时间"),
    command(2071, RequestOrUpload, "alarm record", "报警记录"),
    command(2072, Notice, "alarm event", "报警事件"),
];

/// Numbers that only the edition of 2025 has; surface-water stations sent 9015 before.
const ONLY_2025: &[Command] = &[
    command(1001, Upload, "hardware number", "上传硬件编号"),
    command(1002, Request, "assign the device number", "设置设备唯一标识"),
    command(1014, Request, "encryption key", "密钥"),
    command(2013, Upload, "raw spectra of VOC", "谱图数据"),
    command(2052, Upload, "single noise measurement", "单次噪声监测数据"),
    command(2062, Upload, "automatic standard check", "自动标样核查数据"),
    command(
        2111,
        Upload,
        "furnace temperature, 5 min mean",
        "炉膛温度 5 分钟均值",
    ),
    command(9015, Notice, "heartbeat", "心跳"),
];

/// The command of a number as the sender's edition has it; numbers of other editions are known too.
/// `None` for a number that no edition has.
pub fn command_of(cn: &str, version: Version) -> Option<&'static Command> {
    let is_number = cn.len() == 4 && cn.bytes().all(|b| b.is_ascii_digit());
    let cn: u16 = if is_number { cn.parse().ok()? } else { return None };
    let (first, second) = match version {
        Version::V2005 => (ONLY_2005, ONLY_2025),
        _ => (ONLY_2025, ONLY_2005),
    };
    [COMMANDS, first, second]
        .into_iter()
        .flatten()
        .find(|command| command.cn == cn)
}

/// English and Chinese name of a system code.
pub fn system_of(st: &str) -> Option<(&'static str, &'static str)> {
    Some(match st {
        "21" => ("surface water", "地表水质量监测"),
        "22" => ("air", "空气质量监测"),
        "23" => ("noise", "声环境质量监测"),
        "24" => ("groundwater", "地下水质量监测"),
        "25" => ("soil", "土壤质量监测"),
        "26" => ("sea water", "海水质量监测"),
        "27" => ("VOC", "挥发性有机物监测"),
        "31" => ("air source", "大气环境污染源"),
        "32" => ("surface water source", "地表水体环境污染源"),
        "33" => ("groundwater source", "地下水体环境污染源"),
        "34" => ("sea source", "海洋环境污染源"),
        "35" => ("soil source", "土壤环境污染源"),
        "36" => ("noise source", "声环境污染源"),
        "37" => ("vibration source", "振动环境污染源"),
        "38" => ("radioactive source", "放射性环境污染源"),
        "39" => ("building-site dust", "工地扬尘污染源"),
        "41" => ("electromagnetic source", "电磁环境污染源"),
        "44" => ("electricity use at sources", "污染源用电监控"),
        "45" => ("key production conditions", "关键工况监控"),
        "51" => ("flue gas treatment", "烟气排放过程监控"),
        "52" => ("sewage treatment", "污水排放过程监控"),
        "80" => ("electricity (vendors)", "用电监控（厂家）"),
        "91" => ("interaction", "系统交互"),
        _ => return None,
    })
}

macro_rules! returns {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $code:literal, $label:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$item])* $variant,)* }

        impl $name {
            /// Every code, in the standard's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            /// The number on the wire.
            pub fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }
            /// English name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
            /// The code that a text is.
            pub fn parse(text: &str) -> Option<Self> {
                let code: u8 = text.trim().parse().ok()?;
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }
    };
}

returns! {
    /// QnRtn: whether a request will be executed.
    QnRtn {
        /// It will.
        Accepted = 1, "will execute";
        /// It will not.
        Refused = 2, "refused";
        /// Password wrong.
        WrongPw = 3, "PW wrong";
        /// Device number wrong.
        WrongMn = 4, "MN wrong";
        /// System code wrong.
        WrongSt = 5, "ST wrong";
        /// Flag wrong.
        WrongFlag = 6, "Flag wrong";
        /// Request number wrong.
        WrongQn = 7, "QN wrong";
        /// Command wrong.
        WrongCn = 8, "CN wrong";
        /// CRC wrong.
        WrongCrc = 9, "CRC wrong";
        /// Unknown.
        Unknown = 100, "unknown fault";
    }
}

returns! {
    /// ExeRtn: what became of a request.
    ExeRtn {
        /// Done.
        Done = 1, "done";
        /// Failed, the cause is not known.
        Failed = 2, "failed, cause unknown";
        /// A condition is wrong.
        WrongCondition = 3, "condition wrong";
        /// Timeout.
        Timeout = 4, "timeout";
        /// Busy.
        Busy = 5, "busy";
        /// System fault.
        SystemFault = 6, "system fault";
        /// There are no data.
        NoData = 100, "no data";
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_number_means_what_the_edition_of_its_sender_says() {
        let name = |cn, version| command_of(cn, version).map(|c| c.en);
        assert_eq!(name("1001", Version::V2005), Some("set the warn time"));
        assert_eq!(name("1001", Version::V2025), Some("hardware number"));
        assert_eq!(name("2072", Version::V2017), Some("alarm event"));
        assert_eq!(name("9015", Version::V2017), Some("heartbeat"));
        for unknown in ["9999", "", "201", "+201", "02011", "２０１１"] {
            assert_eq!(name(unknown, Version::V2017), None, "{unknown}");
        }
        let mut numbers: Vec<u16> = COMMANDS.iter().map(|c| c.cn).collect();
        numbers.dedup();
        assert!(numbers.is_sorted() && numbers.len() == COMMANDS.len());
    }

    #[test]
    fn return_codes_read_back() {
        for code in QnRtn::ALL {
            assert_eq!(QnRtn::parse(&code.code().to_string()), Some(*code));
        }
        for code in ExeRtn::ALL {
            assert_eq!(ExeRtn::parse(&format!("{} ", code.code())), Some(*code));
        }
        assert_eq!((QnRtn::parse("10"), ExeRtn::parse("x")), (None, None));
    }
}
