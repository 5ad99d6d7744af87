// Drives Chromium for package browser. Its first line of input is {"chromium": path,
// "args": [...]}, answered by {"ready": true}. Every further line is {"id", "op", ...}
// and is answered, in any order, by a line {"id", "value"} or {"id", "error"}. It ends,
// and Chromium with it, when its input does, so that neither outlives the test.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const patience = 60_000; // milliseconds for anything to appear
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

const pages = new Map(); // number -> {page, context, status}
const people = new Map(); // context -> {requests, faults}
let browser;
let last = 0;

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

// watch notes what happens in one person's browser.
function watch(context) {
  const seen = { requests: [], faults: [], refused: new Set() };
  people.set(context, seen);
  context.on('request', (r) => seen.requests.push(r.url()));
  context.on('response', (r) => {
    if (r.request().isNavigationRequest() && r.status() >= 400) seen.refused.add(r.url());
  });
  context.on('console', (m) => {
    // Chromium calls a page with an error status a fault of its own; it is an answer.
    const answer = m.text().startsWith('Failed to load resource') && seen.refused.has(m.location().url);
    if (m.type() === 'error' && !answer) seen.faults.push(`${m.text()} (${m.location().url})`);
  });
  context.on('weberror', (e) => seen.faults.push(String(e.error())));
}

function keep(page, context) {
  const number = ++last;
  const entry = { page, context, status: 0 };
  pages.set(number, entry);
  page.on('response', (r) => {
    if (r.request().isNavigationRequest() && r.frame() === page.mainFrame()) entry.status = r.status();
  });
  return number;
}

// focused runs in the page: what has the focus, and whether a person sees that it has.
function focused() {
  const e = document.activeElement;
  if (!e || e === document.body) return { tag: '', name: '', ring: false };
  const style = getComputedStyle(e);
  const label = e.labels?.[0]?.textContent || e.getAttribute('aria-label') || e.textContent || e.id;
  const ring = style.outlineStyle === 'auto' || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2);
  return { tag: e.tagName.toLowerCase(), name: label.replace(/\s+/g, ' ').trim(), ring };
}

// field finds an input by its label, or by the placeholder of one that has none.
const field = (on, label) => on.getByLabel(label, { exact: true }).or(on.getByPlaceholder(label, { exact: true }));

const operations = {
  async open({ view }) {
    const context = await browser.newContext({
      viewport: { width: view.width, height: view.height },
      colorScheme: view.dark ? 'dark' : 'light',
      reducedMotion: view.moving ? 'no-preference' : 'reduce',
      javaScriptEnabled: !view.noScript,
      timezoneId: view.zone || 'UTC',
      locale: 'en-US',
      ignoreHTTPSErrors: true,
    });
    context.setDefaultTimeout(patience);
    watch(context);
    return keep(await context.newPage(), context);
  },
  async look({ view }, { page }) {
    await page.setViewportSize({ width: view.width, height: view.height });
    await page.emulateMedia({ colorScheme: view.dark ? 'dark' : 'light', reducedMotion: view.moving ? 'no-preference' : 'reduce' });
  },
  tab: async (_, { context }) => keep(await context.newPage(), context),
  goto: ({ url }, { page }) => page.goto(url, { waitUntil: 'load' }).then(() => null),
  click: ({ role, name }, { on }) => on.getByRole(role, { name, exact: true }).click(),
  async popup({ role, name }, { page, on, context }) {
    const [opened] = await Promise.all([page.waitForEvent('popup'), on.getByRole(role, { name, exact: true }).click()]);
    return keep(opened, context);
  },
  fill: ({ label, value }, { on }) => field(on, label).fill(value),
  select: ({ label, value }, { on }) => on.getByLabel(label, { exact: true }).selectOption({ label: value }).then(() => null),
  upload: ({ label, value }, { on }) => on.getByLabel(label, { exact: true }).setInputFiles(value),
  press: ({ key }, { page }) => page.keyboard.press(key),
  type: ({ text }, { page }) => page.keyboard.type(text),
  see: ({ text }, { on }) => on.getByText(text).filter({ visible: true }).first().waitFor(),
  seeRole: ({ role, name }, { on }) => on.getByRole(role, { name, exact: true }).first().waitFor(),
  at: ({ prefix }, { on }) => on.waitForURL((u) => u.href.startsWith(prefix)),
  until: ({ script }, { on }) => on.waitForFunction(script).then(() => null),
  url: async (_, { on }) => on.url(),
  status: async (_, { status }) => status,
  text: (_, { on }) => on.locator('body').innerText(),
  tree: (_, { on }) => on.locator('body').ariaSnapshot(),
  focus: (_, { on }) => on.evaluate(focused),
  eval: ({ script }, { on }) => on.evaluate(script),
  sideways: (_, { page }) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
  screenshot: ({ path }, { page }) => page.screenshot({ path, fullPage: true, animations: 'disabled', caret: 'hide' }).then(() => null),
  async axe(_, { page }) {
    // The debugger's evaluation is not held back by the page's content security policy.
    if (!(await page.evaluate('Boolean(globalThis.axe)'))) await page.evaluate(axe);
    return page.evaluate(async (values) => {
      const { violations } = await globalThis.axe.run(document, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] });
      return violations.map((v) => ({ rule: v.id, help: v.help, nodes: v.nodes.map((n) => `${n.target.join(' ')}: ${n.failureSummary}`) }));
    }, rules);
  },
  requests: async (_, { context }) => people.get(context).requests,
  faults: async (_, { context }) => people.get(context).faults,
  cookies: (_, { context }) => context.cookies(),
  storage: (_, { page }) => page.evaluate(() => ({ local: { ...localStorage }, session: { ...sessionStorage } })),
  closed: async (_, { page }) => page.isClosed(),
  gone: (_, { page }) => (page.isClosed() ? null : page.waitForEvent('close').then(() => null)),
  // A device for passkeys, in the person's place: it is always there and knows them.
  async device(_, { page, context, number }) {
    const keys = await context.newCDPSession(page);
    await keys.send('WebAuthn.enable');
    const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
    const { authenticatorId } = await keys.send('WebAuthn.addVirtualAuthenticator', { options });
    Object.assign(pages.get(number), { keys, device: authenticatorId });
  },
  present: ({ present }, { keys, device }) => keys.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId: device, enabled: present }).then(() => null),
  recognizes: ({ recognizes }, { keys, device }) => keys.send('WebAuthn.setUserVerified', { authenticatorId: device, isUserVerified: recognizes }).then(() => null),
  async counter({ count }, { keys, device }) {
    const { credentials } = await keys.send('WebAuthn.getCredentials', { authenticatorId: device });
    for (const credential of credentials) {
      await keys.send('WebAuthn.removeCredential', { authenticatorId: device, credentialId: credential.credentialId });
      await keys.send('WebAuthn.addCredential', { authenticatorId: device, credential: { ...credential, signCount: count } });
    }
    return credentials.length;
  },
  close: (_, { page }) => page.close(),
  leave: (_, { context }) => context.close(),
};

// Of what a page that no longer exists is asked, it can still tell these.
async function where({ page }) {
  if (page.isClosed()) return 'The window is closed.';
  const text = await page.locator('body').innerText({ timeout: 1000 }).catch(() => '');
  return `At ${page.url()} there is:\n${text.slice(0, 3000)}`;
}

async function answer(line) {
  const { id, op, page: number, frame, ...input } = JSON.parse(line);
  const entry = pages.get(number);
  try {
    const on = frame ? await (await entry.page.locator(frame).elementHandle()).contentFrame() : entry?.page;
    say({ id, value: (await operations[op](input, { ...entry, on, number })) ?? null });
  } catch (e) {
    say({ id, error: `${e.message}\n${entry ? await where(entry) : ''}` });
  }
}

async function start(line) {
  const { chromium: executablePath, args } = JSON.parse(line);
  browser = await chromium.launch({ executablePath, args, headless: true, timeout: 100_000 });
  say({ ready: true });
}

const lines = createInterface({ input: process.stdin });
let started;
lines.on('line', (line) => {
  if (started) started.then(() => answer(line));
  else started = start(line).catch((e) => { console.error(e); process.exit(1); });
});
lines.on('close', async () => {
  await started;
  await browser?.close();
  process.exit(0);
});
