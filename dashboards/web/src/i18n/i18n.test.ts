import { afterEach, describe, expect, it } from "vitest";
import { fill, lang, langOf, named, nameOf, pick, t } from ".";
import { en } from "./en";
import { age, beijingDay, clock, span, stamp, unitText } from "./format";
import { type MessageKey, zh } from "./zh";

afterEach(() => {
  lang.value = "zh";
});

describe("dictionaries", () => {
  const places = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();

  it("use the same places for values in both languages", () => {
    for (const key of Object.keys(zh) as MessageKey[]) expect(places(en[key]), key).toEqual(places(zh[key]));
  });

  it("have no empty text, and no Chinese in the English one but the name of the other language", () => {
    for (const key of Object.keys(zh) as MessageKey[]) {
      expect(zh[key].trim(), key).not.toBe("");
      expect(en[key].trim(), key).not.toBe("");
      if (key !== "strip.language") expect(/\p{Script=Han}/u.test(en[key]), key).toBe(false);
    }
  });
});

describe("words", () => {
  it("fill in values and leave unknown places to be seen", () => {
    expect(fill("{a} of {b}", { a: 1 })).toBe("1 of {b}");
  });

  it("name kinds and refusals that the dictionary lacks", () => {
    expect(named("kind", "air_station")).toBe("空气站");
    expect(named("kind", "wind_mast")).toBe("wind mast");
    expect(named("refusal", "new_reason", "新原因")).toBe("新原因");
  });

  it("fall back to Chinese and say so", () => {
    lang.value = "en";
    expect(nameOf({ name: "城东站", name_en: "" })).toBe("城东站");
    expect(langOf("城东站")).toBe("zh-CN");
    expect(langOf("Chengdong")).toBeUndefined();
    expect(pick({ zh: "甲", en: "" })).toBe("甲");
    expect(t("state.unknown")).toBe("Unknown");
  });
});

describe("times", () => {
  const now = Date.parse("2026-11-23T00:30:00+08:00");

  it("are Beijing's wherever the browser stands", () => {
    expect(clock(now)).toBe("00:30:00");
    expect(beijingDay(now)).toBe("2026-11-23");
    expect(beijingDay(now - 31 * 60_000)).toBe("2026-11-22");
  });

  it("carry the date only when it is another day", () => {
    expect(stamp(now - 60_000, now)).toBe("00:29:00");
    expect(stamp(now - 3_600_000, now)).toContain("11/22");
  });

  it("round down and never run backwards", () => {
    expect(span(59_000)).toBe("59 秒");
    expect(span(3_599_000)).toBe("59 分钟");
    expect(span(-5_000)).toBe("0 秒");
    expect(age(now + 500, now)).toBe("刚刚");
  });
});

describe("units", () => {
  it("are printed as people write them, unknown ones as they are", () => {
    expect(unitText("ug/m3")).toBe("µg/m³");
    expect(unitText("furlong")).toBe("furlong");
  });
});
