// An operator's day on the page, in a real Chromium: what fails is found by its reason, read, tried again and seen scored; a rule is
// paused; what waits is cancelled by a search. Then each page is looked at as others have it: light, dark, on a phone, without
// script, with the keyboard alone, by a screen reader (axe-core).
//
//   node journey.mjs FOLDER SETTINGS     FOLDER: where the packages are installed; SETTINGS: JSON
//
// Settings: {chromium, profile, page, inbox, broken, shots}. Nothing sleeps: each step waits for what it is about. The first thing that
// is wrong ends it, with its step's name and a picture of the page.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const load = createRequire(process.argv[2] + '/');
const puppeteer = load('puppeteer-core');
const axe = readFileSync(load.resolve('axe-core/axe.min.js'), 'utf8');
const settings = JSON.parse(process.argv[3]);

const WAIT = 60_000;
const browser = await puppeteer.launch({
  executablePath: settings.chromium,
  userDataDir: settings.profile,
  // The sandbox needs what a container or root does not have; the page is our own.
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--no-proxy-server', '--force-color-profile=srgb'],
});

const complaints = [];
let streams = 0;
const open = async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT);
  // Puppeteer finds the element and acts on it then; between the two the page may be drawn anew, and what is clicked is not there any more.
  page.$eval = (selector, act) => page.evaluate(`(${act})(document.querySelector(${JSON.stringify(selector)}))`);
  page.$$eval = (selector, act) => page.evaluate(`(${act})([...document.querySelectorAll(${JSON.stringify(selector)})])`);
  await page.setViewport({ width: 1280, height: 900 });
  page.on('console', (told) => { if (['error', 'warn'].includes(told.type())) complaints.push(`console: ${told.text()}`); });
  page.on('pageerror', (error) => complaints.push(`script: ${error.message}`));
  page.on('requestfailed', (request) => {
    // A page that is left takes back what it has asked for.
    const text = request.failure()?.errorText ?? '';
    if (text !== 'net::ERR_ABORTED') complaints.push(`request: ${request.url()} ${text}`);
  });
  page.on('response', (answer) => {
    if ((answer.headers()['content-type'] ?? '').startsWith('text/event-stream')) streams += 1;
    if (answer.status() >= 400) complaints.push(`answer: ${answer.status()} ${answer.url()}`);
  });
  await page.evaluateOnNewDocument(() => {
    document.addEventListener('securitypolicyviolation', (it) => console.error(`policy: ${it.violatedDirective} ${it.blockedURI}`));
    // What the page was sent, before its own script sees it.
    window.EventSource = class extends EventSource {
      constructor(...all) {
        super(...all);
        window.stream = this;
        this.addEventListener('message', (event) => { window.sent = event.data; });
      }
    };
  });
  return page;
};

const page = await open();
let last = 'the start';
const step = async (name, work) => {
  last = name;
  await work();
  assert.deepEqual(complaints, [], name);
  console.log(`${name}: ok`);
};

const upload = (name, text = 'age,sex\n65,1\n') => writeFileSync(join(settings.inbox, name), text);
const go = (address) => page.goto(new URL(address, settings.page).href, { waitUntil: 'load' });
/** Clicks what leads to another page, and waits for that. At one moment: the page may be drawn anew between two. */
const follow = async (selector, at = page) => {
  await at.waitForSelector(selector);
  await Promise.all([at.waitForNavigation({ waitUntil: 'load' }), at.$eval(selector, (it) => it.click())]);
};
const until = (what, ...more) => page.waitForFunction(what, { polling: 'mutation', timeout: WAIT }, ...more);
const rows = () => page.$$eval('table.listed tbody tr', (all) => all.map((row) => row.innerText));
/** The page's own look at the ledger, so often as it takes: nobody loads it again. */
const untilRows = (count, word, path = '') => until((count, word, path) => {
  const all = [...document.querySelectorAll('table.listed tbody tr')].filter((row) => row.innerText.includes(path));
  return all.length === count && all.every((row) => row.querySelector('.status').innerText === word);
}, count, word, path);
const query = () => new URL(page.url()).searchParams.get('q');
const confirm = async (reason, told) => {
  await page.waitForSelector('#reason');
  assert.ok(await page.evaluate(() => document.activeElement.id === 'reason'), 'the reason can be typed at once');
  await page.type('#reason', reason);
  await follow('main form button');
  assert.match(await page.$eval('main', (it) => it.innerText), told);
};

/** What people see, and what those hear who do not. */
const examine = async (name, at = page) => {
  const all = {
    light: { width: 1280, height: 900, scheme: 'light' },
    dark: { width: 1280, height: 900, scheme: 'dark' },
    phone: { width: 360, height: 780, scheme: 'light', isMobile: true, hasTouch: true },
  };
  for (const [how, { scheme, ...viewport }] of Object.entries(all)) {
    await at.setViewport({ ...viewport, deviceScaleFactor: 1 });
    await at.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    const wide = await at.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(wide[0] <= wide[1], `${name}, ${how}: ${wide[0]} pixels of ${wide[1]}, so that one must scroll sideways`);
    await at.screenshot({ path: join(settings.shots, `${name}-${how}.png`), fullPage: true });
    await at.evaluate(axe);
    const found = await at.evaluate(() => axe.run(document, { resultTypes: ['violations', 'incomplete'] }));
    const bad = found.violations.filter((it) => ['serious', 'critical'].includes(it.impact));
    const told = bad.map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => node.html).slice(0, 3).join(' ')}`);
    assert.deepEqual(told, [], `${name}, ${how}`);
    // A check that looks at nothing finds nothing.
    assert.ok(found.passes.length > 10, `${name}, ${how}: axe-core looked at little`);
  }
  await at.setViewport({ width: 1280, height: 900 });
  await at.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'light' }]);
};

try {
  await step('an empty ledger says what to do', async () => {
    await go('./');
    assert.match(await page.$eval('main', (it) => it.innerText), /No scoring yet/);
    await examine('empty');
  });

  await step('failures are found by their reason', async () => {
    for (const name of ['a.csv', 'b.csv', 'c.csv']) upload(name);
    await until(() => document.querySelector('#attention')?.innerText.includes('3 failed under rule claims'));
    assert.match(await page.$eval('#attention', (it) => it.innerText), /no column called sex/);
    await examine('failures');
    await follow('#attention li a');
    assert.match(query(), /^finding:[0-9a-f]{8}$/);
    await untilRows(3, 'failed');
  });

  await step('one of them is read', async () => {
    const before = query();
    await follow('table.listed tbody tr td a');
    const text = await page.$eval('#scoring', (it) => it.innerText);
    assert.match(text, /no column called sex/);
    assert.match(text, /History/);
    await examine('failed');
    await page.goBack({ waitUntil: 'load' });
    assert.equal(query(), before, 'the way back leads to the same search');
    await untilRows(3, 'failed');
  });

  await step('all of them are tried again, with a reason, and are seen scored', async () => {
    rmSync(settings.broken);
    await go('./');
    await follow('#attention li button[value=retry]');
    assert.match(await page.$eval('main', (it) => it.innerText), /3 would be retried; nothing was changed/);
    await examine('confirm');
    await confirm('the column is back', /3 retried, 0 left alone/);
    await examine('done');
    await follow('main p:last-child a');
    await untilRows(3, 'scored');
    await follow('table.listed tbody tr td a');
    assert.match(await page.$eval('#scoring', (it) => it.innerText), /the column is back/);
    await examine('scored');
    await follow('a[href$="/results"]');
    assert.match(await page.$eval('main', (it) => it.innerText), /predictions\.csv · 13 bytes[^]*age,sex\n65,1/);
    await examine('results');
  });

  await step('a rule is paused', async () => {
    await go('./');
    await follow('#limits form:has(input[name=rule][value=claims]) button[value=pause]');
    await confirm('the workspace moves', /rule claims: paused/);
    await go('./');
    assert.match(await page.$eval('#limits', (it) => it.innerText), /paused[^]*the workspace moves/);
  });

  await step('what is used stays when the page is read again', async () => {
    await go('./');
    await page.waitForSelector('input[name=id]');
    await page.$eval('input[name=id]', (it) => it.click());
    const ticked = await page.$eval('input[name=id]', (box) => box.value);
    const link = await page.$eval('table.listed tbody tr:last-child td a', (it) => { it.focus(); return it.getAttribute('href'); });
    upload('d.csv');
    await untilRows(1, 'queued', 'd.csv');
    const kept = await page.evaluate((ticked) => [document.activeElement.getAttribute('href'),
      document.querySelector(`input[value="${ticked}"]`).checked, document.querySelectorAll('input[name=id]:checked').length], ticked);
    assert.deepEqual(kept, [link, true, 1]);
    // Text that is marked, and a word that is typed: the rest is read again around them.
    await page.evaluate(() => {
      const text = document.querySelector('table.listed tbody td a').firstChild;
      getSelection().setBaseAndExtent(text, 0, text, 3);
    });
    const counted = () => page.$eval('#counts', (it) => it.innerText.match(/queued\s+(\d+)/)[1]);
    assert.equal(await counted(), '1');
    const marked = await page.evaluate(() => getSelection().toString());
    upload('e.csv');
    await until(() => /queued\s+2/.test(document.querySelector('#counts').innerText));
    assert.equal(await page.evaluate(() => getSelection().toString()), marked);
    await page.evaluate(() => getSelection().removeAllRanges());
    await page.type('#q', 'status:que');
    upload('f.csv');
    await until(() => /queued\s+3/.test(document.querySelector('#counts').innerText));
    assert.deepEqual(await page.$eval('#q', (it) => [it.value, it === document.activeElement]), ['status:que', true]);
  });

  await step('a search is in the address, and lasts', async () => {
    await go('./');
    await page.type('#q', 'status:queued rule:claims');
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    assert.equal(query(), 'status:queued rule:claims');
    await untilRows(3, 'queued');
    await page.reload({ waitUntil: 'load' });
    assert.equal(await page.$eval('#q', (it) => it.value), 'status:queued rule:claims');
    assert.equal((await rows()).length, 3);
    await follow('#counts li:first-child a');
    assert.equal((await rows()).length, 6);
    await page.goBack({ waitUntil: 'load' });
    assert.deepEqual([query(), (await rows()).length], ['status:queued rule:claims', 3]);
  });

  await step('a search is kept and forgotten by its browser', async () => {
    await page.$eval('[data-views] button', (it) => it.click());
    await go('./');
    await follow('[data-kept] a');
    assert.equal(query(), 'status:queued rule:claims');
    await page.$eval('[data-kept] button', (it) => it.click());
    assert.equal(await page.$eval('[data-views]', (it) => it.innerText.includes('rule:claims')), false);
  });

  await step('all that match are cancelled', async () => {
    await page.click('input[name=all]');
    await follow('fieldset.orders button[value=cancel]');
    assert.match(await page.$eval('main', (it) => it.innerText), /3 would be cancelled; nothing was changed/);
    await confirm('they were a test', /3 cancelled, 0 left alone/);
    await go('./?q=status%3Acancelled');
    await untilRows(3, 'cancelled');
    await go('./?q=status%3Aqueued');
    assert.match(await page.$eval('#scorings', (it) => it.innerText), /No scoring matches/);
    await examine('none');
  });

  await step('refreshing can be paused, and that is remembered', async () => {
    await go('./');
    await page.waitForSelector('[data-toggle]:not([hidden])');
    await page.click('[data-toggle]');
    await page.reload({ waitUntil: 'load' });
    assert.equal(await page.$eval('[data-toggle]', (it) => it.getAttribute('aria-pressed')), 'true');
    await page.click('[data-toggle]');
    upload('g.csv');
    await untilRows(1, 'queued', 'g.csv');
    assert.ok(streams > 0, 'what changes comes by a stream');
  });

  await step('a row that one look does not show is back as it was', async () => {
    await go('./');
    await page.waitForFunction(() => window.stream && document.querySelector('table.listed input[name=id]'));
    const told = await page.evaluate(() => {
      const row = document.querySelector('table.listed tbody tr:last-child');
      const [link, box] = [row.querySelector('td a'), row.querySelector('input[name=id]')];
      box.click();
      link.focus();
      const found = () => document.querySelector(`input[value="${box.value}"]`);
      const whole = document.documentElement.outerHTML;
      const without = new DOMParser().parseFromString(whole, 'text/html');
      without.querySelector(`input[value="${box.value}"]`).closest('tr').remove();
      const send = (data) => window.stream.dispatchEvent(new MessageEvent('message', { data }));
      send(without.documentElement.outerHTML);
      const between = found();
      send(whole);
      return [between, found().checked, document.activeElement.getAttribute('href') === link.getAttribute('href')];
    });
    assert.deepEqual(told, [null, true, true]);
  });

  await step('what is pressed is there when it is let go, and what came meanwhile is shown then', async () => {
    await go('./');
    await page.waitForSelector('table.listed tbody tr input[name=id]');
    // At one moment: a mouse goes to a place, and the page may be drawn anew before it is there.
    const value = await page.evaluate(() => {
      window.held = document.querySelector('table.listed tbody tr:last-child input[name=id]');
      window.held.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }));
      return window.held.value;
    });
    upload('h.csv');
    // Before the script of the page has answered a stream that tells of it, nothing is shown.
    await page.waitForFunction(() => window.sent?.includes('h.csv'), { polling: 50, timeout: WAIT });
    const held = await page.evaluate(() => [window.held.isConnected, document.body.innerText.includes('h.csv')]);
    assert.deepEqual(held, [true, false]);
    await page.evaluate(() => {
      window.held.dispatchEvent(new PointerEvent('pointerup', { bubbles: true }));
      window.held.click();
    });
    await untilRows(1, 'queued', 'h.csv');
    assert.equal(await page.$eval(`input[value="${value}"]`, (it) => it.checked), true, 'it was a click');
  });

  await step('the keyboard alone is enough', async () => {
    await go('./');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
    const seen = new Set();
    for (let n = 0; n < 200; n += 1) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const it = document.activeElement;
        const style = getComputedStyle(it);
        const shown = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
        return it === document.body ? null : [`${it.tagName} ${it.name ?? ''} ${it.value ?? ''} ${it.getAttribute('href') ?? ''}`, shown];
      });
      if (!at) break;
      assert.ok(at[1], `${at[0]} does not show that it has the focus`);
      seen.add(at[0]);
    }
    for (const wanted of ['INPUT q', 'BUTTON verb retry', 'A ', 'INPUT id', 'BUTTON verb resume']) {
      assert.ok([...seen].some((it) => it.startsWith(wanted)), `${wanted} is not reached: ${[...seen].join(', ')}`);
    }
  });

  await step('a page that is not there says so', async () => {
    await page.goto(new URL('nothing', settings.page).href);
    assert.ok(complaints.every((it) => it.includes('404')), complaints.join('; '));
    complaints.length = 0;
    await examine('problem');
    complaints.length = 0;
  });

  await step('everything works without a script', async () => {
    const plain = await open();
    await plain.setJavaScriptEnabled(false);
    await plain.goto(new URL('./?q=status%3Aqueued', settings.page).href);
    await plain.click('input[name=id]');
    await follow('fieldset.orders button[value=cancel]', plain);
    await plain.type('#reason', 'by hand');
    await follow('main form button', plain);
    const told = await (await plain.$('main')).evaluate((it) => it.innerText);
    assert.match(told, /cancelled/);
    await plain.goto(new URL('./?q=status%3Acancelled', settings.page).href);
    assert.equal((await plain.$$('table.listed tbody tr')).length, 4);
    await plain.close();
  });
} catch (error) {
  await page.screenshot({ path: join(settings.shots, 'wrong.png'), fullPage: true }).catch(() => {});
  const text = await page.$eval('body', (it) => it.innerText).catch(() => '');
  console.error(`${last}: ${error.message}\n${complaints.join('\n')}\n${page.url()}\n${text}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
