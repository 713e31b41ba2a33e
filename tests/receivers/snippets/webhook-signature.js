const crypto = require('node:crypto');

const TOLERANCE_S = 300;

/**
 * Returns whether the request was signed with `secret`.
 * `headers` is `request.headers` of Node; `body` is a Buffer with the raw bytes, before any parsing.
 */
function verify(headers, body, secret) {
  const id = headers['webhook-id'] ?? '';
  const timestamp = headers['webhook-timestamp'] ?? '';
  const signatures = headers['webhook-signature'] ?? ''; // separated by spaces: two while a secret is rotated
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  if (key.length === 0 || !/^[0-9]{1,12}$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const hmac = crypto.createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body);
  const expected = `v1,${hmac.digest('base64')}`;
  return signatures.split(' ').some((each) => equal(each, expected));
}

function equal(received, expected) {
  const [a, b] = [Buffer.from(received), Buffer.from(expected)];
  return a.length === b.length && crypto.timingSafeEqual(a, b);
}

module.exports = { verify };

// With Express:
//
// app.post('/webhooks', express.raw({ type: 'application/json', limit: '2mb' }), (req, res) => {
//   if (!verify(req.headers, req.body, process.env.WEBHOOK_SECRET)) return res.sendStatus(401);
//   const event = JSON.parse(req.body);
//   res.sendStatus(204);
// });
