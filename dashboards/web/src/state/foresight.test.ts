import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Forecast, Forecaster, ForecastLead, QuantityEntry } from "../api/types";
import { lang } from "../i18n";
import {
  bySource,
  chanceOf,
  inOrderOfChance,
  interval,
  isOld,
  quantile,
  type Row,
  rowsOf,
  seriesOfKey,
  silenceOf,
  stepOf,
  toldOf,
} from "./foresight";
import {
  isOfTraining,
  leadsText,
  noneText,
  noteText,
  oldText,
  refitText,
  sentence,
  silenceText,
  silenceWhy,
  whyNotText,
} from "./foresight-words";
import { quantities } from "./quantities";

const HOUR = 3_600_000;
/** Noon in Beijing. */
const start = Date.parse("2026-11-27T12:00:00+08:00");
const at = (hours: number) => new Date(start + hours * HOUR).toISOString();

/** Hours ahead, median, chance of exceeding 2 m. */
type Said = [number, number, number?];

const lead = ([hours, median, probability]: Said): ForecastLead => ({
  at: at(hours),
  lead_s: hours * 3600,
  value: median,
  median,
  quantiles: [
    [0.1, 1.9],
    [0.9, 2.8],
  ],
  exceed: probability === undefined ? [] : [{ threshold: 2, probability, warns: probability > 0.5 }],
});

const forecast = (said: Said[], more: Partial<Forecast> = {}): Forecast => ({
  seq: 1,
  taken_at: at(0.1),
  source: "onemap",
  model: "",
  series: { id: 1, device: "gauge", quantity: "water_level", ch: 0, unit: "m" },
  issued_at: at(0.1),
  origin: at(0),
  at_origin: 2,
  step_s: 3600,
  regime: null,
  leads: said.map(lead),
  silent: [],
  influences: [],
  notes: [],
  ...more,
});

const forecaster = (more: Partial<Forecaster>): Forecaster => ({
  inputs: [],
  step_s: 3600,
  leads_s: [3600],
  threshold: null,
  trained: null,
  why_not: null,
  ...more,
});

const names: Record<string, string> = { gauge: "新宁桥站", upper: "多巴站" };
const deviceName = (id: string) => names[id] ?? id;

beforeEach(() => {
  const level: QuantityEntry = {
    name: "water_level",
    zh: "水位",
    en: "water level",
    unit: "m",
    family: "water",
    decimals: 2,
  };
  quantities.value = new Map([["water_level", level]]);
});
afterEach(() => {
  lang.value = "zh";
  quantities.value = new Map();
});

describe("an old forecast", () => {
  const cases: [string, Forecast, number, boolean][] = [
    ["is not one of two steps ago", forecast([[6, 2]]), 2.1, false],
    ["is one of longer ago", forecast([[6, 2]]), 2.2, true],
    ["is one whose times have passed", forecast([[1, 2]]), 1.01, true],
    ["is hourly where no step is said", forecast([[6, 2]], { step_s: 0 }), 2.2, true],
    ["is one of minutes after two minutes", forecast([[6, 2]], { step_s: 60 }), 0.2, true],
    [
      "is not one of others whose leads lie further apart than their grid",
      forecast(
        [
          [3, 2],
          [6, 2],
        ],
        { source: "省水文局" },
      ),
      5,
      false,
    ],
    [
      "is that in the end",
      forecast(
        [
          [3, 2],
          [24, 2],
        ],
        { source: "省水文局" },
      ),
      6.2,
      true,
    ],
  ];
  it.each(cases)("%s", (_, one, hours, old) => {
    expect(isOld(one, start + hours * HOUR)).toBe(old);
  });

  it("says that it is one, or that its times have passed", () => {
    expect(oldText(forecast([[6, 2]]), start + 3.1 * HOUR)).toBe(
      "旧预报（3 小时前发布），不代表当前；无新预报不等于无险情",
    );
    expect(oldText(forecast([]), start + 0.1 * HOUR)).toContain("各时效均无预报能力");
    expect(oldText(forecast([[1, 2]]), start + 1.1 * HOUR)).toContain(
      "预报所指的时刻均已过去（1 小时前发布）",
    );
  });

  it("is judged by the least distance of leads", () => {
    expect(
      stepOf(
        forecast(
          [
            [3, 2],
            [4, 2],
          ],
          { source: "省水文局" },
        ),
      ),
    ).toBe(3600);
    expect(
      stepOf(
        forecast([
          [3, 2],
          [6, 2],
        ]),
      ),
    ).toBe(3600);
  });
});

describe("the lead that is told", () => {
  const told = (said: Said[], now = 0) => toldOf(forecast(said), start + now * HOUR)?.lead.lead_s;
  it("is the one with the greatest chance, of several the nearest", () => {
    expect(
      told([
        [1, 2, 0.2],
        [3, 2, 0.6],
        [6, 2, 0.6],
        [12, 2, 0.1],
      ]),
    ).toBe(3 * 3600);
  });
  it("is the greatest change where nothing is said of thresholds, of equal ones the last", () => {
    const peak: Said[] = [
      [1, 2.3],
      [3, 3.9],
      [6, 3.2],
    ];
    expect(told(peak)).toBe(3 * 3600);
    expect(told(peak.map(([hours, value]): Said => [hours, 4 - value]))).toBe(3 * 3600);
    expect(toldOf(forecast(peak, { at_origin: null }), start)?.lead.lead_s).toBe(6 * 3600);
    expect(
      told([
        [1, 2],
        [6, 2],
      ]),
    ).toBe(6 * 3600);
  });
  it("is one of which a chance is known, be it none", () => {
    expect(
      told([
        [1, 2, 0],
        [6, 5],
      ]),
    ).toBe(3600);
  });
  it("is none that has passed", () => {
    expect(
      told(
        [
          [1, 2, 0.9],
          [3, 2, 0.6],
        ],
        1,
      ),
    ).toBe(3 * 3600);
    expect(told([[1, 2, 0.9]], 1)).toBeUndefined();
  });
});

describe("intervals", () => {
  it("lie straight between the levels given and say nothing beyond them", () => {
    const quantiles: [number, number][] = [
      [0.1, 1],
      [0.5, 2],
      [0.9, 4],
    ];
    expect(interval({ quantiles }, 0.8)).toEqual([1, 4]);
    expect(interval({ quantiles }, 0.5)).toEqual([expect.closeTo(1.375), expect.closeTo(3.25)]);
    expect(interval({ quantiles }, 0.9)).toBeNull();
    expect(quantile({ quantiles: [] }, 0.5)).toBeNull();
    expect(interval({ quantiles: [[0.1, 1]] }, 0.8)).toBeNull();
  });
});

describe("where skill ends", () => {
  const why = "no better than the present value in training (skill -0.05)";
  const silent = (...hours: number[]) => hours.map((each) => ({ lead_s: each * 3600, why }));
  const cases: [string, number[], number[], string | undefined][] = [
    ["nowhere", [1, 3], [], undefined],
    ["behind the last lead that speaks", [1, 3], [6, 12], "3 小时以后无预报能力"],
    ["between others", [1, 6], [3], "无预报能力的时效：3 小时"],
    ["everywhere", [], [1, 3], "各时效均无预报能力"],
  ];
  it.each(cases)("%s", (_, spoken, hushed, words) => {
    const one = forecast(
      spoken.map((hours): Said => [hours, 2]),
      { silent: silent(...hushed) },
    );
    const silence = silenceOf(one, null);
    expect(silence ? silenceText(silence).words : undefined).toBe(words);
  });

  it("is known from training where nothing is issued", () => {
    const row = (lead_s: number, reason: string | null) => ({
      lead_s,
      rows: 100,
      skill: null,
      mae_skill: null,
      silent: reason,
    });
    const trained = {
      model: "",
      at: at(0),
      first: at(0),
      last: at(0),
      values: 1,
      leads: [row(3600, null), row(7200, why)],
    };
    expect(silenceOf(null, forecaster({ trained }))).toMatchObject({ how: "after", last_s: 3600 });
    expect(silenceOf(null, forecaster({}))).toBeNull();
    expect(silenceOf(null, null)).toBeNull();
  });

  it("says why, lead by lead", () => {
    const silence = silenceOf(forecast([[1, 2]], { silent: silent(3) }), null);
    expect(silence && silenceText(silence).why).toBe("3 小时：训练中不优于“现值不变”（技巧 -0.05）");
  });
});

describe("the sentence", () => {
  const told = (said: Said[], more: Partial<Forecast> = {}, now = 0) =>
    sentence(forecast(said, more), start + now * HOUR);
  it("says when, what, between which values and how likely over the threshold", () => {
    expect(told([[3, 2.314, 0.64]])).toBe(
      "预计 3 小时后（15:00）2.31 m（80 %：1.90–2.80），超过 2.00 m 的概率 64 %",
    );
    lang.value = "en";
    expect(told([[3, 2.314, 0.64]])).toBe(
      "Expected in 3 h (15:00): 2.31 m (80 %: 1.90–2.80), probability of exceeding 2.00 m: 64 %",
    );
  });
  it("counts from now and not from the origin, and names the day when it is another", () => {
    expect(told([[3, 2.3]], {}, 0.5)).toContain("预计 2.5 小时后（15:00）");
    expect(told([[1, 2.3]], {}, 0.75)).toContain("预计 15 分钟后（13:00）");
    expect(told([[15, 2.3]])).toContain("预计 15 小时后（11/28 03:00）");
  });
  it("leaves out what was not said, and certainty that nobody has", () => {
    const plain = forecast([[1, 2.3]]);
    for (const each of plain.leads) each.quantiles = [];
    expect(sentence(plain, start)).toBe("预计 1 小时后（13:00）2.30 m");
    expect(told([[1, 2, 0.001]])).toContain("概率 <1 %");
    expect(told([[1, 2, 0.999]])).toContain("概率 >99 %");
    expect(told([[1, 2]], {}, 2)).toBeNull();
  });
  it("says the unit of several leads once", () => {
    expect(leadsText([3600, 10_800, 21_600])).toBe("1、3、6 小时");
    expect(leadsText([1800, 5400, 172_800])).toBe("30 分钟、1.5 小时、2 天");
    expect(leadsText([])).toBe("");
  });
});

describe("why nothing is foreseen", () => {
  const cases: [string, string][] = [
    ["no value of gauge/water_level/0 at 2026-11-27T12:00:00+08:00", "12:00 没有新宁桥站 水位的可用值"],
    ["upper/water_level/2 has no values yet", "多巴站 水位 通道 2 尚无数据"],
    [
      "13 values since 2026-11-26T15:00:00+08:00 are too few: 60 are needed",
      "自 11/26 15:00 以来只有 13 个值，至少需要 60 个",
    ],
    ["the model says what is no forecast: leads are 1 to 1000, not 0", "各时效均不优于“现值不变”，故不发布"],
    ["no value of gauge/water_level/0 at noon", "noon 没有新宁桥站 水位的可用值"],
    ["its first model is being trained", "模型尚未训练完成"],
    ["the disk is on fire", "the disk is on fire"],
  ];
  it.each(cases)("%s", (told, words) => {
    expect(whyNotText(told, start, deviceName)).toBe(words);
  });

  it("is that a model or a time of issue is awaited, where the server says nothing", () => {
    expect(noneText(forecaster({}), start, deviceName)).toBe("模型尚未训练完成");
    const trained = { model: "", at: at(0), first: at(0), last: at(0), values: 1, leads: [] };
    expect(noneText(forecaster({ trained }), start, deviceName)).toBe("等待下一个发布时刻");
  });

  it("lies in training, or in the last step", () => {
    expect(cases.map(([told]) => isOfTraining(told))).toEqual([
      false,
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it("is told of leads and inputs in the reader's language, too", () => {
    expect(silenceWhy("12 rows are too few to learn from")).toBe("可学习的样本只有 12 个，太少");
    expect(silenceWhy("20 days without a flood are too short to learn from for this lead")).toBe(
      "训练期只有 20 天且未遇洪水，不足以学习该时效",
    );
    expect(silenceWhy("the series did not change in training")).toBe("训练期内数值没有变化");
    expect(silenceWhy("for other reasons")).toBe("for other reasons");
    expect(noteText("without upper/water_level/0 (气象台), which says nothing now", deviceName)).toBe(
      "缺少输入：多巴站 水位（气象台预报） 当前无数据",
    );
    expect(noteText("without upper/water_level/0, which says nothing now", deviceName)).toBe(
      "缺少输入：多巴站 水位 当前无数据",
    );
    expect(noteText("gate closed", deviceName)).toBe("gate closed");
  });

  it("names series by their keys", () => {
    expect(seriesOfKey("a/b/water_level/1")).toEqual({ device: "a/b", quantity: "water_level", ch: 1 });
    for (const none of ["calendar", "baselines", "", "gauge/water_level"])
      expect(seriesOfKey(none)).toBeNull();
  });
});

describe("the table", () => {
  const row = (name: string, said: Said[], more: Partial<Forecast> = {}): Row => {
    const one = forecast(said, more);
    return { name, series: one.series, source: one.source, forecast: one, forecaster: null };
  };
  const series = (device: string, id: number | null = null) => ({
    id,
    device,
    quantity: "water_level",
    ch: 0,
    unit: "m",
  });
  it("has the likeliest exceedance first, then what is not known, by name", () => {
    const rows = [
      row("丙", [[1, 2]]),
      row("甲", [[1, 2, 0.1]]),
      row("乙", [[1, 2, 0.9]], { issued_at: at(-9) }),
      row("丁", [[1, 2, 0]]),
      row("戊", [
        [1, 2, 0.1],
        [3, 2, 0.7],
      ]),
    ];
    expect(inOrderOfChance(rows, start).map(({ name }) => name)).toEqual(["戊", "甲", "丁", "丙", "乙"]);
  });
  it("has what is foreseen and was never issued, with why, and each series of the server once", () => {
    const why_not = "upper/water_level/0 has no values yet";
    const rows = rowsOf(
      [forecast([[1, 2, 0.1]]), forecast([[1, 2]], { source: "省水文局", series: series("upper", 2) })],
      [
        { series: series("gauge"), forecaster: forecaster({ threshold: 2 }) },
        { series: series("upper"), forecaster: forecaster({ why_not }) },
      ],
      deviceName,
    );
    expect(
      rows.map((each) => [each.name, each.source, each.forecast?.seq ?? null, each.forecaster?.why_not]),
    ).toEqual([
      ["新宁桥站", "onemap", 1, null],
      ["多巴站", "省水文局", 1, undefined],
      ["多巴站", "onemap", null, why_not],
    ]);
    expect(rows[0]?.forecaster?.threshold).toBe(2);
    expect(inOrderOfChance(rows, start).map(({ forecast: one, source }) => [one?.seq, source])).toEqual([
      [1, "onemap"],
      [undefined, "onemap"],
      [1, "省水文局"],
    ]);
    expect(chanceOf(null, start)).toBeNull();
  });
  it("tells channels of one device apart", () => {
    const other = { ...series("gauge"), ch: 1 };
    const rows = rowsOf([forecast([[1, 2]])], [{ series: other, forecaster: forecaster({}) }], deviceName);
    expect(rows.map((each) => [each.series.ch, each.forecast === null])).toEqual([
      [0, false],
      [1, true],
    ]);
  });
  it("says when a model was solved again, of the last night that it was then", () => {
    const told = (hours: number) => refitText(start + hours * HOUR, start);
    expect(told(-9.5)).toBe("昨夜更新（02:30）");
    expect(told(-6)).toBe("06:00 更新");
    expect(told(-33.5)).toBe("11/26 02:30 更新");
  });
  it("knows no chance of what is old, and never a zero for it", () => {
    expect(chanceOf(forecast([[1, 2, 0.9]], { issued_at: at(-9) }), start)).toBeNull();
    expect(chanceOf(forecast([[1, 2]]), start)).toBeNull();
    expect(chanceOf(forecast([[1, 2, 0]]), start)).toBe(0);
  });
  it("has the newest of each source, the server's own first", () => {
    const of = (source: string, seq: number) => forecast([[1, 2]], { source, seq });
    const found = bySource([of("b", 5), of("onemap", 4), of("b", 3), of("a", 2), of("onemap", 1)]);
    expect(found.map(({ source, seq }) => [source, seq])).toEqual([
      ["onemap", 4],
      ["a", 2],
      ["b", 5],
    ]);
  });
});
