import { afterEach, describe, expect, it } from "vitest";
import { type Answer, type Loopback, problem, serve } from "../api/loopback";
import { access, changePassword, renewals, sessionEnded } from "./session";

let server: Loopback | undefined;
afterEach(() => server?.end());

const session = {
  actor: "li.na",
  role: "officer",
  division: null,
  departments: [],
  may: ["view"],
  account: { id: "li.na", name: "李娜", has_second: false },
};
const enter = () => {
  access.value = { state: "in", session };
};
/** A server that knows the session or does not; the change of a password begins one. */
const serving = (knows: boolean) => {
  let known = knows;
  return serve((url): Answer => {
    if (url.pathname.endsWith("/password")) known = true;
    if (!known) return problem(401, "unauthorized");
    return url.pathname.endsWith("/password") ? { body: {} } : { body: session };
  });
};

describe("a session of an account", () => {
  it("that the server no longer knows is over", async () => {
    server = await serving(false);
    enter();
    await sessionEnded();
    expect(access.value).toEqual({ state: "out", why: null });
    expect(server.asked).toEqual(["/api/v1/session"]);
  });

  it("outlives the end of what was asked for with the one before", async () => {
    server = await serving(true);
    enter();
    const before = renewals.value;
    await sessionEnded();
    expect(access.value.state).toBe("in");
    expect(renewals.value).toBe(before + 1);
  });

  it("is not judged while the password changes", async () => {
    server = await serving(false);
    enter();
    const change = changePassword("the old long one", "another long one", "");
    const ended = sessionEnded();
    await change;
    expect(server.asked).toEqual(["/api/v1/session/password"]);
    await ended;
    expect(access.value.state).toBe("in");
    expect(server.asked).toEqual(["/api/v1/session/password", "/api/v1/session"]);
  });
});
