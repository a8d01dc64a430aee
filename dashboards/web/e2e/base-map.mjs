// Chooses a base map as a person would: it is drawn and remembered (`choose`), or it fails and the screen says so
// (`fail`). One JSON line; exit code 1 and the reason when something is not as it should be.
//
//   ONEMAP_URL=… ONEMAP_TOKEN=… [SHOTS_DIR=…] node e2e/base-map.mjs choose|fail
import { join } from "node:path";
import { environment, launch, openPage, ready, until } from "./browser.mjs";

const { url, token, shots } = environment();
const step = process.argv[2];
const browser = await launch();
const { page, guards } = await openPage(browser, { url, width: 1280, height: 800 });
const chooser = page.getByTestId("base-chooser");
const tiles = [];
page.on("response", (response) => {
  if (new URL(response.url()).pathname.startsWith("/basemaps/")) tiles.push(response.status());
});
function claim(held, why) {
  if (!held) throw new Error(why);
}
const shot = (name) => (shots ? page.screenshot({ path: join(shots, `${name}.png`) }) : undefined);

try {
  await page.goto(`${url}/#token=${token}`);
  await ready(page);
  await chooser.waitFor();
  claim((await chooser.inputValue()) === "", "own layers are what is shown without a choice");
  claim(tiles.length === 0, "nothing is fetched of a base map that nobody chose");
  const said = {};
  if (step === "choose") {
    await chooser.selectOption("天地图");
    await until("tiles of both layers", () => tiles.filter((status) => status === 200).length >= 2);
    await page.getByTestId("base-attribution").waitFor();
    await shot("base-map");
    await page.reload();
    await ready(page);
    await until("the choice of before", async () => (await chooser.inputValue()) === "天地图");
    said.n_tiles = tiles.filter((status) => status === 200).length;
    await chooser.selectOption("");
    await page.getByTestId("base-attribution").waitFor({ state: "detached" });
  } else {
    await chooser.selectOption("plain");
    const word = page.getByTestId("base-failed");
    await word.waitFor();
    said.said = await word.textContent();
    claim(said.said.includes("plain"), said.said);
    claim((await chooser.inputValue()) === "", "own layers are chosen again");
    await page.evaluate(() => localStorage.getItem("onemap.base-map"));
    await shot("base-map-failed");
    await page.getByTestId("lang-switch").click();
    said.said_en = await until("the word in English", async () => {
      const text = await word.textContent();
      return text.startsWith("The base map") ? text : null;
    });
  }
  claim(guards.foreign.length === 0, `other hosts were asked: ${guards.foreign}`);
  claim(guards.violations.length === 0, `the policy was violated: ${guards.violations}`);
  console.log(JSON.stringify(said));
} catch (error) {
  console.error(error.stack ?? String(error), JSON.stringify({ tiles, guards }));
  process.exitCode = 1;
} finally {
  await browser.close();
}
