// The Node inbox behind HTTP: the secret is in WEBHOOK_SECRET; the port is printed when it listens; GET gives what was
// told so far, as [[event id, verdict], …]; the process ends when its stdin does.
'use strict';
const http = require('http');
const { Inbox } = require('./snippets/inbox.js');

const inbox = new Inbox(process.env.WEBHOOK_SECRET);
const told = [];

const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part)).on('end', () => {
    if (request.method === 'GET') return response.end(JSON.stringify(told));
    const note = (event, verdict) => told.push([request.headers['webhook-id'], verdict]);
    response.statusCode = inbox.receive(request.headers, Buffer.concat(parts), note);
    return response.end();
  });
});
process.stdin.resume().on('end', () => process.exit(0));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
