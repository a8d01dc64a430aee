import { afterEach, describe, expect, it } from "vitest";
import { ApiError, api } from "../api/client";
import { type Loopback, problem, serve } from "../api/loopback";
import { failureOf } from "./failure";

let server: Loopback | undefined;
afterEach(async () => {
  await server?.end();
  server = undefined;
});

const refusedWith = async (status: number, code: string) => {
  server = await serve(() => problem(status, code));
  return failureOf(
    await api.acknowledge("a1", { name: "李娜", note: "", minutes: 60 }).catch((e: unknown) => e),
  );
};

describe("a failure", () => {
  it("is told by the name that the server gives it, and keeps the server's words", async () => {
    expect(await refusedWith(403, "forbidden")).toEqual({
      key: "failed.forbidden",
      detail: "forbidden",
      detailZh: "",
      wait: 0,
    });
  });

  it("of another state than was thought is not one of the role", async () => {
    expect((await refusedWith(409, "alert_ended")).key).toBe("failed.alert_ended");
  });

  it("whose name is new is told by its status", async () => {
    expect((await refusedWith(403, "some_new_reason")).key).toBe("failed.forbidden");
    await server?.end();
    expect((await refusedWith(503, "some_new_reason")).key).toBe("failed.unavailable");
  });

  it("that nothing here has words for is told by the server's", async () => {
    expect(await refusedWith(422, "bad_expression")).toEqual({
      key: null,
      detail: "bad_expression",
      detailZh: "",
      wait: 0,
    });
  });

  it("without words here is told in the language of the screen, as far as the server says it", async () => {
    server = await serve(() => ({
      status: 422,
      body: { title: "Unprocessable", detail: "no such device", detail_zh: "没有这台设备", code: "new_one" },
    }));
    const error = await api.endDrill("d1").catch((e: unknown) => e);
    expect(failureOf(error)).toMatchObject({ key: null, detailZh: "没有这台设备" });
  });

  it("of a limit says how long to wait, when the server does", () => {
    expect(failureOf(new ApiError(429, "slow down", "too_many_requests", 7))).toMatchObject({
      key: "failed.limited",
      wait: 7,
    });
    expect(failureOf(new ApiError(429, "slow down", "too_many_at_once")).key).toBe("failed.limited_for_now");
  });

  it("without an answer is the server's, one of the screen itself is neither", async () => {
    server = await serve(() => problem(403, "forbidden"));
    await server.end();
    server = undefined;
    const error = await api.session().catch((e: unknown) => e);
    expect(failureOf(error).key).toBe("failed.away");
    expect(failureOf(new TypeError("x is undefined"))).toEqual({
      key: null,
      detail: "x is undefined",
      detailZh: "",
      wait: 0,
    });
    expect(failureOf("said")).toEqual({ key: null, detail: "said", detailZh: "", wait: 0 });
  });
});
