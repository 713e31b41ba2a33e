// Starts one receiver: node serve.js <receiver>. The secret is in WEBHOOK_SECRET; the port is printed when it listens;
// the process ends when its stdin does.
//
// The snippets are the products' own, unchanged. All that is added around them: a larger body limit (Express stops at
// 100 kB), a port, and the lines that a snippet leaves to its reader.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const realExpress = require('express');
const standardwebhooks = require('standardwebhooks');
const svix = require('svix');

const LIMIT = '2mb';
const SECRET = process.env.WEBHOOK_SECRET;

const express = Object.assign(() => realExpress(), realExpress, {
  raw: (options) => realExpress.raw({ limit: LIMIT, ...options }),
});
const requireForSnippet = (name) => (name === 'express' ? express : require(name));
const snippet = (name) => fs.readFileSync(path.join(__dirname, 'snippets', name), 'utf8');

function voxscriber() {
  const run = new Function('require', 'console', `${snippet('voxscriber.express.txt')}\nreturn app;`);
  return run(requireForSnippet, { log() {} });
}

function efficlose() {
  // The snippet is a function and then the lines "in your webhook handler": together the body of a handler.
  const handler = new Function('require', 'req', 'res', 'webhookSecret', snippet('efficlose.express.txt'));
  const app = realExpress();
  app.use(realExpress.json({ limit: LIMIT }));
  app.post('/', (req, res) => {
    handler(require, req, res, SECRET);
    if (!res.headersSent) res.status(200).send('OK');
  });
  return app;
}

// Answers 200 when `verify(body, headers)` returns and 401 when it throws.
function verifying(verify) {
  const app = realExpress();
  app.post('/', realExpress.raw({ type: 'application/json', limit: LIMIT }), (req, res) => {
    try {
      verify(req.body, req.headers);
    } catch (error) {
      return res.status(401).send(String(error));
    }
    res.status(200).send('OK');
  });
  return app;
}

function verifyBota(body, headers) {
  const expected = Buffer.from(`sha256=${crypto.createHmac('sha256', SECRET).update(body).digest('hex')}`);
  const given = Buffer.from(headers['x-bota-signature']);
  if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) throw new Error('signature');
}

const receivers = {
  voxscriber,
  efficlose,
  bota: () => verifying(verifyBota),
  recall: () => verifying((body, headers) => new svix.Webhook(SECRET).verify(body.toString(), headers)),
  standard: () => verifying((body, headers) => new standardwebhooks.Webhook(SECRET).verify(body.toString(), headers)),
};

process.stdin.resume().on('end', () => process.exit(0));
const server = receivers[process.argv[2]]().listen(0, '127.0.0.1', () => console.log(server.address().port));
