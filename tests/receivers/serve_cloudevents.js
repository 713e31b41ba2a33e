// A receiver whose answers to validation requests (CloudEvents HTTP Web Hooks 1.0) are those of @azure/web-pubsub-express:
// node serve_cloudevents.js <allowed endpoint>. It agrees with the host of that URL alone. GET /received lists what was
// posted. The port is printed when it listens; the process ends when its stdin does.
'use strict';
const express = require('express');
const { WebPubSubEventHandler } = require('@azure/web-pubsub-express');

const handler = new WebPubSubEventHandler('hub', { path: '/hooks', allowedEndpoints: [process.argv[2]] });
const received = [];
const asked = [];
const app = express();
app.options('/hooks', (req, _res, next) => {
  asked.push({ ...req.headers });
  req.headers['ce-awpsversion'] = '1.0'; // the middleware answers validation requests of Azure's service alone
  next();
}, handler.getMiddleware());
app.post('/hooks', express.json(), (req, res) => {
  received.push({ headers: req.headers, body: req.body });
  res.sendStatus(204);
});
app.get('/received', (_req, res) => res.json({ received, asked }));

process.stdin.resume().on('end', () => process.exit(0));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
