// Opens a page in a headless browser and prints as JSON what a reader would meet.
// node look.cjs TOOLS BROWSER PAGE OUT WIDTH [axe]
const { createRequire } = require('module');
const fs = require('fs');
const path = require('path');
const { pathToFileURL } = require('url');

const [tools, browserPath, page, out, width, axe] = process.argv.slice(2);
const tool = createRequire(path.join(tools, 'package.json'));
const { chromium } = tool('playwright-core');

// Whether the part of the page that can be clicked is wider than the window.
const overflow = () => document.documentElement.scrollWidth - window.innerWidth;

async function audit(tab) {
  await tab.evaluate(() => document.querySelectorAll('details').forEach((d) => { d.open = true; }));
  const source = fs.readFileSync(tool.resolve('axe-core/axe.min.js'), 'utf8');
  const found = await tab.evaluate(`${source}; axe.run()`);
  const told = (rule) => ({ id: rule.id, impact: rule.impact, first: rule.nodes[0].html.slice(0, 300) });
  return { violations: found.violations.map(told), passes: found.passes.length };
}

// Presses Tab until an element has the focus; how often, or null.
async function tabTo(tab, selector) {
  for (let i = 1; i !== 400; i += 1) {
    await tab.keyboard.press('Tab');
    if (await tab.evaluate((s) => document.activeElement.matches(s), selector)) { return i; }
  }
  return null;
}

const visible = (tab) => tab.evaluate(() =>
  Array.from(document.querySelectorAll('details.slices table')).map((table) =>
    Array.from(table.tBodies[0].rows).filter((row) => row.checkVisibility())
      .map((row) => Array.from(row.cells).map((cell) => cell.textContent.trim()))));

// Filters and sorts with the keys alone.
async function keys(tab) {
  const told = { tabs: await tabTo(tab, 'input[name=text]') };
  if (told.tabs === null) { return null; }
  const status = () => tab.textContent('form.filter [role=status]');
  told.status = [await status()];
  await tab.keyboard.type('UA');
  told.status.push(await status());
  told.filtered = await visible(tab);
  told.plots = await tab.locator('figure[data-by]:not([hidden])').count();
  await tabTo(tab, 'form.filter button');
  await tab.keyboard.press('Enter');
  await tab.waitForTimeout(50);
  told.status.push(await status());
  told.plots_after = await tab.locator('figure[data-by]:not([hidden])').count();
  told.heads = await tab.locator('details.slices').first().locator('thead th button').allTextContents();
  await tabTo(tab, 'details.slices thead th.n button');
  told.sorted = [];
  for (let i = 0; i !== 2; i += 1) {
    await tab.keyboard.press('Enter');
    const aria = await tab.evaluate(() => document.activeElement.closest('th').getAttribute('aria-sort'));
    told.sorted.push([aria, (await visible(tab))[0]]);
  }
  return told;
}

async function main() {
  const sandbox = process.getuid() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath: browserPath, args: sandbox });
  const url = pathToFileURL(page).href;
  const told = { console: [], requests: [] };
  const tab = await browser.newPage({ viewport: { width: Number(width), height: 900 } });
  tab.on('console', (message) => told.console.push(`${message.type()}: ${message.text()}`));
  tab.on('pageerror', (error) => told.console.push(`error: ${error}`));
  tab.on('request', (request) => told.requests.push(request.url() === url ? 'itself' : request.url()));
  await tab.goto(url);
  told.overflow = await tab.evaluate(overflow);
  await tab.screenshot({ path: path.join(out, `${width}.png`), fullPage: true });
  told.keys = await keys(tab);
  told.axe = axe ? await audit(tab) : null;
  await tab.close();
  const paper = await browser.newPage({ viewport: { width: 700, height: 1000 } });
  await paper.goto(url);
  await paper.emulateMedia({ media: 'print' });
  told.paper_overflow = await paper.evaluate(overflow);
  await paper.screenshot({ path: path.join(out, 'paper.png'), fullPage: true });
  await paper.pdf({ path: path.join(out, 'page.pdf'), format: 'A4', printBackground: true });
  const plain = await browser.newContext({ javaScriptEnabled: false });
  const without = await plain.newPage();
  await without.goto(url);
  told.without_script = {
    form: await without.locator('form.filter').isVisible().catch(() => false),
    rows: await without.locator('table.filterable tbody tr').count(),
    hidden: await without.locator('[hidden]:not(form)').count(),
  };
  await browser.close();
  console.log(JSON.stringify(told));
}

main().catch((error) => { console.error(error); process.exit(1); });
