// Comes in by a provider of OpenID Connect as people do: by the button, at the provider's own page on another site, and
// back; with the account's own second factor; and as somebody whom nobody knows here. One JSON line; exit code 1 and
// the reason when something is not as it should be.
//
//   ONEMAP_URL=https://… ONEMAP_TOKEN=… [SHOTS_DIR=…] node e2e/sso.mjs CODE
import { join } from "node:path";
import { environment, launch, openPage, until } from "./browser.mjs";

const { url, shots } = environment();
const code = process.argv[2];
const browser = await launch();
const { page, context, guards } = await openPage(browser, {
  url,
  width: 1280,
  height: 800,
  anyCertificate: true,
});
function claim(held, why) {
  if (!held) throw new Error(why);
}
const shot = (name) => (shots ? page.screenshot({ path: join(shots, `${name}.png`) }) : undefined);

async function atProvider(who) {
  await page.goto("about:blank");
  await page.goto(`${url}/`);
  const button = page.getByTestId("login-sso");
  await button.waitFor();
  claim((await button.textContent()) === "统一身份认证登录", "the button says what the configuration says");
  await shot("sso-button");
  await button.click();
  await page.locator('input[name="login"]').fill(who);
  claim(new URL(page.url()).host !== new URL(url).host, "the provider is on another site");
  await page.getByText("enter", { exact: true }).click();
}

async function whoIsIn() {
  await page.getByTestId("screen").waitFor({ timeout: 30_000 });
  claim(page.url() === `${url}/`, `nothing of the way stays in the address: ${page.url()}`);
  return page.evaluate(async () => (await (await fetch("/api/v1/session")).json()).account.id);
}

const sessionCookie = async () =>
  (await context.cookies()).find((cookie) => cookie.name.endsWith("onemap_session"));

try {
  const said = { in: [] };
  await atProvider("sub-wang");
  said.in.push(await whoIsIn());
  const { name, sameSite, secure } = await sessionCookie();
  said.cookie = { name, sameSite, secure };
  // A reload begins at this page: the cookie is sent.
  await page.reload();
  await whoIsIn();

  await context.clearCookies();
  await atProvider("sub-duty");
  await page.getByTestId("sso-code").fill(code);
  claim(!(await sessionCookie()), "half is not in");
  await shot("sso-second");
  await page.getByTestId("sso-submit").click();
  said.in.push(await whoIsIn());

  await context.clearCookies();
  await atProvider("sub-li");
  const trouble = page.getByTestId("sso-trouble");
  await trouble.waitFor();
  said.trouble = await trouble.textContent();
  await shot("sso-unknown");
  await page.locator(".lang-switch").click();
  await until("the word in English", async () =>
    (await trouble.textContent()).startsWith("You are not linked"),
  );
  claim(!(await sessionCookie()), "who is unknown is not in");
  claim(guards.violations.length === 0, `the policy was violated: ${guards.violations}`);
  console.log(JSON.stringify(said));
} catch (error) {
  await shot("sso-failed");
  console.error(error.stack ?? String(error), page.url(), JSON.stringify(guards));
  process.exitCode = 1;
} finally {
  await browser.close();
}
