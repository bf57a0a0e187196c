// A consumer that trusts nobody but the official library: what receive.py is for Python, this is for JavaScript.
//
//     node receive.js SECRET...
//
// Prints its port, then one JSON object a line for each delivery: the event's id and body, by which of the secrets it
// verified, and whether the library refuses the same delivery once its body, its id, its time or its signature is
// altered. Answers 204 to what verified and 401 to the rest.
const http = require("node:http");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const verifiers = process.argv.slice(2).map((secret) => new Webhook(secret));
const NAMES = ["webhook-id", "webhook-timestamp", "webhook-signature"];

function verifies(verifier, body, headers) {
  try {
    verifier.verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

// The same delivery with one thing changed, by name.
function altered(body, headers) {
  const signature = headers["webhook-signature"];
  const time = Number(headers["webhook-timestamp"]);
  // Not the last digits, two of whose bits mean nothing; of every signature, since one that verifies is enough.
  const flipped = signature.split(" ").map((s) => s.slice(0, 5) + (s[5] !== "A" ? "A" : "B") + s.slice(6));
  return {
    body: [body.replace('"type"', '"typo"'), headers],
    id: [body, { ...headers, "webhook-id": headers["webhook-id"] + "0" }],
    timestamp: [body, { ...headers, "webhook-timestamp": String(time - 1) }],
    signature: [body, { ...headers, "webhook-signature": flipped.join(" ") }],
    old: [body, { ...headers, "webhook-timestamp": String(time - 400) }],
  };
}

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    const headers = Object.fromEntries(NAMES.map((name) => [name, request.headers[name] ?? ""]));
    const verifiedBy = verifiers.flatMap((verifier, n) => (verifies(verifier, body, headers) ? [n] : []));
    const refused = {};
    for (const [what, changed] of Object.entries(altered(body, headers))) {
      refused[what] = !verifiers.some((verifier) => verifies(verifier, ...changed));
    }
    const told = { id: headers["webhook-id"], verifiedBy, refused };
    told.signatures = headers["webhook-signature"].split(" ").length;
    // The event as it came: read and written again here, 3.0 would become 3.
    process.stdout.write(`{"event":${body},${JSON.stringify(told).slice(1)}\n`);
    response.writeHead(verifiedBy.length > 0 ? 204 : 401, { "content-length": 0 });
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
