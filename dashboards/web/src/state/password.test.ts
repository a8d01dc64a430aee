import { afterEach, describe, expect, it } from "vitest";
import { api } from "../api/client";
import { type Loopback, problem, serve } from "../api/loopback";
import { type Draft, faultOf, refusalOf } from "./password";

let server: Loopback | undefined;
afterEach(() => server?.end());

const draft = (more: Partial<Draft> = {}): Draft => ({
  password: "the old long one",
  fresh: "another long one",
  again: "another long one",
  code: "",
  ...more,
});

describe("a new password", () => {
  it("is sent only when it is whole", () => {
    expect(faultOf(draft(), false)).toBeNull();
    expect(faultOf(draft({ password: "" }), false)).toBe("missing");
    expect(faultOf(draft({ fresh: "elf zeichen", again: "elf zeichen" }), false)).toBe("short");
    expect(faultOf(draft({ again: "another long 0ne" }), false)).toBe("differs");
    expect(faultOf(draft({ password: "another long one" }), false)).toBe("same");
  });

  it("has characters, not bytes or halves of them", () => {
    const eleven = "口令口令口令口令口令😀";
    expect(faultOf(draft({ fresh: eleven, again: eleven }), false)).toBe("short");
    expect(faultOf(draft({ fresh: `${eleven}令`, again: `${eleven}令` }), false)).toBeNull();
  });

  it("needs the code of who has a second factor", () => {
    expect(faultOf(draft(), true)).toBe("code");
    expect(faultOf(draft({ code: " " }), true)).toBe("code");
    expect(faultOf(draft({ code: "123456" }), true)).toBeNull();
  });

  it("is refused by the server for what its problem is called", async () => {
    for (const [status, code, meaning] of [
      [401, "wrong_login", "wrong"],
      [401, "code_needed", "code"],
      [401, "unauthorized", "ended"],
      [400, "weak_password", "weak"],
      [429, "too_many_guesses", "other"],
      [503, "unavailable", "other"],
    ] as const) {
      server = await serve(() => problem(status, code));
      const error = await api
        .changePassword({ password: "a", new_password: "b" })
        .catch((refused: unknown) => refused);
      expect(refusalOf(error), code).toBe(meaning);
      await server.end();
    }
  });
});
