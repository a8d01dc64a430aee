// A provider of OpenID Connect that answers wrongly as it is told, for tests/it/oidc.rs. It really signs (jose), and
// knows one person, who is let in without a page.
//
// Said on standard output, one line: {"issuer": "http://localhost:PORT"}. `POST /next {…}` says how the next ID tokens
// are: {"claims": {…}} lies over the right ones (null takes one away), {"key": "other" | "new" | "gone" | "none" | "secret"},
// {"iss": …} and {"status": …} of the answers. It ends with its standard input.
import http from "node:http";
import { createHash } from "node:crypto";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";

const SECRET = "a secret of the tests, which nobody else has";

const pair = async (kid) => ({ kid, ...(await generateKeyPair("RS256")) });
const keys = { own: await pair("own"), other: await pair("own"), new: await pair("new"), gone: await pair("gone") };
const shown = async ({ kid, publicKey }) => ({ ...(await exportJWK(publicKey)), kid, use: "sig", alg: "RS256" });

let next = {};
let published = ["own"];
let asked = 0;
const codes = new Map();

const read = async (request) => {
  let body = "";
  for await (const part of request) body += part;
  return body;
};

const server = http.createServer(async (request, response) => {
  const issuer = `http://localhost:${server.address().port}`;
  const url = new URL(request.url, issuer);
  const json = (body, status = 200) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  switch (url.pathname) {
    case "/next":
      next = JSON.parse(await read(request));
      if (next.publish) published = next.publish;
      return json({ keys_asked: asked });
    case "/.well-known/openid-configuration":
      return json({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        response_types_supported: ["code"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256", "HS256", "none"],
      });
    case "/keys":
      asked += 1;
      return json({ keys: await Promise.all(published.map((name) => shown(keys[name]))) });
    case "/authorize": {
      const code = `code-${codes.size}`;
      codes.set(code, Object.fromEntries(url.searchParams));
      const back = new URL(url.searchParams.get("redirect_uri"));
      back.searchParams.set("state", url.searchParams.get("state"));
      back.searchParams.set("code", code);
      if (next.iss) back.searchParams.set("iss", next.iss);
      response.writeHead(303, { location: back.href });
      return response.end();
    }
    case "/token": {
      if (next.status) return json({ error: "temporarily_unavailable" }, next.status);
      if (next.body !== undefined) return json(next.body);
      const form = new URLSearchParams(await read(request));
      const flow = codes.get(form.get("code"));
      codes.delete(form.get("code"));
      const proof = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
      if (!flow || flow.code_challenge_method !== "S256" || flow.code_challenge !== proof)
        return json({ error: "invalid_grant" }, 400);
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: issuer,
        sub: "sub-li",
        aud: flow.client_id,
        iat: now,
        exp: now + 300,
        nonce: flow.nonce,
        preferred_username: "li",
        ...next.claims,
      };
      for (const name of Object.keys(claims)) if (claims[name] === null) delete claims[name];
      const { kid, privateKey } = keys[next.key] ?? keys.own;
      const id_token =
        next.key === "none"
          ? new UnsecuredJWT(claims).encode()
          : next.key === "secret"
            ? await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(SECRET))
            : await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid }).sign(privateKey);
      return json({ access_token: "an access token", token_type: "Bearer", expires_in: 300, id_token });
    }
    default:
      return json({}, 404);
  }
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () =>
  console.log(JSON.stringify({ issuer: `http://localhost:${server.address().port}` })),
);
process.stdin.on("end", () => process.exit(0)).resume();
