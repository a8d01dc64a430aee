import { afterEach, describe, expect, it } from "vitest";
import { lang, named, t } from "../i18n";
import { pastSpan } from "./past";

afterEach(() => {
  lang.value = "zh";
});

const now = Date.parse("2026-11-28T10:00:00+08:00");

describe("a historical event", () => {
  it("says from when until when, in Beijing time, with the second day where it is another", () => {
    const hour = { from: "2026-11-25T19:10:00Z", until: "2026-11-25T20:25:00Z" };
    expect(pastSpan(hour, now)).toBe("11/26 03:10 – 04:25（1 小时）");
    const night = { from: "2026-11-25T23:50:00+08:00", until: "2026-11-26T00:20:00+08:00" };
    expect(pastSpan(night, now)).toBe("11/25 23:50 – 11/26 00:20（30 分钟）");
    const today = { from: "2026-11-28T03:00:00+08:00", until: "2026-11-28T03:00:30+08:00" };
    expect(pastSpan(today, now)).toBe("03:00 – 03:00（30 秒）");
  });

  it("says in both languages that nobody was called", () => {
    expect(t("past.hint")).toBe("补传数据中发现，未通知任何人");
    expect(named("edge", "past")).toBe("历史事件");
    lang.value = "en";
    expect(t("past.hint")).toBe("Found in data that came late; nobody was called");
  });
});
