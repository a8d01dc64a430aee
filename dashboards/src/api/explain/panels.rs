//! The four panels of an alert: 可感 evidence, 可视 place, 可预 forecast, 可控 control. Each says what there is, or why there
//! is nothing.

use onemap_alerts::Alert;
use onemap_model::{Forecast, Quantity, Scope, SeriesKey};
use onemap_rules::{Foreseen, Rule, Texts};
use onemap_store::ledger::{CommandFilter, ForecastFilter};
use serde_json::{Value, json};

use super::POISON;
use crate::api::forecasts::veiled;
use crate::error::Problem;
use crate::views::Views;

/// Commands to the alert's device that are looked at.
const N_COMMANDS: usize = 100;

/// Blocks for the time of two questions to the ledger.
pub(super) fn of(views: &Views, scope: &Scope, alert: &Alert, rule: Option<&Rule>) -> Result<Value, Problem> {
    Ok(json!({
        "evidence": evidence(alert),
        "place": place(views, scope, alert),
        "forecast": forecast(views, scope, alert, rule)?,
        "control": control(views, alert)?,
    }))
}

fn panel(is: bool, zh: impl Into<String>, en: impl Into<String>) -> Value {
    json!({"is": is, "text": Texts { zh: zh.into(), en: en.into() }})
}

/// What it rests on, down to the bytes.
fn evidence(alert: &Alert) -> Value {
    let mut panel = match alert.inputs.as_slice() {
        [] => panel(
            true,
            format!(
                "静默：最近一次来数之后再无读数；判定于日志位置 {}",
                alert.raised_position
            ),
            format!(
                "Silence: nothing came since it was last heard; judged at journal position {}",
                alert.raised_position
            ),
        ),
        inputs => panel(
            true,
            format!(
                "{} 条读数，判定于日志位置 {}，可导出证据包",
                inputs.len(),
                alert.raised_position
            ),
            format!(
                "{} readings, judged at journal position {}; an evidence pack can be taken",
                inputs.len(),
                alert.raised_position
            ),
        ),
    };
    panel["positions"] = alert
        .inputs
        .iter()
        .map(|input| input.position)
        .filter(|at| *at > 0)
        .collect();
    panel["evidence"] = json!(format!("/api/v1/alerts/{}/evidence", alert.id));
    panel
}

/// Where it is.
fn place(views: &Views, scope: &Scope, alert: &Alert) -> Value {
    let register = views.register.read().expect(POISON);
    let device = register.view.devices.get(&alert.series.device);
    let moved = {
        let moving = views.moving.read().expect(POISON);
        let newest = moving.newest(alert.series.device.as_str());
        newest.map(|newest| (newest.at.lon_degrees(), newest.at.lat_degrees()))
    };
    let stands = device.and_then(|device| device.position);
    let at = moved.or_else(|| stands.map(|position| (position.lon(), position.lat())));
    let division = register
        .divisions
        .get(&alert.series.device)
        .or(alert.division.as_ref());
    let division = division.map(|code| code.as_str().to_owned());
    let Some((lon, lat)) = at else {
        return match division {
            Some(code) => panel(
                true,
                format!("区划 {code}，设备没有登记位置"),
                format!("Division {code}; the device has no registered position"),
            ),
            None => panel(
                false,
                "设备没有登记位置和区划",
                "The device has neither a registered position nor a division",
            ),
        };
    };
    let name = device.map_or("", |device| &device.name).to_owned();
    let name_en = device.map_or("", |device| &device.name_en).to_owned();
    let entity = device.and_then(|device| device.entity.as_ref());
    let entity = entity.filter(|entity| register.sees_entity(scope, &entity.kind, &entity.code));
    let within = division
        .as_ref()
        .map(|code| format!("（{code}）"))
        .unwrap_or_default();
    let within_en = division
        .as_ref()
        .map(|code| format!(" ({code})"))
        .unwrap_or_default();
    let mut panel = panel(
        true,
        format!("{name}{within}，东经 {lon:.5}°，北纬 {lat:.5}°"),
        format!("{name_en}{within_en}, {lon:.5}° E, {lat:.5}° N"),
    );
    panel["position"] = json!([lon, lat]);
    panel["entity"] = json!(entity.map(ToString::to_string));
    panel["moves"] = json!(moved.is_some());
    panel
}

/// What is foreseen: of the quantity that the rule names, of the alert's device and channel.
fn forecast(views: &Views, scope: &Scope, alert: &Alert, rule: Option<&Rule>) -> Result<Value, Problem> {
    let quantity = match rule.map(Rule::foreseen) {
        Some(Foreseen::Nothing(Texts { zh, en })) => return Ok(panel(false, zh, en)),
        Some(Foreseen::Of(quantity)) => quantity,
        Some(Foreseen::Unsaid) => {
            return Ok(panel(
                false,
                "规则未说明预报的量",
                "The rule does not say what is foreseen",
            ));
        }
        None => alert.series.quantity,
    };
    let series = SeriesKey {
        device: alert.series.device.clone(),
        quantity,
        channel: if quantity == alert.series.quantity {
            alert.series.channel
        } else {
            0
        },
    };
    let filter = ForecastFilter {
        series: Some(series.to_string()),
        ..ForecastFilter::default()
    };
    let newest = views
        .ledger
        .forecasts(&filter, None, 1)
        .map_err(|e| Problem::internal(&e))?;
    let now = views.now();
    let forecast = newest
        .into_iter()
        .next()
        .map(|row| veiled(views, scope, row.forecast));
    let Some(forecast) = forecast.filter(|forecast| forecast.leads.iter().any(|lead| lead.at > now)) else {
        let why = views.foresight.of(&series).and_then(|gauge| gauge.why_not);
        let name = quantity.definition();
        let (zh_why, en_why) = match why {
            Some(why) => (format!("：{why}"), format!(": {why}")),
            None => (String::new(), String::new()),
        };
        return Ok(panel(
            false,
            format!("{}没有今后的预报{zh_why}", name.zh),
            format!("There is no forecast of {} ahead{en_why}", name.en),
        ));
    };
    Ok(foreseen(&forecast, quantity, alert, now))
}

fn foreseen(forecast: &Forecast, quantity: Quantity, alert: &Alert, now: onemap_model::Timestamp) -> Value {
    let definition = quantity.definition();
    let decimals = usize::from(definition.decimals);
    let ahead = forecast.leads.iter().filter(|lead| lead.at > now);
    let is_below = alert
        .threshold
        .zip(alert.value)
        .is_some_and(|(limit, value)| value < limit);
    let worst = ahead.clone().max_by(|a, b| match is_below {
        true => b.value.total_cmp(&a.value),
        false => a.value.total_cmp(&b.value),
    });
    let Some(worst) = worst else {
        return panel(false, "预报已过时", "The forecast is of the past");
    };
    let (zh_way, en_way) = if is_below {
        ("最低", "down to")
    } else {
        ("最高", "up to")
    };
    let (value, at, unit) = (
        format!("{:.decimals$}", worst.value),
        worst.at.beijing_minute(),
        &definition.unit,
    );
    let mut panel = panel(
        true,
        format!(
            "{}预计{zh_way} {value} {unit}（{at}），{}发布",
            definition.zh,
            forecast.issued_at.beijing_minute()
        ),
        format!(
            "{} expected {en_way} {value} {unit} ({at}), issued {}",
            definition.en,
            forecast.issued_at.beijing_minute()
        ),
    );
    panel["series"] =
        json!({"device": forecast.series.device, "quantity": quantity, "ch": forecast.series.channel});
    panel["source"] = json!(forecast.source);
    panel["issued_at"] = json!(forecast.issued_at);
    panel["worst"] = json!({"at": worst.at, "value": worst.value, "quantiles": worst.quantiles});
    panel
}

/// What is proposed, and what was ordered of its device since.
fn control(views: &Views, alert: &Alert) -> Result<Value, Problem> {
    let filter = CommandFilter {
        device: Some(alert.series.device.to_string()),
        from: Some(alert.raised_at),
        to: alert.ended_at,
        ..CommandFilter::default()
    };
    let commands = views
        .ledger
        .commands(&filter, None, N_COMMANDS)
        .map_err(|e| Problem::internal(&e))?;
    let (zh, en) = match (alert.advice.zh.is_empty(), commands.len()) {
        (true, 0) => {
            return Ok(panel(
                false,
                "规则已不在，没有处置建议；未下达命令",
                "The rule is gone and nothing is proposed; nothing was ordered",
            ));
        }
        (_, 0) => (
            format!("建议：{}；未向设备下达命令", alert.advice.zh),
            format!("Proposed: {}; nothing was ordered of the device", alert.advice.en),
        ),
        (_, n) => (
            format!("建议：{}；已向设备下达 {n} 条命令", alert.advice.zh),
            format!(
                "Proposed: {}; {n} commands were given to the device",
                alert.advice.en
            ),
        ),
    };
    let mut panel = panel(true, zh, en);
    panel["commands"] = commands
        .iter()
        .map(|command| json!({"id": command.id, "method": command.order.method, "state": command.state}))
        .collect();
    Ok(panel)
}
