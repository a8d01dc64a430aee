// The first hour of a new server, as its README tells it: the set-up link makes the first account with a password and a
// second factor, who logs in by them and adds somebody of one district, who sees the own things and nothing else. One JSON
// line; exit code 1 and the reason when something is not as it should be.
//
//   ONEMAP_URL=http://… ONEMAP_TOKEN=… [SHOTS_DIR=…] node e2e/newcomer.mjs LINK DIVISION OWN_DEVICE FOREIGN_DEVICE
import { createHmac } from "node:crypto";
import { join } from "node:path";
import { environment, launch, openPage, ready, until } from "./browser.mjs";

const { url, shots } = environment();
const [link, division, own, foreign] = process.argv.slice(2);
const browser = await launch();
const all = [];
async function newPage() {
  const opened = await openPage(browser, { url });
  const shot = (name) => (shots ? opened.page.screenshot({ path: join(shots, `${name}.png`) }) : undefined);
  const there = (test) => opened.page.getByTestId(test);
  all.push(opened);
  return { ...opened, shot, there };
}
function claim(held, why) {
  if (!held) throw new Error(why);
}

/** The code of a secret (RFC 6238: SHA-1, 30 s, six digits), `steps` later than now. */
function codeOf(secret, steps = 0) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replaceAll(" ", "")]
    .map((letter) => letters.indexOf(letter).toString(2).padStart(5, "0"))
    .join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const count = Buffer.alloc(8);
  count.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const hash = createHmac("sha1", key).update(count).digest();
  const at = hash[hash.length - 1] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

try {
  const first = await newPage();
  await first.page.goto(link);
  await first.there("setup-id").fill("wang.qiang");
  await first.there("setup-name").fill("王强");
  await first.there("setup-password").fill("湟水河边的第一个长长的密码");
  await first.there("setup-again").fill("湟水河边的第一个长长的密码");
  const secret = await first.there("setup-secret").textContent();
  await first.shot("newcomer-1-link");
  await first.there("setup-submit").click();
  await first.there("setup-trouble").waitFor();
  claim((await first.there("accounts").count()) === 0, "an administrator is in without a second factor");
  await first.there("setup-code").fill(codeOf(secret));
  await first.there("setup-submit").click();
  await first.there("accounts").waitFor();

  await first.there("log-out").click();
  await first.there("login-account").fill("wang.qiang");
  await first.there("login-password").fill("湟水河边的第一个长长的密码");
  await first.there("login-submit").click();
  await first.there("login-code").fill(codeOf(secret, 1));
  await first.shot("newcomer-2-code");
  await first.there("login-submit").click();
  await first.there("accounts").waitFor();

  await first.there("new-id").fill("li.na");
  await first.there("new-name").fill("李娜");
  await first.there("new-division").fill(division);
  await first.there("new-submit").click();
  const second = await first.there("new-link").textContent();
  await first.shot("newcomer-3-account");

  const other = await newPage();
  await other.page.goto(second);
  await other.there("setup-password").fill("twelve letters and more");
  await other.there("setup-again").fill("twelve letters and more");
  await other.shot("newcomer-4-second");
  await other.there("setup-submit").click();
  await ready(other.page);
  await until("the own device is counted", async () => {
    return (await other.there("count-devices").textContent()) === "1";
  });
  const find = async (word) => {
    await other.there("search").fill(word);
    await other.page.locator(".search-hits [role=status]").waitFor();
    return other.page.locator(".search-hits button").count();
  };
  claim((await find(foreign)) === 0, "a device of another district is found");
  claim((await find(own)) === 1, "the own device is not found");
  await other.there(`hit-${own}`).click();
  await other.there("device-drawer").waitFor();
  await other.shot("newcomer-5-own");
  const seen = await other.page.evaluate(async () => {
    const get = async (path) => {
      const answer = await fetch(path);
      return { status: answer.status, body: await answer.text() };
    };
    return { devices: await get("/api/v1/devices"), page: document.body.textContent };
  });
  claim(!seen.devices.body.includes(foreign), "the list has a device of another district");
  claim(!seen.page.includes(foreign), "the page names a device of another district");
  const may = await other.page.evaluate(
    async (device) => (await fetch(`/api/v1/devices/${device}`)).status,
    foreign,
  );
  claim(may === 404, `a device of another district is ${may}`);
  for (const { guards } of all) {
    claim(guards.violations.length === 0, `the policy was violated: ${guards.violations}`);
    claim(guards.foreign.length === 0, `other hosts were asked: ${guards.foreign}`);
  }
  console.log(JSON.stringify({ first: "wang.qiang", second: "li.na" }));
} catch (error) {
  for (const [n, { page }] of all.entries())
    if (shots) await page.screenshot({ path: join(shots, `newcomer-failed-${n}.png`) });
  console.error(error.stack ?? String(error), JSON.stringify(all.map(({ guards }) => guards)));
  process.exitCode = 1;
} finally {
  await browser.close();
}
