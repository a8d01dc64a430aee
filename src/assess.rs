//! `onemap check --security`: what an assessor of 等级保护 asks of the server, with how it stands.
//!
//! Looks at the configuration and the data folder, beside a running server or without one. What cannot be seen from here
//! (the host, the rooms, the people) is named with what to show for it. Clauses are those of GB/T 22239-2019, third level,
//! 安全通用要求 and 物联网安全扩展要求; their numbers were not held against the printed standard.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::Trust;
use onemap_model::{Act, Role, Timestamp, Verb};
use onemap_store::ledger::{AccessToken, AuditKind, Held, LedgerReader};
use onemap_store::notary::Algorithm;
use serde_json::{Value, json};

use crate::config::{Config, OidcPart};
use crate::{audit, files};

/// A head of the audit is older than it should be.
const HEAD_AGE: Duration = Duration::from_secs(48 * 3600);
/// A backup is older than it should be.
const BACKUP_AGE: Duration = Duration::from_secs(8 * 24 * 3600);
/// The least that records of what was done are kept (网络安全法 第二十一条: six months).
const LEAST_KEPT_DAYS: u64 = 180;

/// How an item stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it is asked.
    Held,
    /// Not so: something is to be done.
    Open,
    /// Not to be seen from here: somebody has to look.
    Ask,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Open => "open",
            Self::Ask => "ask",
        }
    }

    fn zh(self) -> &'static str {
        match self {
            Self::Held => "符合",
            Self::Open => "待整改",
            Self::Ask => "人工核查",
        }
    }
}

/// One item.
struct Item {
    id: &'static str,
    /// Of GB/T 22239-2019.
    clause: &'static str,
    zh: &'static str,
    en: &'static str,
    state: State,
    /// How it stands, Chinese and English.
    said: (String, String),
}

/// What the data folder tells of people and machines.
struct Known {
    accounts: Vec<Held>,
    /// Role and name of each token that lives, without the local owner's.
    tokens: Vec<(Role, String)>,
    /// Names of those that do not end by themselves.
    endless: Vec<String>,
    /// Persons that are known, and how many of them stand in clear.
    persons: (u64, u64),
    chain: Result<u64, String>,
    newest_head: Option<Timestamp>,
    last_backup: Option<Timestamp>,
}

/// Ends with 1 when an item is open.
pub(crate) fn check(config: &Config, json: bool) -> Result<ExitCode> {
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let path = config.data_dir.join("ledger.sqlite");
    let known = match path.exists() {
        true => Some(known(config, now).context("the data folder cannot be looked at")?),
        false => None,
    };
    let items = items(config, known.as_ref(), now);
    let n_open = items.iter().filter(|item| item.state == State::Open).count();
    if json {
        let shown: Vec<Value> = items.iter().map(Item::json).collect();
        crate::say!(
            "{}",
            json!({"ok": n_open == 0, "standard": "GB/T 22239-2019", "level": 3, "clauses_verified": false, "items": shown})
        );
    } else {
        for item in &items {
            crate::say!("{}", item.text());
        }
        let n = |state| items.iter().filter(|item| item.state == state).count();
        crate::say!(
            "{} 符合 held, {n_open} 待整改 open, {} 人工核查 to be looked at",
            n(State::Held),
            n(State::Ask)
        );
    }
    Ok(match n_open {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Item {
    fn json(&self) -> Value {
        json!({
            "id": self.id, "clause": self.clause, "name": {"zh": self.zh, "en": self.en}, "state": self.state.name(),
            "detail": {"zh": self.said.0, "en": self.said.1},
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "[{} {}] {} {} {}",
            self.state.zh(),
            self.state.name(),
            self.clause,
            self.zh,
            self.en
        );
        write!(text, "\n    {}\n    {}", self.said.0, self.said.1).expect("a String takes everything");
        text
    }
}

fn known(config: &Config, now: Timestamp) -> Result<Known> {
    let ledger = LedgerReader::open(&config.data_dir.join("ledger.sqlite"))?;
    let tokens = ledger.access_tokens()?;
    let is_live = |token: &AccessToken| token.revoked.is_none() && token.expires.is_none_or(|end| end > now);
    let others: Vec<AccessToken> = tokens
        .into_iter()
        .filter(|token| is_live(token) && token.name != "local owner")
        .collect();
    let endless = others.iter().filter(|token| token.expires.is_none());
    let backup = ledger.find_in_audit(AuditKind::Act, |row| {
        match serde_json::from_str::<Act>(&row.body) {
            Ok(act) if matches!(act.verb, Verb::Backup { .. }) => ControlFlow::Break(act.at),
            _ => ControlFlow::Continue(()),
        }
    });
    Ok(Known {
        accounts: ledger.accounts()?,
        endless: endless.map(|token| token.name.clone()).collect(),
        persons: ledger.person_counts(1)?,
        tokens: others.into_iter().map(|token| (token.role, token.name)).collect(),
        chain: audit::is_whole(&ledger),
        newest_head: audit::newest_head(&config.data_dir),
        last_backup: backup.ok().flatten(),
    })
}

fn items(config: &Config, known: Option<&Known>, now: Timestamp) -> Vec<Item> {
    let mut items = vec![http(config), mqtt(config), stations(config), anonymous(config)];
    match known {
        None => items.push(Item {
            id: "folder",
            clause: "-",
            zh: "数据目录",
            en: "data folder",
            state: State::Ask,
            said: (
                "尚未启动过，没有账户与审计可查".to_owned(),
                "no server has run here yet: there are no accounts and no audit to look at".to_owned(),
            ),
        }),
        Some(known) => {
            items.extend([
                people(&known.accounts),
                second(&known.accounts, config.trust),
                apart(&known.accounts),
                machines(&known.tokens),
                ends(known),
                chain(known),
                head(known, now),
                backup(known, now),
            ]);
        }
    }
    items.extend(config.oidc.as_ref().map(|oidc| provider(oidc, known)));
    items.extend([
        guesses(),
        signature(config),
        events(config),
        files_of(config),
        kept(config),
        persons(config, known),
    ]);
    items.extend(by_people());
    items
}

fn is_far(listen: SocketAddr) -> bool {
    !listen.ip().is_loopback()
}

fn http(config: &Config) -> Item {
    let in_the_clear = is_far(config.http_listen);
    let tls = config.http_tls.as_ref().map(|(listen, _)| *listen);
    let (state, said) = match (in_the_clear, tls) {
        (true, _) => (
            State::Open,
            (
                format!("接口与大屏在 {} 上不加密，本机以外可达", config.http_listen),
                format!(
                    "API and screen are served in the clear on {}, beyond this machine: use [http.tls] and keep [http] listen on loopback",
                    config.http_listen
                ),
            ),
        ),
        (false, Some(listen)) => (
            State::Held,
            (
                format!("本机以外只经 TLS（{listen}）"),
                format!("beyond this machine over TLS only ({listen})"),
            ),
        ),
        (false, None) => (
            State::Held,
            (
                format!("只在本机监听（{}）", config.http_listen),
                format!("on this machine only ({})", config.http_listen),
            ),
        ),
    };
    Item {
        id: "http",
        clause: "8.1.2.2",
        zh: "通信传输：接口与大屏",
        en: "transport of API and screen",
        state,
        said,
    }
}

fn mqtt(config: &Config) -> Item {
    let tls = config.mqtt.tls.is_some();
    let websocket = config.mqtt.websocket.as_ref();
    let open_socket = websocket.filter(|socket| is_far(socket.listen) && !socket.tls);
    let (state, said) = match (is_far(config.mqtt.listen), open_socket) {
        (false, None) => (
            State::Held,
            (
                format!("明文端口只在本机（{}）{}", config.mqtt.listen, if tls { "，外部经 TLS" } else { "" }),
                format!(
                    "in the clear on this machine only ({}){}",
                    config.mqtt.listen,
                    if tls { ", beyond it over TLS" } else { "" }
                ),
            ),
        ),
        _ => (
            State::Open,
            (
                "设备的 MQTT 明文端口本机以外可达，令牌会明文传输".to_owned(),
                "MQTT is served in the clear beyond this machine, tokens of devices with it: use [mqtt.tls], and keep [mqtt] listen on loopback or a private network".to_owned(),
            ),
        ),
    };
    Item {
        id: "mqtt",
        clause: "8.1.2.2",
        zh: "通信传输：物联网设备",
        en: "transport of devices",
        state,
        said,
    }
}

fn stations(config: &Config) -> Item {
    let of = |name: &'static str, listen: SocketAddr| is_far(listen).then(|| format!("{name} {listen}"));
    let far: Vec<String> = [
        config
            .hj212
            .as_ref()
            .and_then(|part| of("HJ 212", part.server.listen)),
        config
            .sl651
            .as_ref()
            .and_then(|part| of("SL 651", part.server.listen)),
        config
            .gbt26875
            .as_ref()
            .and_then(|part| of("GB/T 26875.3", part.server.listen)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (state, said) = match far.is_empty() {
        true => (
            State::Held,
            (
                "没有本机以外可达的站点协议端口".to_owned(),
                "no port of a field protocol beyond this machine".to_owned(),
            ),
        ),
        false => (
            State::Ask,
            (
                format!(
                    "标准规定为明文的协议：{}；须经专网或 VPN 接入并限制来源",
                    far.join("、")
                ),
                format!(
                    "the standards have these in the clear: {}; show the private network or VPN that they come by",
                    far.join(", ")
                ),
            ),
        ),
    };
    Item {
        id: "stations",
        clause: "8.4.2.1",
        zh: "感知节点接入：站点协议",
        en: "access of field stations",
        state,
        said,
    }
}

fn anonymous(config: &Config) -> Item {
    let (state, said) = match config.mqtt.allow_anonymous {
        false => (
            State::Held,
            (
                "每台设备凭自己的令牌或证书接入".to_owned(),
                "each device shows a token or certificate of its own".to_owned(),
            ),
        ),
        true => (
            State::Open,
            (
                "[mqtt] allow_anonymous：不出示身份也可接入".to_owned(),
                "[mqtt] allow_anonymous lets in who shows nothing".to_owned(),
            ),
        ),
    };
    Item {
        id: "devices",
        clause: "8.4.2.1",
        zh: "感知节点接入：身份",
        en: "who devices are",
        state,
        said,
    }
}

fn enabled(accounts: &[Held]) -> impl Iterator<Item = &Held> {
    accounts.iter().filter(|held| !held.account.disabled)
}

fn people(accounts: &[Held]) -> Item {
    let n = enabled(accounts).count();
    let waiting: Vec<&str> = enabled(accounts)
        .filter(|held| held.hash.is_none())
        .map(|held| held.account.id.as_str())
        .collect();
    let (state, said) = match (n, waiting.is_empty()) {
        (0, _) => (
            State::Open,
            (
                "还没有个人账户；首次启动的链接在 setup.link".to_owned(),
                "nobody has an account; the first link is in setup.link".to_owned(),
            ),
        ),
        (_, true) => (
            State::Held,
            (
                format!("{n} 个账户，口令均由本人设置（argon2id），无默认口令"),
                format!(
                    "{n} accounts, each password set by its holder (argon2id); there is no default password"
                ),
            ),
        ),
        (_, false) => (
            State::Ask,
            (
                format!("尚未设置口令的账户：{}", waiting.join("、")),
                format!(
                    "accounts whose holder has not set a password yet: {}",
                    waiting.join(", ")
                ),
            ),
        ),
    };
    Item {
        id: "accounts",
        clause: "8.1.4.1 a",
        zh: "身份鉴别：账户",
        en: "people have accounts of their own",
        state,
        said,
    }
}

fn second(accounts: &[Held], trust: Trust) -> Item {
    let needed: Vec<&Held> = enabled(accounts)
        .filter(|held| held.hash.is_some() && trust.needs_second(held.account.role))
        .collect();
    let without: Vec<&str> = needed
        .iter()
        .filter(|held| held.second.is_none())
        .map(|held| held.account.id.as_str())
        .collect();
    let (of_zh, of) = match trust.second_for_all {
        true => ("全部账户均须设置", "every account does"),
        false => (
            "可指挥、可管理的账户须设置（[accounts] second_for_all 可要求全部）",
            "those that command or administer do ([accounts] second_for_all asks for all)",
        ),
    };
    let (state, said) = match without.is_empty() {
        true => (
            State::Held,
            (
                format!(
                    "须有动态口令的 {} 个账户均已设置（RFC 6238）；{of_zh}",
                    needed.len()
                ),
                format!(
                    "all {} accounts that need a second factor (RFC 6238) have one; {of}",
                    needed.len()
                ),
            ),
        ),
        false => (
            State::Open,
            (
                format!("没有动态口令：{}", without.join("、")),
                format!("without a second factor: {}", without.join(", ")),
            ),
        ),
    };
    Item {
        id: "second_factor",
        clause: "8.1.4.1 d",
        zh: "身份鉴别：双因素",
        en: "two factors",
        state,
        said,
    }
}

fn apart(accounts: &[Held]) -> Item {
    // Who comes in and sees the whole city: one of a division, or without a password, administers nothing of the rest.
    let opens = |held: &&Held| {
        let account = &held.account;
        (held.hash.is_some() || held.subject.is_some())
            && account.division.is_none()
            && account.departments.is_empty()
    };
    let n = |role: Role| {
        let of_role = enabled(accounts).filter(|held| held.account.role == role);
        of_role.filter(opens).count()
    };
    let three = [Role::SystemAdmin, Role::SecurityAdmin, Role::AuditAdmin];
    let missing: Vec<&str> = three
        .iter()
        .filter(|role| n(**role) == 0)
        .map(|role| role.name())
        .collect();
    let owners = n(Role::Admin);
    let (state, said) = match (missing.is_empty(), owners) {
        (true, 0) => (
            State::Held,
            (
                "系统、安全、审计管理员分立，没有全权账户".to_owned(),
                "system, security and audit administrators are three, and no account holds everything"
                    .to_owned(),
            ),
        ),
        (false, _) => (
            State::Open,
            (
                format!("缺少：{}", missing.join("、")),
                format!(
                    "nobody who can come in is {} of the whole city",
                    missing.join(", ")
                ),
            ),
        ),
        (true, _) => (
            State::Open,
            (
                format!("{owners} 个账户为 admin，持有全部权限"),
                format!("{owners} accounts are admin and hold everything"),
            ),
        ),
    };
    Item {
        id: "three_administrators",
        clause: "8.1.5",
        zh: "安全管理中心：三员分立",
        en: "three separate administrators",
        state,
        said,
    }
}

/// Who comes in by a provider's word has that provider's password, lock-out and, where it is trusted so, second factor.
fn provider(oidc: &OidcPart, known: Option<&Known>) -> Item {
    let accounts = known.map_or(&[][..], |known| &known.accounts);
    let n = enabled(accounts).filter(|held| held.subject.is_some()).count();
    let issuer = oidc.issuer();
    let (second_zh, second) = match oidc.trusts_second() {
        true => ("其双因素认证被采信", "its second factor counts here"),
        false => (
            "其双因素认证不被采信，由本系统核验",
            "its second factor does not count, this server asks for its own",
        ),
    };
    Item {
        id: "single_sign_on",
        clause: "8.1.4.1 a",
        zh: "统一身份认证",
        en: "single sign-on",
        state: State::Ask,
        said: (
            format!("{n} 个账户经 {issuer} 登录，{second_zh}；须提供其口令与锁定策略"),
            format!("{n} accounts come in by {issuer}, {second}; show its rules for passwords and lock-outs"),
        ),
    }
}

fn machines(tokens: &[(Role, String)]) -> Item {
    let of_admin: Vec<&str> = tokens
        .iter()
        .filter(|(role, _)| *role == Role::Admin || role.needs_second())
        .map(|(_, name)| name.as_str())
        .collect();
    let (state, said) = match of_admin.is_empty() {
        true => (
            State::Held,
            (
                format!(
                    "{} 个接口令牌，均按角色与区划限定；本机所有者令牌在 admin.token",
                    tokens.len()
                ),
                format!(
                    "{} tokens of other programs, each by role and division; the owner's is in admin.token",
                    tokens.len()
                ),
            ),
        ),
        false => (
            State::Open,
            (
                format!("可指挥、可管理而无动态口令的令牌：{}", of_admin.join("、")),
                format!(
                    "tokens that command or administer, without a second factor: {}",
                    of_admin.join(", ")
                ),
            ),
        ),
    };
    Item {
        id: "tokens",
        clause: "8.1.4.2 d",
        zh: "访问控制：最小权限",
        en: "least privilege of programs",
        state,
        said,
    }
}

fn ends(known: &Known) -> Item {
    let (state, said) = match known.endless.is_empty() {
        true => (
            State::Held,
            (
                "接口令牌均有到期时间".to_owned(),
                "every token of another program ends by itself".to_owned(),
            ),
        ),
        false => (
            State::Ask,
            (
                format!("没有到期时间的令牌：{}", known.endless.join("、")),
                format!("tokens without an end: {}", known.endless.join(", ")),
            ),
        ),
    };
    Item {
        id: "token_ends",
        clause: "8.1.4.1 b",
        zh: "身份鉴别：令牌到期",
        en: "tokens end",
        state,
        said,
    }
}

fn chain(known: &Known) -> Item {
    let (state, said) = match &known.chain {
        Ok(rows) => (
            State::Held,
            (
                format!("{rows} 行，逐行成链，未被改动"),
                format!("{rows} rows follow from one another"),
            ),
        ),
        Err(why) => (
            State::Open,
            (
                format!("审计链不完整：{why}"),
                format!("the chain is broken: {why}"),
            ),
        ),
    };
    Item {
        id: "audit",
        clause: "8.1.4.3 c",
        zh: "安全审计：记录保护",
        en: "the audit is what it was",
        state,
        said,
    }
}

fn head(known: &Known, now: Timestamp) -> Item {
    let fresh = known.newest_head.filter(|at| now.since(*at) < HEAD_AGE);
    let (state, said) = match (fresh, known.newest_head) {
        (Some(at), _) => (
            State::Ask,
            (
                format!("最近签名的链头 {at}；请出示另行保管的副本（audit/*.json 与公钥）"),
                format!(
                    "the newest signed head is of {at}; show the copies that are kept elsewhere (audit/*.json and the public key)"
                ),
            ),
        ),
        (None, Some(at)) => (
            State::Open,
            (
                format!("最近签名的链头为 {at}，已超过两天"),
                format!("the newest signed head is of {at}, more than two days ago"),
            ),
        ),
        (None, None) => (
            State::Open,
            ("没有签名的链头".to_owned(), "no head was signed".to_owned()),
        ),
    };
    Item {
        id: "audit_heads",
        clause: "8.1.4.3 c",
        zh: "安全审计：异地保管",
        en: "heads of the audit kept elsewhere",
        state,
        said,
    }
}

fn backup(known: &Known, now: Timestamp) -> Item {
    let (state, said) = match known.last_backup {
        Some(at) if now.since(at) < BACKUP_AGE => (
            State::Held,
            (
                format!("最近一次备份 {at}"),
                format!("the last backup was begun at {at}"),
            ),
        ),
        Some(at) => (
            State::Open,
            (
                format!("最近一次备份 {at}，已超过八天"),
                format!("the last backup was begun at {at}, more than eight days ago"),
            ),
        ),
        None => (
            State::Open,
            (
                "没有备份记录（onemap backup 目录）".to_owned(),
                "no backup was made while a server ran (onemap backup DIR)".to_owned(),
            ),
        ),
    };
    Item {
        id: "backup",
        clause: "8.1.4.9 a",
        zh: "数据备份恢复",
        en: "backups",
        state,
        said,
    }
}

fn guesses() -> Item {
    Item {
        id: "guesses",
        clause: "8.1.4.1 b",
        zh: "身份鉴别：失败处理",
        en: "guesses are bounded",
        state: State::Held,
        said: (
            "按账户与来源限制口令尝试，会话闲置 30 分钟后结束".to_owned(),
            "by name and network; sessions end after 30 idle minutes".to_owned(),
        ),
    }
}

fn signature(config: &Config) -> Item {
    let (state, said) = match config.audit_signature {
        Algorithm::Sm2 => (
            State::Held,
            (
                "审计链头与证据包以 SM2/SM3 签名（GB/T 32918.2-2016），密钥 audit-sm2.key；非认证密码模块".to_owned(),
                "heads of the audit and evidence are signed with SM2 and SM3 (GB/T 32918.2-2016) by audit-sm2.key; not by a certified module".to_owned(),
            ),
        ),
        Algorithm::Ed25519 => {
            let built = match Algorithm::Sm2.is_built_in() {
                true => "",
                false => "cargo build --features sm2, ",
            };
            let to_do = format!("{built}[audit] signature = \"sm2\"");
            (
                State::Open,
                (
                    format!("审计链头以 ed25519 签名；要求商用密码的，请改用 SM2：{to_do}"),
                    format!(
                        "heads of the audit are signed with ed25519; where commercial cryptography is asked for: {to_do}"
                    ),
                ),
            )
        }
    };
    Item {
        id: "audit_signature",
        clause: "8.1.4.7 b",
        zh: "数据完整性：审计的签名算法",
        en: "how the audit is signed",
        state,
        said,
    }
}

fn events(config: &Config) -> Item {
    let (state, said) = match &config.syslog {
        Some(syslog) => (
            State::Held,
            (
                format!(
                    "登录、越权、令牌与接入事件经 syslog（RFC 5424）送 {}，明文，须走专网；请在收集端核对留存 180 天",
                    syslog.address
                ),
                format!(
                    "log-ins, denials, changes of trust and devices turned away go by syslog (RFC 5424) to {}, in the clear: by a private network; look there that they are kept for 180 days",
                    syslog.address
                ),
            ),
        ),
        None => (
            State::Open,
            (
                "安全事件只存本机（security/*.ndjson，满则丢最旧），未汇集：请配置 [security.syslog]".to_owned(),
                "security events are kept here only, and the oldest go when their files are full (security/*.ndjson): name a collector in [security.syslog]".to_owned(),
            ),
        ),
    };
    Item {
        id: "security_events",
        clause: "8.1.5.4",
        zh: "集中管控：安全事件收集",
        en: "security events are collected",
        state,
        said,
    }
}

fn files_of(config: &Config) -> Item {
    let mut open = files::open_to_others(&config.data_dir);
    let keys = [
        config.http_tls.as_ref().map(|(_, tls)| &tls.key_file),
        config.mqtt.tls.as_ref().map(|tls| &tls.key_file),
        config.metrics_token_file.as_ref(),
        config.hj212.as_ref().and_then(|part| part.keys_file.as_ref()),
    ];
    open.extend(
        keys.into_iter()
            .flatten()
            .filter(|path| files::is_open(path))
            .cloned(),
    );
    let (state, said) = match open.first() {
        None => (
            State::Held,
            (
                "数据目录与密钥只有所有者可读".to_owned(),
                "only its owner reads the data folder and its keys".to_owned(),
            ),
        ),
        Some(path) => (
            State::Open,
            (
                format!("{} 个文件他人可读，如 {}", open.len(), path.display()),
                format!(
                    "others may read {} files, like {}: chmod go= ends that",
                    open.len(),
                    path.display()
                ),
            ),
        ),
    };
    Item {
        id: "files",
        clause: "8.1.4.8",
        zh: "数据保密性：文件权限",
        en: "who reads the files",
        state,
        said,
    }
}

fn kept(config: &Config) -> Item {
    let days = config.journal_keep.as_secs() / 86_400;
    let (state, zh, en) = match days >= LEAST_KEPT_DAYS {
        true => (State::Held, "", ""),
        false => (
            State::Ask,
            "；如要求原始报文满六个月，请设 [journal] keep_hours",
            "; where raw frames are to be kept for six months set [journal] keep_hours",
        ),
    };
    Item {
        id: "kept",
        clause: "8.1.4.3 b",
        zh: "安全审计：留存不少于 180 天",
        en: "records are kept for 180 days",
        state,
        said: (
            format!("审计永不删除；原始报文日志 {days} 天{zh}"),
            format!("the audit never goes; the journal of raw frames keeps {days} days{en}"),
        ),
    }
}

fn persons(config: &Config, known: Option<&Known>) -> Item {
    let (n, n_clear) = known.map_or((0, 0), |known| known.persons);
    let has_key = config.data_dir.join(onemap_store::persons::KEY_FILE).exists();
    let (state, said) = match (n, n_clear, has_key) {
        (0, ..) => (
            State::Held,
            ("没有登记过个人".to_owned(), "no person was registered".to_owned()),
        ),
        (n, _, false) => (
            State::Open,
            (
                format!("登记了 {n} 人，但 persons.key 不在数据目录，无法查询：放回另存的副本"),
                format!(
                    "{n} persons are known, and persons.key is not there: put back the copy that was kept apart"
                ),
            ),
        ),
        (n, 0, true) => (
            State::Held,
            (
                format!(
                    "{n} 人均以带密钥的化名登记，内容 AES-256-GCM 加密；查询须写明用途并留痕；备份不含密钥"
                ),
                format!(
                    "{n} persons are kept as keyed pseudonyms, what is known of them sealed (AES-256-GCM); who asks says why, and that is an act; no backup has the key"
                ),
            ),
        ),
        (n, n_clear, true) => (
            State::Open,
            (
                format!("{n} 人中有 {n_clear} 人为旧版明文，服务启动后自动加密"),
                format!(
                    "{n_clear} of {n} persons stand in clear, as versions of before wrote them; a running server seals them"
                ),
            ),
        ),
    };
    Item {
        id: "persons",
        clause: "8.1.4.11",
        zh: "个人信息保护",
        en: "persons",
        state,
        said,
    }
}

/// What somebody has to show.
fn by_people() -> [Item; 5] {
    let ask = |id, clause, zh, en, said: (&str, &str)| Item {
        id,
        clause,
        zh,
        en,
        state: State::Ask,
        said: (said.0.to_owned(), said.1.to_owned()),
    };
    [
        ask(
            "time",
            "8.1.4.3 d",
            "安全审计：时钟同步",
            "the host's clock",
            (
                "请出示主机的时间同步配置",
                "show how the host's clock is kept (chrony, NTP)",
            ),
        ),
        ask(
            "host",
            "8.1.4.4-8.1.4.6",
            "入侵防范、恶意代码防范、可信验证",
            "the host",
            (
                "请出示主机加固、恶意代码防范与可信启动",
                "show how the host is hardened, watched for malware and started",
            ),
        ),
        ask(
            "disk",
            "8.1.4.8 b",
            "数据保密性：存储",
            "the disk",
            (
                "数据文件未加密存放，请出示磁盘或云盘加密",
                "the data files are not encrypted by the server: show the encryption of the disk",
            ),
        ),
        ask(
            "cryptography",
            "8.1.2.2 b",
            "商用密码",
            "certified cryptography",
            (
                "TLS 为国际算法（ring）；要求国密的，须在其前部署经认证的 TLCP 网关",
                "TLS is of international algorithms (ring); where certified SM algorithms are asked for, a TLCP gateway stands before it",
            ),
        ),
        ask(
            "rooms",
            "8.1.1",
            "安全物理环境",
            "rooms and power",
            (
                "由机房或云平台证明",
                "shown by who runs the machine room or the cloud",
            ),
        ),
    ]
}
