// A provider of OpenID Connect for tests/it/oidc.rs: oidc-provider (certified, pinned in package.json) on a free port,
// with a page on which whoever comes says who he is. With SECRET_IN_BODY it takes clients' secrets there alone;
// CALLBACK is where it sends browsers back to, by default any port of this machine.
//
// Said on standard output, one line: {"issuer": "http://localhost:PORT"}: another
// site than the server under test, which is at 127.0.0.1. It ends with its standard input.
import http from "node:http";
import Provider, { interactionPolicy } from "oidc-provider";

const SECRET = "a secret of the tests, which nobody else has";
const CALLBACK = "http://127.0.0.1/api/v1/session/oidc/callback";

// Who there is, and by what each shows himself when he says nothing else.
const PEOPLE = {
  "sub-li": { preferred_username: "li", name: "李娜", groups: ["onemap-officers"] },
  "sub-wang": { preferred_username: "wang", name: "王强", groups: ["others"] },
  "sub-new": { preferred_username: "zhou", name: "周新", groups: ["onemap-officers"] },
  "sub-duty": { preferred_username: "duty", name: "值班员", groups: ["onemap-duty"] },
  "sub-li-2": { preferred_username: "li", name: "另一个李娜", groups: ["onemap-officers"] },
};

const client = (client_id, more) => ({
  client_id,
  redirect_uris: [process.env.CALLBACK ?? CALLBACK],
  // Of a native client's redirect to this machine the port is free (RFC 8252, 7.3).
  application_type: process.env.CALLBACK ? "web" : "native",
  grant_types: ["authorization_code"],
  response_types: ["code"],
  ...more,
});

// Everybody has said yes to everything: no page asks.
const policy = interactionPolicy.base();
policy.remove("consent");

const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://localhost:${server.address().port}`;
  const by = (token_endpoint_auth_method) => ({ client_secret: SECRET, token_endpoint_auth_method });
  const clients = process.env.SECRET_IN_BODY
    ? [client("onemap", by("client_secret_post"))]
    : [
        client("onemap", by("client_secret_basic")),
        client("onemap-public", { token_endpoint_auth_method: "none" }),
      ];
  const provider = new Provider(issuer, {
    clients,
    clientAuthMethods: process.env.SECRET_IN_BODY ? ["client_secret_post"] : ["client_secret_basic", "none"],
    pkce: { required: () => true },
    claims: {
      openid: ["sub", "amr", "acr"],
      profile: ["preferred_username", "name"],
      groups: ["groups"],
    },
    scopes: ["openid", "profile", "groups"],
    features: { devInteractions: { enabled: false } },
    cookies: { keys: ["a key of the tests"] },
    interactions: {
      policy,
      url: (_, interaction) => `/interaction/${interaction.uid}`,
    },
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, ...PEOPLE[accountId] }) }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId,
        accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope("openid profile groups");
      await grant.save();
      return grant;
    },
  });
  provider.on("server_error", (_, error) => console.error(error));
  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith("/interaction/")) return next();
    if (ctx.method === "GET") {
      ctx.type = "html";
      ctx.body = `<!doctype html><html lang="en"><title>provider</title><form method="post">
        <input name="login"><input name="amr"><button name="does" value="enter">enter</button>
        <button name="does" value="leave">leave</button></form></html>`;
      return;
    }
    let body = "";
    for await (const part of ctx.req) body += part;
    const form = new URLSearchParams(body);
    const amr = (form.get("amr") ?? "").split(" ").filter(Boolean);
    const result =
      form.get("does") === "leave"
        ? { error: "access_denied", error_description: "the person said no" }
        : { login: { accountId: form.get("login"), amr: amr.length ? amr : ["pwd"], remember: false } };
    await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
    ctx.respond = false;
  });
  server.on("request", provider.callback());
  console.log(JSON.stringify({ issuer }));
});
process.stdin.on("end", () => process.exit(0)).resume();
