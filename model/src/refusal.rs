//! Every way an input can be refused, by name.

use serde::{Deserialize, Serialize};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $zh:literal;)*) => {
        /// Why bytes, a message or a reading was not taken. The label names the counter
        /// `onemap_refused_total{reason=…}` and stands in the quarantine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "&'static str", try_from = "String")]
        #[non_exhaustive]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            /// Every refusal, in the order of this list.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)*];
            /// The stable label.
            pub const fn label(self) -> &'static str {
                match self { $(Refusal::$name => $label,)* }
            }
            /// The Chinese name for the screen.
            pub const fn label_zh(self) -> &'static str {
                match self { $(Refusal::$name => $zh,)* }
            }
        }
    };
}

refusals! {
    /// CONNECT without a user name, or with a token nobody holds.
    WrongToken = "wrong_token", "令牌无效";
    /// A publish outside the device's own topics; the connection is closed.
    ForeignTopic = "foreign_topic", "越权主题";
    /// A packet over the size limit; the connection is closed, its first 4 KiB are kept.
    OverSize = "over_size", "报文过大";
    /// Bytes that are not MQTT 3.1.1; the connection is closed, its first 4 KiB are kept.
    MalformedPacket = "malformed_packet", "报文损坏";
    /// A second device connected with the same client id, or too many connections.
    TooManyConnections = "too_many_connections", "连接数超限";
    /// An own topic nobody decodes.
    UnknownTopic = "unknown_topic", "未知主题";
    /// A frame of a device that is not in the register.
    UnknownDevice = "unknown_device", "未登记设备";
    /// A device whose profile is not loaded.
    UnknownProfile = "unknown_profile", "设备模型缺失";
    /// Payload is not JSON.
    BrokenJson = "broken_json", "JSON 损坏";
    /// JSON of another shape than the topic's.
    WrongShape = "wrong_shape", "结构不符";
    /// A key that neither the dictionary nor the device's profile knows.
    UnknownQuantity = "unknown_quantity", "未知指标";
    /// NaN, infinity or a text where a number belongs.
    NotANumber = "not_a_number", "非数值";
    /// A sentinel such as -999, caught before unit conversion.
    Sentinel = "sentinel", "缺测占位值";
    /// Stamped further ahead of the receive time than the tolerance.
    FutureStamp = "future_stamp", "时间超前";
    /// Stamped before the year 2000.
    AncientStamp = "ancient_stamp", "时间过旧";
    /// A device that was retired still sends.
    Retired = "retired", "设备已退役";
    /// Older than the age limit of the backfill lane.
    TooOld = "too_old", "超出补传时限";
    /// Payload is not CBOR.
    BrokenCbor = "broken_cbor", "CBOR 损坏";
    /// A line that is not line protocol.
    BrokenLine = "broken_line", "行协议损坏";
    /// A gateway speaks for a device that it may not speak for.
    UnknownChild = "unknown_child", "未登记子设备";
    /// A device that is no gateway uses the gateway's topics.
    NotAGateway = "not_a_gateway", "非网关设备";
    /// A request for self-provisioning with a wrong key, secret or name.
    BadProvisioning = "bad_provisioning", "自注册被拒";
    /// A push from a source that is not configured or whose secret is wrong.
    UnknownSource = "unknown_source", "未知推送来源";
    /// A source that sends faster than it may.
    RateLimited = "rate_limited", "超出速率限制";
    /// A TLS handshake that failed or did not end in time.
    TlsHandshake = "tls_handshake", "TLS 握手失败";
    /// A client certificate that nobody holds, or that is on the deny list.
    DeniedCertificate = "denied_certificate", "证书被拒";
    /// A message to a session that is away and whose queue is full.
    QueueFull = "queue_full", "会话队列已满";
    /// A command that came to its end without an answer, or an answer without a command.
    StrayAnswer = "stray_answer", "无主应答";
    /// A device has more attributes, or larger ones, than are kept.
    AttributeLimit = "attribute_limit", "属性超限";
    /// A retained message beyond the room for retained messages; it is delivered and not kept on its topic.
    RetainedFull = "retained_full", "保留消息已满";
    /// A unit in which the quantity is not given.
    UnknownUnit = "unknown_unit", "未知单位";
    /// A device whose tokens were revoked asks to be let in by other means.
    Revoked = "revoked", "凭证已吊销";
    /// A gateway that adopts speaks for one more child than it may have.
    TooManyChildren = "too_many_children", "子设备数超限";
    /// A device speaks of more quantities and channels than one device may.
    TooManySeries = "too_many_series", "测点超限";
    /// A station's frame with another password than the register's, or of a station that has none there.
    WrongPassword = "wrong_password", "访问密码错误";
    /// A station's frame whose check value is of other bytes.
    CrcMismatch = "crc_mismatch", "校验码错误";
    /// An HJ 212 frame with the check value of Modbus.
    CrcModbus = "crc_modbus", "误用 MODBUS 校验";
    /// Bytes on a station's line that are no frame: cut off, of another length, or outside every frame.
    BrokenFrame = "broken_frame", "帧结构错误";
    /// An encrypted frame of a station for which there is no key.
    NoKey = "no_key", "缺少密钥";
    /// Packets of one data set of which some never came.
    IncompletePackets = "incomplete_packets", "分包不全";
    /// An encrypted frame that no key of its station opens: it has another, or the frame is damaged.
    WrongKey = "wrong_key", "密钥不符";
    /// A warning of others that is no CAP message; the detail says what and where.
    BadWarning = "bad_warning", "预警报文无效";
    /// A station's frame whose password is not looked at: too many were wrong, of its address or of its station.
    TooManyGuesses = "too_many_guesses", "口令试错超限";
}

impl From<Refusal> for &'static str {
    fn from(refusal: Refusal) -> &'static str {
        refusal.label()
    }
}

impl TryFrom<String> for Refusal {
    type Error = String;
    fn try_from(label: String) -> Result<Self, String> {
        Refusal::ALL
            .iter()
            .copied()
            .find(|r| r.label() == label)
            .ok_or_else(|| format!("no refusal is called `{label}`"))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique_and_read_back() {
        for (i, r) in Refusal::ALL.iter().enumerate() {
            assert_eq!(Refusal::try_from(r.label().to_owned()), Ok(*r));
            assert!(Refusal::ALL[..i].iter().all(|other| other.label() != r.label()));
        }
        assert!(Refusal::try_from("nonsense".to_owned()).is_err());
    }
}
