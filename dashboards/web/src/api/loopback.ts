/// <reference types="node" />
// A server on loopback for tests: what the screen asks goes over a real connection. The screen itself never imports it.
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

export type Answer = {
  status?: number;
  body?: unknown;
  bytes?: Uint8Array;
  type?: string;
  headers?: Record<string, string>;
};
export type Loopback = {
  /** Paths with their queries, in the order in which they were asked for. */
  asked: string[];
  end: () => Promise<void>;
};

/** A refusal as the server words it. */
export const problem = (status: number, code: string): Answer => ({
  status,
  body: { title: code, status, code },
  type: "application/problem+json",
});

/** Starts it; addresses without a host, as a page asks for them, go there until it ends. */
export async function serve(
  answer: (url: URL, method: string, body: string, headers: IncomingHttpHeaders) => Answer,
): Promise<Loopback> {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const path = request.url ?? "/";
    let body = "";
    for await (const part of request) body += part;
    asked.push(path);
    const said = answer(new URL(path, "http://loopback"), request.method ?? "GET", body, request.headers);
    response.writeHead(said.status ?? 200, {
      "content-type": said.type ?? "application/json",
      ...said.headers,
    });
    response.end(said.bytes ?? JSON.stringify(said.body ?? null));
  });
  await new Promise<void>((listening) => {
    server.listen(0, "127.0.0.1", listening);
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const before = globalThis.fetch;
  globalThis.fetch = (input, init) => before(typeof input === "string" ? new URL(input, base) : input, init);
  return {
    asked,
    end: () => {
      globalThis.fetch = before;
      server.closeAllConnections();
      return new Promise((closed) => server.close(() => closed()));
    },
  };
}
