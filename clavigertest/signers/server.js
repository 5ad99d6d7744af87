// Signs and verifies webhooks with the libraries that vendors publish for it: a JSON
// document in each line of the input, {do, library, ...}, and one in each line of the
// output, {headers, body} or {error}. Bodies are base64.
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";

const now = (args) => args.timestamp ?? Math.floor(Date.now() / 1000);

// The two that can both sign and verify as Standard Webhooks say, under their own names
// of the headers.
function standard(library, prefix) {
  const load = async (secret) => new (await import(library)).default.Webhook(secret);
  return {
    async sign(args, body) {
      const id = args.id ?? "msg_1";
      const signature = (await load(args.secret)).sign(id, new Date(now(args) * 1000), body);
      return { [`${prefix}-id`]: id, [`${prefix}-timestamp`]: `${now(args)}`, [`${prefix}-signature`]: signature };
    },
    async verify(args, body) {
      (await load(args.secret)).verify(body, args.headers);
    },
  };
}

const shopify = async (secret) => {
  await import("@shopify/shopify-api/adapters/node");
  const { shopifyApi, ApiVersion } = await import("@shopify/shopify-api");
  return shopifyApi({
    apiKey: "key", apiSecretKey: secret, apiVersion: Object.values(ApiVersion)[0], hostName: "app.example.com", isEmbeddedApp: false,
    logger: { log: () => {} },
  });
};

const must = (fits) => {
  if (!fits) throw new Error("the signature does not fit");
};

const libraries = {
  standardwebhooks: standard("standardwebhooks", "webhook"),
  svix: standard("svix", "svix"),
  stripe: {
    async sign(args, body) {
      const { default: Stripe } = await import("stripe");
      const header = new Stripe("sk_test_none").webhooks.generateTestHeaderString({ payload: body, secret: args.secret, timestamp: now(args) });
      return { "stripe-signature": header };
    },
    async verify(args, body) {
      const { default: Stripe } = await import("stripe");
      new Stripe("sk_test_none").webhooks.constructEvent(body, args.headers["stripe-signature"], args.secret);
    },
  },
  octokit: {
    async sign(args, body) {
      const { sign } = await import("@octokit/webhooks-methods");
      return { "x-hub-signature-256": await sign(args.secret, body) };
    },
    async verify(args, body) {
      const { verify } = await import("@octokit/webhooks-methods");
      must(await verify(args.secret, body, args.headers["x-hub-signature-256"]));
    },
  },
  twilio: {
    // With params it is a form, else a body whose hash stands in the address.
    async sign(args, body) {
      const { default: twilio } = await import("twilio/lib/webhooks/webhooks.js");
      if (args.params) {
        return { "x-twilio-signature": twilio.getExpectedTwilioSignature(args.secret, args.url, args.params) };
      }
      const url = new URL(args.url);
      url.searchParams.set("bodySHA256", twilio.getExpectedBodyHash(body));
      return { "x-twilio-signature": twilio.getExpectedTwilioSignature(args.secret, `${url}`, {}), url: `${url}` };
    },
    async verify(args, body) {
      const { default: twilio } = await import("twilio/lib/webhooks/webhooks.js");
      const { url, "x-twilio-signature": signature } = args.headers;
      must(new URL(url).searchParams.has("bodySHA256")
        ? twilio.validateRequestWithBody(args.secret, signature, url, body)
        : twilio.validateRequest(args.secret, signature, url, Object.fromEntries(new URLSearchParams(body))));
    },
  },
  slack: {
    // The library only verifies, so what is signed here has passed it.
    async sign(args, body) {
      const timestamp = `${now(args)}`;
      const signature = `v0=${createHmac("sha256", args.secret).update(`v0:${timestamp}:${body}`).digest("hex")}`;
      const headers = { "x-slack-request-timestamp": timestamp, "x-slack-signature": signature };
      await verifySlack(args.secret, headers, body, timestamp * 1000);
      return headers;
    },
    verify: (args, body) => verifySlack(args.secret, args.headers, body, Date.now()),
  },
  shopify: {
    // The library only verifies, so what is signed here has passed it.
    async sign(args, body) {
      const headers = {
        "x-shopify-hmac-sha256": createHmac("sha256", args.secret).update(body, "utf8").digest("base64"),
        "x-shopify-topic": args.topic ?? "orders/create",
        "x-shopify-shop-domain": args.shop ?? "shop.myshopify.com",
        "x-shopify-api-version": args.version ?? "2026-01",
        "x-shopify-webhook-id": args.id ?? "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
      };
      await verifyShopify(args.secret, headers, body);
      return headers;
    },
    verify: (args, body) => verifyShopify(args.secret, args.headers, body),
  },
};

async function verifySlack(secret, headers, body, nowMilliseconds) {
  const { default: bolt } = await import("@slack/bolt");
  const given = { ...headers, "x-slack-request-timestamp": Number(headers["x-slack-request-timestamp"]) };
  bolt.verifySlackRequest({ signingSecret: secret, body, headers: given, nowMilliseconds });
}

async function verifyShopify(secret, headers, body) {
  const answer = { setHeader: () => {}, end: () => {} };
  const said = await (await shopify(secret)).webhooks.validate({
    rawBody: body, rawRequest: { method: "POST", url: "/", headers }, rawResponse: answer,
  });
  if (!said.valid) throw new Error(said.reason);
}

async function answer(args) {
  const library = libraries[args.library];
  if (!library) throw new Error(`no library ${args.library}`);
  const body = Buffer.from(args.body ?? "", "base64").toString("utf8");
  if (args.do === "verify") {
    await library.verify(args, body);
    return {};
  }
  const sent = args.params ? `${new URLSearchParams(args.params)}` : body;
  return { headers: await library.sign(args, sent), body: Buffer.from(sent, "utf8").toString("base64") };
}

for await (const line of createInterface({ input: process.stdin })) {
  const said = await answer(JSON.parse(line)).catch((e) => ({ error: `${e.message ?? e}` || "refused" }));
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
