// Each line is one life of an inbox: {secret, requests: [[headers, body], …]}. The answer is what it made of them:
// [[status, verdict or null], …].
'use strict';
const readline = require('readline');
const { Inbox } = require('./snippets/inbox.js');

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { secret, requests } = JSON.parse(line);
  const inbox = new Inbox(secret);
  const answers = requests.map(([headers, body]) => {
    let told = null;
    const status = inbox.receive(headers, Buffer.from(body), (_event, verdict) => { told = verdict; });
    return [status, told];
  });
  console.log(JSON.stringify(answers));
});
