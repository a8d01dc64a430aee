import { afterEach, describe, expect, it } from "vitest";
import { ApiError, api } from "./client";
import { type Loopback, problem, serve } from "./loopback";

let server: Loopback | undefined;
afterEach(() => server?.end());

describe("the pack of evidence", () => {
  it("is the file as the server made it", async () => {
    const tar = Uint8Array.from({ length: 1024 }, (_, i) => i % 256);
    server = await serve(() => ({ bytes: tar, type: "application/x-tar" }));
    const file = await api.evidence("5f/1");
    expect(new Uint8Array(await file.arrayBuffer())).toEqual(tar);
    expect(server.asked).toEqual(["/api/v1/alerts/5f%2F1/evidence"]);
  });

  it("is never a refusal saved as a file", async () => {
    server = await serve(() => problem(403, "forbidden"));
    const refused = await api.evidence("a1").catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ApiError);
    expect(refused).toMatchObject({ status: 403, code: "forbidden" });
  });
});

describe("accounts", () => {
  it("get the departments that are said and keep all else", async () => {
    let said = "";
    server = await serve((_, method, body) => {
      said = `${method} ${body}`;
      return { body: { id: "li.na", departments: ["水务局"] } };
    });
    const told = await api.patchAccount("li.na", { departments: ["水务局"] });
    expect(said).toBe('PATCH {"departments":["水务局"]}');
    expect(told.departments).toEqual(["水务局"]);
  });
});
